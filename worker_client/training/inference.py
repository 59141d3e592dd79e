"""A trained model that answers for records, long ones included: windows, whatever the training did."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worker_client.formats import Record
from worker_client.training.base_models import position_limit
from worker_client.training.encoding import Encoded, Feature
from worker_client.training.framing import frame_for
from worker_client.training.task import Decoded, Task
from worker_client.training.tasks import task_of_architecture

WINDOW_OVERLAP = 128
NEEDED = ("config.json", "model.safetensors", "tokenizer.json")


class ModelUnusable(Exception):
    """The directory holds no model of ours; the message says what is missing."""


class Predictor:
    """Loads a model directory once; answers chunk by chunk."""

    def __init__(self, folder: Path, *, device: str, batch_size: int) -> None:
        self.task = _task(folder)
        self.device = torch.device(device)
        self.batch_size = batch_size
        self._tokenizer, self._model = _load(folder, self.task)
        self._model.to(self.device).eval()
        limit = min(self._tokenizer.model_max_length, position_limit(self._model))
        self._frame = frame_for(self._tokenizer, max_length=limit, long_text="windows", window_stride=WINDOW_OVERLAP)

    def predict(self, records: Sequence[Record]) -> Decoded:
        """What the model says about each record, in their order. Blank records get an answer too: ignore it."""
        encoded = self.task.encode(records, self._tokenizer, self._frame, labelled=False).by_length()
        outputs = [row for batch in self._batches(encoded.features) for row in self._forward(batch)]
        return self.task.decode(records, encoded, _stack(outputs, encoded))

    def _batches(self, features: Sequence[Feature]) -> Iterator[list[Feature]]:
        """Batches by model inputs: a document of many windows counts as so many."""
        batch: list[Feature] = []
        inputs = 0
        for feature in features:
            size = len(feature.get("windows", (0,)))
            if batch and inputs + size > self.batch_size:
                yield batch
                batch, inputs = [], 0
            batch.append(feature)
            inputs += size
        if batch:
            yield batch

    def _forward(self, features: Sequence[Feature]) -> np.ndarray:
        batch = self.task.collate(features, pad_id=self._tokenizer.pad_token_id)
        labels = batch.pop("labels").to(self.device)
        window_counts = batch.pop("window_counts", None)
        with torch.inference_mode():
            logits = self._model(**{name: tensor.to(self.device) for name, tensor in batch.items()}).logits
        return self.task.compact(self.task.pool(logits, window_counts), labels).cpu().numpy()


def _stack(outputs: list[np.ndarray], encoded: Encoded) -> Any:
    """An array where all rows are of one shape, else the list (windows of different lengths)."""
    return np.stack(outputs) if outputs and len({row.shape for row in outputs}) == 1 else outputs


def _task(folder: Path) -> Task:
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise ModelUnusable(f"{folder} is not a trained model: {', '.join(missing)} is missing")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    labels = [label for _, label in sorted(config.get("id2label", {}).items(), key=lambda item: int(item[0]))]
    task = task_of_architecture((config.get("architectures") or [""])[0], labels)
    if task is None:
        raise ModelUnusable(f"{folder} holds no text or token classification model")
    return task


def _load(folder: Path, task: Task) -> tuple[Any, Any]:
    import transformers

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
        model = getattr(transformers, task.auto_class).from_pretrained(folder, use_safetensors=True, **options)
    except (OSError, ValueError, RuntimeError, KeyError) as problem:
        raise ModelUnusable(f"{folder} cannot be loaded: {str(problem).splitlines()[0]}") from problem
    return tokenizer, model
