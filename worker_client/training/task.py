"""What a task must answer. The engine asks these questions and never which task it is."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional

from worker_client.errors import FailureReason, TrainingFailed
from worker_client.formats import Record
from worker_client.training.batches import IGNORE_INDEX, Layout
from worker_client.training.encoding import Encoded, Feature
from worker_client.training.framing import Frame


@dataclass(frozen=True)
class Decoded:
    """What a model said about records, in their order.

    labels: a label id per record, or a list of them, one per word. probabilities: (records, labels), or the
    probability of each word's tag. loss: mean cross-entropy of what the model read, unweighted.
    """

    labels: list[Any]
    probabilities: Any
    loss: float


@dataclass(frozen=True)
class Table:
    """A sheet to be written: header and rows."""

    header: list[str]
    rows: Iterable[Sequence[Any]]


class Task(ABC):
    """`labels`: the strings of the model's outputs, in the order of the dataset and not of the split."""

    name: ClassVar[str]
    role: ClassVar[str]  # the column that holds what the model reads
    counted: ClassVar[str]  # what carries a label: rows or words
    pipeline_tag: ClassVar[str]
    auto_class: ClassVar[str]  # of transformers
    # Whether a row counts alike however long it is. Where each word counts, a batch of short rows would be a whole step
    # for few words: grouped by length, rows of words are learned worse.
    rows_weigh_alike: ClassVar[bool]

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = list(labels)
        self.ids = {label: at for at, label in enumerate(self.labels)}

    @abstractmethod
    def text_of(self, record: Record) -> str:
        """The text that a vocabulary is learned from."""

    @abstractmethod
    def labels_of(self, record: Record) -> Sequence[str]:
        """The label strings of a record: one, or one per word."""

    @abstractmethod
    def tokenize(self, records: Sequence[Record], tokenizer: Any) -> list[np.ndarray]:
        """The sub-tokens of each record, uncut and without special ones: (sub-tokens, columns), the ids first."""

    @abstractmethod
    def encode(
        self, records: Sequence[Record], tokens: Sequence[np.ndarray], frame: Frame, *, labelled: bool = True
    ) -> Encoded:
        """Features of tokenized records; with `labelled=False` the labels only mark what is to be predicted."""

    @abstractmethod
    def texts(self, feature: Feature) -> Sequence[np.ndarray]:
        """The model's inputs of a feature: one, or several where a document is cut into windows."""

    @abstractmethod
    def unlabelled(self, feature: Feature) -> Feature:
        """The same inputs without a label: the loss leaves them out."""

    @abstractmethod
    def collate(self, features: Sequence[Feature], layout: Layout) -> dict[str, Any]:
        """One batch."""

    def pool(self, logits: torch.Tensor, window_counts: list[int] | None = None) -> torch.Tensor:
        """Logits of the units that carry a label, made of the logits of the model's inputs."""
        return logits

    @abstractmethod
    def compact(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """What `decode` needs of a batch, small enough to be kept for a whole part: one row per unit with a label."""

    @abstractmethod
    def units(self, feature: Feature) -> int:
        """How many rows of `compact` a feature has."""

    @abstractmethod
    def decode(self, records: Sequence[Record], encoded: Encoded, compacted: Sequence[np.ndarray]) -> Decoded:
        """Put the features' outputs, (units, n) for each in the order of `encoded`, back together by record."""

    @abstractmethod
    def figures(self, records: Sequence[Record], decoded: Decoded) -> dict[str, float]:
        """Accuracy, precision, recall and f1 of a part."""

    @abstractmethod
    def baseline(self, train: Sequence[Record], test: Sequence[Record]) -> dict[str, float]:
        """The figures of the majority class of `train` on `test`."""

    @abstractmethod
    def report(self, records: Sequence[Record], decoded: Decoded) -> dict[str, Any]:
        """`per_class`, and `confusion` (metrics.Confusion)."""

    @abstractmethod
    def prediction_table(self, records: Sequence[Record], decoded: Decoded) -> Table:
        """Row number, id, gold and predicted labels of a scored part. No text: the row number leads to it."""

    def loss(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        *,
        num_items_in_batch: torch.Tensor | int | None = None,
        weight: torch.Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> torch.Tensor:
        """Cross-entropy, summed here and divided by the labelled items of the whole effective batch.

        The heads' own mean per device batch makes the gradient wrong as soon as batches accumulate (2 x 4 rows gave
        twice, for entities three times, the gradient of 8); dividing by `num_items_in_batch` makes them equal.
        """
        flat = labels.reshape(-1)
        total = functional.cross_entropy(
            logits.reshape(len(flat), -1).float(),
            flat,
            weight=weight,
            label_smoothing=label_smoothing,
            ignore_index=IGNORE_INDEX,
            reduction="sum",
        )
        items = (flat != IGNORE_INDEX).sum() if num_items_in_batch is None else num_items_in_batch
        return total / torch.as_tensor(items, device=total.device).clamp(min=1)

    def label_counts(self, records: Sequence[Record]) -> np.ndarray:
        """Rows (or words) of each label. Raises TrainingFailed(invalid_data) for a label that the run lacks."""
        counts = np.zeros(len(self.labels), dtype=np.int64)
        for record in records:
            for label in self.labels_of(record):
                counts[self._id_of(label, record)] += 1
        return counts

    def _id_of(self, label: str, record: Record) -> int:
        if label not in self.ids:
            raise TrainingFailed(
                FailureReason.INVALID_DATA,
                f"Row {record.row} has a label that is not among the {len(self.labels)} of the dataset. "
                "Upload the sheet again and create a new run.",
            )
        return self.ids[label]
