"""A trained model that answers for records, long ones included: windows, whatever the training did."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worker_client.formats import Record
from worker_client.training.base_models import position_limit
from worker_client.training.batches import Layout
from worker_client.training.encoding import Feature
from worker_client.training.environment import choose_recipe
from worker_client.training.faults import is_memory
from worker_client.training.framing import frame_for
from worker_client.training.memory import free
from worker_client.training.packing import layout_for
from worker_client.training.scoring import answers, rows_at_once
from worker_client.training.task import Decoded, Task
from worker_client.training.tasks import task_of_architecture

logger = logging.getLogger(__name__)

WINDOW_OVERLAP = 128
NEEDED = ("config.json", "model.safetensors", "tokenizer.json")


class ModelUnusable(Exception):
    """The directory holds no model of ours; the message says what is missing."""


class Predictor:
    """Loads a model directory once; answers chunk by chunk."""

    def __init__(self, folder: Path, *, device: str, batch_size: int) -> None:
        self.task = _task(folder)
        self.batch_size = batch_size
        self._tokenizer, self._model = _load(folder, self.task)
        self._model.to(device).eval()
        trained_in, overlap = _trained_with(folder)
        # As the run was scored, where this machine does that well.
        self._dtype = torch.float32 if trained_in == "fp32" else choose_recipe(device, "auto").dtype
        limit = min(self._tokenizer.model_max_length, position_limit(self._model))
        self._layout: Layout | None = None  # chosen with the first texts
        self._frame = frame_for(self._tokenizer, max_length=limit, long_text="windows", window_stride=overlap)

    def predict(self, records: Sequence[Record]) -> Decoded:
        """What the model says about each record, in their order. Blank records get an answer too: ignore it."""
        tokens = self.task.tokenize(records, self._tokenizer)
        encoded = self.task.encode(records, tokens, self._frame, labelled=False).by_length()
        if not encoded.features:
            return self.task.decode(records, encoded, [])
        layout = self._layout = self._layout or self._choose_layout(encoded.features)
        while (found := self._answers(encoded.features, layout)) is None:
            # Here and not where it was caught: the exception would hold on to what does not fit.
            self._halve(encoded.features)
        return self.task.decode(records, encoded, found)

    def _answers(self, features: Sequence[Feature], layout: Layout) -> list[np.ndarray] | None:
        """None where the batch is too large for the memory. Raises what one input alone meets."""
        try:
            with torch.autocast(self._model.device.type, self._dtype, enabled=self._dtype != torch.float32):
                return answers(self._model, self.task, features, layout, rows=self.batch_size)
        except (RuntimeError, MemoryError) as problem:
            if not is_memory(problem) or self._tried(features) == 1:
                raise
        return None

    def _tried(self, features: Sequence[Feature]) -> int:
        return rows_at_once(self.task, features, self.batch_size, self._model.device.type)

    def _halve(self, features: Sequence[Feature]) -> None:
        tried = self._tried(features)
        self.batch_size = tried // 2
        logger.warning("Out of memory: going on with %d inputs at a time instead of %d", self.batch_size, tried)
        free(self._model.device.type)

    def _choose_layout(self, features: Sequence[Feature]) -> Layout:
        texts = [text for feature in features for text in self.task.texts(feature)]
        return layout_for(self._model, texts, pad_id=self._tokenizer.pad_token_id, dtype=self._dtype)


def _task(folder: Path) -> Task:
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise ModelUnusable(f"{folder} is not a trained model: {', '.join(missing)} is missing")
    with _damage_told(folder / "config.json"):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        labels = [label for _, label in sorted(config.get("id2label", {}).items(), key=lambda item: int(item[0]))]
        task = task_of_architecture((config.get("architectures") or [""])[0], labels)
    if task is None:
        raise ModelUnusable(f"{folder} holds no text or token classification model")
    return task


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """A file that was copied in half, or changed by hand, raises ModelUnusable."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise ModelUnusable(f"{path} is damaged: copy the model's folder again") from problem


def _trained_with(folder: Path) -> tuple[str, int]:
    """The precision of the run, and what neighbouring windows share: as in its own windows, where it had some."""
    path = folder / "run.json"
    if not path.is_file():
        return "fp32", WINDOW_OVERLAP
    with _damage_told(path):
        run = json.loads(path.read_text(encoding="utf-8"))
        hyper = run["hyperparameters"]
        overlap = hyper["window_stride"] if hyper["long_text"] == "windows" else WINDOW_OVERLAP
        return run["environment"]["precision"], int(overlap)


def _load(folder: Path, task: Task) -> tuple[Any, Any]:
    import transformers

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
        model = getattr(transformers, task.auto_class).from_pretrained(folder, use_safetensors=True, **options)
    except Exception as problem:  # the readers of weights and tokenizers have exceptions of their own
        if is_memory(problem):
            raise
        why = next(iter(str(problem).splitlines()), type(problem).__name__)
        raise ModelUnusable(f"{folder} cannot be loaded: {why}") from problem
    return tokenizer, model
