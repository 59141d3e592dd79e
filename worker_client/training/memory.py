"""Memory in the child: a smaller evaluation batch by itself, and for a person what did not fit, in numbers.

A smaller training batch is the parent's business (worker_client/memory.py): the child ends, which frees the device.
"""

import ctypes
import gc
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psutil  # type: ignore[import-untyped]
import torch
from transformers import TrainerCallback

from worker_client.errors import OutOfMemory
from worker_client.memory import Fit
from worker_client.protocol import FakeMemory
from worker_client.training import together
from worker_client.training.faults import is_memory
from worker_client.workspace import Workspace

logger = logging.getLogger(__name__)

GIVE_BACK_EVERY_S = 60.0
BYTES_PER_PARAMETER = 16  # weights, gradients and the two moments of Adam, 4 bytes each


class Memory:
    """Knows the run's model and device; halves the evaluation batch and explains what is beyond halving."""

    def __init__(
        self,
        *,
        model: Any,
        device: str,
        max_length: int,
        recomputes: bool,
        note: Callable[..., None],
        workspace: Workspace,
    ) -> None:
        self._parameters = sum(parameter.numel() for parameter in model.parameters())
        self._device = device
        self._max_length = max_length
        self._recomputes = recomputes
        self._could_recompute = getattr(model, "supports_gradient_checkpointing", False) and not recomputes
        self._note = note
        self._workspace = workspace
        self._eval_batch_size: int | None = None

    def halve_evaluation(self, args: Any, tried: int) -> None:
        """Half as many rows at once in evaluation, in this attempt and the next. Raises OutOfMemory at one row.

        tried: the rows that did not fit; of long texts fewer than those of `args`.
        """
        args.per_device_eval_batch_size = tried
        if tried == 1:
            raise self.failure("evaluation", args)
        after = args.per_device_eval_batch_size = self._eval_batch_size = tried // 2
        if together.is_first():
            path = self._workspace.memory_path
            replace(Fit.read(path), eval_batch_size=after).write(path)
        self.note_tried(args)
        logger.warning("Out of memory in the evaluation: going on with %d rows at a time instead of %d", after, tried)
        self._note("eval_batch_halved", **{"from": tried, "to": after})
        free(self._device)

    def note_tried(self, args: Any) -> None:
        """For a parent that finds this process killed and without a word."""
        if together.is_first():
            self._workspace.note_tried(self._facts(args))

    def _facts(self, args: Any) -> dict[str, Any]:
        facts = {"device_batch_size": args.per_device_train_batch_size}
        return {**facts, "eval_batch_size": self._eval_batch_size} if self._eval_batch_size else facts

    def failure(self, during: str, args: Any = None) -> OutOfMemory:
        """during: loading, training or evaluation. args: the Trainer's, once there are any."""
        facts = {"during": during, **(self._facts(args) if args else {})}
        return OutOfMemory(f"{self._what(during, args)} {self._room()} {self._advice(during)}", facts)

    def _what(self, during: str, args: Any) -> str:
        if args is None:
            return "The memory was not enough for the model itself."
        training = during == "training"
        rows = args.per_device_train_batch_size if training else args.per_device_eval_batch_size
        recomputed = ", with gradient checkpointing" if training and self._recomputes else ""
        said = f"{rows} {'row' if rows == 1 else 'rows'} of up to {self._max_length} sub-tokens at once"
        return f"The memory was not enough for {said} in the {during}{recomputed}."

    def _room(self) -> str:
        total = torch.cuda.mem_get_info()[1] if self._device == "cuda" else psutil.virtual_memory().total
        needed = self._parameters * BYTES_PER_PARAMETER
        return (
            f"This {'GPU' if self._device == 'cuda' else 'machine'} has {total / 1e9:.1f} GB; training a model of "
            f"{self._parameters / 1e6:.0f} million parameters takes about {needed / 1e9:.1f} GB before the first row."
        )

    def _advice(self, during: str) -> str:
        shorter = f"Lower max_length ({self._max_length // 2} instead of {self._max_length} halves what a row takes)"
        smaller = "take a smaller base model"
        if during == "loading":
            return f"{smaller.capitalize()}, or end other programs that use the memory."
        if during == "training" and self._could_recompute:
            return f"{shorter}, switch gradient_checkpointing on, or {smaller}."
        return f"{shorter}, or {smaller}."


@contextmanager
def memory_told_of_loading() -> Iterator[None]:
    """Raises OutOfMemory for want of memory before there is a batch to halve: fewer rows at once would not help."""
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as problem:
        if not is_memory(problem):
            raise
        said = (
            "The memory was not enough to load the sheet and the base model. "
            "End other programs that use the memory, take a smaller base model, or use a worker with more memory."
        )
        raise OutOfMemory(said, {"during": "loading"}) from problem


def free(device: str) -> None:
    """Give up what a batch that did not fit still holds, so that a smaller one finds room. device: cpu, cuda."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


class GiveBack(TrainerCallback):
    """Freed memory goes back to the system before each evaluation, and within an epoch once a minute.

    Batches of ever other sizes leave holes that glibc keeps: on a processor (MiniLM, long texts) the fifth epoch took
    4.4 GB where the first took 3.5; with this it is 3.7.
    """

    def __init__(self) -> None:
        self._trim = _trim_of_glibc()
        self._due = time.monotonic() + GIVE_BACK_EVERY_S

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Not after every step: what is given back must be asked for and cleared again."""
        if time.monotonic() >= self._due:
            self._give_back()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The evaluation comes next, with batches of another size."""
        self._give_back()

    def _give_back(self) -> None:
        self._trim(0)
        self._due = time.monotonic() + GIVE_BACK_EVERY_S


def _trim_of_glibc() -> Callable[[int], int]:
    """Does nothing where there is no glibc: Windows, macOS, Alpine."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return lambda _: 0


class FakeLimit(TrainerCallback):
    """Tests only: runs out of memory beyond a number of rows, as a GPU would."""

    def __init__(self, limit: FakeMemory, *, recomputes: bool) -> None:
        self._limit = limit
        self._rows = None if limit.rows is None else limit.rows * (2 if recomputes else 1)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Steps are counted from 1."""
        if state.global_step + 1 >= self._limit.from_step:
            _refuse_beyond(self._rows, args.per_device_train_batch_size)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """In evaluation and in the scoring of the test part."""
        _refuse_beyond(self._limit.eval_rows, args.per_device_eval_batch_size)


def _refuse_beyond(limit: float | None, rows: int) -> None:
    if limit is not None and rows > limit:
        raise torch.OutOfMemoryError(f"CUDA out of memory. (Test: {rows} rows, {limit:g} fit.)")
