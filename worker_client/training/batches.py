"""How texts lie in a batch: each in a row of its own, padded to the longest, or one behind the other in one row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

IGNORE_INDEX = -100  # a label that the loss leaves out


@dataclass(frozen=True)
class Padded:
    """A matrix with a row for each text; what is missing to the longest is masked, and computed for nothing."""

    pad_id: int
    name: ClassVar[str] = "padded"

    def inputs(self, texts: Sequence[np.ndarray]) -> dict[str, Any]:
        """`input_ids` and `attention_mask`: (texts, longest)."""
        mask = _padded([np.ones(len(text)) for text in texts], 0)
        return {"input_ids": _padded(texts, self.pad_id), "attention_mask": mask}

    def labels(self, labels: Sequence[np.ndarray]) -> torch.Tensor:
        """Labels per position, IGNORE_INDEX where there is padding: (texts, longest)."""
        return _padded(labels, IGNORE_INDEX)


@dataclass(frozen=True)
class Packed:
    """One row without padding. For models that `packing` has taught to keep the texts in it apart."""

    first_position: int  # RoBERTa and its relatives count from behind the padding's index
    name: ClassVar[str] = "packed"

    def inputs(self, texts: Sequence[np.ndarray]) -> dict[str, Any]:
        """`input_ids` and `position_ids`: (1, sub-tokens), positions beginning anew with each text.

        text_lengths: plain numbers, which no device has to be asked for. text_starts: (texts + 1), the end included.
        """
        lengths = [len(text) for text in texts]
        positions = [np.arange(self.first_position, self.first_position + length) for length in lengths]
        return {
            "input_ids": _row(texts),
            "position_ids": _row(positions),
            "text_lengths": lengths,
            "text_starts": torch.from_numpy(np.cumsum([0, *lengths], dtype=np.int32)),
        }

    def labels(self, labels: Sequence[np.ndarray]) -> torch.Tensor:
        """Labels per position: (1, sub-tokens)."""
        return _row(labels)


Layout = Padded | Packed


def moved(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The batch with its tensors on `device`."""
    return {name: value.to(device) if torch.is_tensor(value) else value for name, value in batch.items()}


def _row(parts: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(parts).astype(np.int64)).unsqueeze(0)


def _padded(rows: Sequence[np.ndarray], filler: int) -> torch.Tensor:
    matrix = np.full((len(rows), max(len(row) for row in rows)), filler, dtype=np.int64)
    for at, row in enumerate(rows):
        matrix[at, : len(row)] = row
    return torch.from_numpy(matrix)
