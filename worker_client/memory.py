"""What a run does when the device's memory is not enough: the ladder from half the batch down to giving up.

The effective batch, and with it the training, stays what the person asked for: only how many of its rows are on the
device at once changes. The evaluation batch is halved by the child itself (training/memory.py), where nothing has to
be started again for it.
"""

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from worker_client.errors import FailureReason
from worker_client.protocol import Outcome, TrainingSpec
from worker_client.workspace import write_json

log = logging.getLogger("worker_client.memory")

DEFAULT_BATCH_SIZE = 16


@dataclass(frozen=True)
class Fit:
    """What fits on this machine; kept in the job's folder, so that the next attempt does not start from the top."""

    device_batch_size: int | None = None  # None: not tried yet, the child chooses
    eval_batch_size: int | None = None
    gradient_checkpointing: bool = False

    @classmethod
    def read(cls, path: Path) -> Self:
        """What an earlier attempt found, or nothing."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return cls()

    def write(self, path: Path) -> None:
        """Remember it. A disk without room for it costs the next attempt a few tries, no more."""
        try:
            write_json(path, asdict(self))
        except OSError as error:
            log.warning("The batch that fits cannot be remembered: %s", error)

    def applied_to(self, spec: TrainingSpec) -> TrainingSpec:
        """The spec of the next child."""
        return replace(spec, **asdict(self))

    def after(self, outcome: Outcome, spec: TrainingSpec) -> Self | None:
        """The next step down, or None when the outcome was no want of memory or nothing is left to try."""
        if outcome.status != "failed" or outcome.reason != FailureReason.OUT_OF_MEMORY:
            return None
        if outcome.memory.get("during", "training") != "training":
            return None
        known = replace(self, eval_batch_size=outcome.memory.get("eval_batch_size", self.eval_batch_size))
        effective = effective_batch(spec)
        half = rows_used(spec, outcome) // 2
        if half:
            fits = next(size for size in range(half, 0, -1) if effective % size == 0)
            return replace(known, device_batch_size=fits)
        if self.gradient_checkpointing or spec.hyperparameters.get("gradient_checkpointing"):
            return None
        return replace(known, device_batch_size=1, gradient_checkpointing=True)


def effective_batch(spec: TrainingSpec) -> int:
    """Rows per optimizer step, as the person chose."""
    return int(spec.hyperparameters.get("batch_size", DEFAULT_BATCH_SIZE))


def rows_used(spec: TrainingSpec, outcome: Outcome) -> int:
    """Rows at once on the device: what the child says, else what it may have been, at most."""
    if said := outcome.memory.get("device_batch_size"):
        return int(said)
    share = effective_batch(spec) // spec.processes
    return min(spec.device_batch_size or share, share)
