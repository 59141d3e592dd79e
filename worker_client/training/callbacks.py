"""What happens between steps: figures and progress into the spool, the stop file, saves by the clock."""

import logging
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from worker_client.errors import Stopped
from worker_client.spool import Spool
from worker_client.training import together
from worker_client.training.checkpoints import is_sealed
from worker_client.training.faults import not_a_number
from worker_client.training.progress import Progress
from worker_client.training.stopping import Stopping
from worker_client.training.workload import Workload

logger = logging.getLogger(__name__)

LOSS_LINE_EVERY_S = 15.0
CANCELLED = "cancelled"
FLAGS = ("should_log", "should_save", "should_evaluate", "should_epoch_stop", "should_training_stop")


class Telemetry(TrainerCallback):
    """Progress, loss lines and the figures of each epoch."""

    def __init__(self, spool: Spool, progress: Progress, workload: Workload) -> None:
        self.spool = spool
        self.progress = progress
        self.workload = workload
        self._began = self._line_at = time.monotonic()
        self._done_before = 0.0  # by earlier attempts
        self._line_step = 0
        self._rate = 0.0
        self._ends: float | None = None  # when the run will be over, as far as is known
        self._epoch_ended: float | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Figures of epochs before a resume are said again: the spool is new with each attempt."""
        self._began = self._line_at = time.monotonic()
        self._line_step = state.global_step
        self._done_before = self.workload.done(state.global_step, evaluated=True)
        self._append_points(state)
        facts = {"step": state.global_step, "total_steps": state.max_steps}
        if state.global_step:  # the Trainer counts its epochs anew
            epoch = args.num_train_epochs * state.global_step / state.max_steps
            facts |= {"epoch": round(epoch, 4), "checkpoint_step": state.global_step}
        self.progress.update(now=True, phase="training", **facts)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """What was between two epochs, evaluation and checkpoint, is no time in which rows were trained."""
        if self._epoch_ended is not None:
            self._line_at += time.monotonic() - self._epoch_ended

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The rate of rows pauses here."""
        self._epoch_ended = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A loss is fetched from the device only when a line is due."""
        now = time.monotonic()
        self._foresee(state, now)
        at = {"epoch": round(state.epoch, 4), "step": state.global_step}
        self.progress.update(phase="training", **at, eta_seconds=self._remaining(now))
        if now >= self._line_at + LOSS_LINE_EVERY_S:
            rows = (state.global_step - self._line_step) * self.workload.rows_per_step
            self._rate = rows / (now - self._line_at)
            self._line_at, self._line_step = now, state.global_step
            self.progress.update(message=f"{self._rate:.1f} rows per second")
            control.should_log = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
        """Raises TrainingFailed(nan_loss) as soon as a loss is not a number."""
        if "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise not_a_number("training", state.global_step)
        logger.info(
            "Epoch %.2f, step %d of %d: loss %.4f, learning rate %.2e%s",
            state.epoch,
            state.global_step,
            state.max_steps,
            logs["loss"],
            logs.get("learning_rate", 0.0),
            f", {self._rate:.1f} rows per second" if self._rate else "",
        )

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Evaluation is under way."""
        self.progress.update(phase="evaluating", eta_seconds=self._remaining(time.monotonic()))

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any) -> None:
        """The epoch's figures, in one line and in the spool."""
        self._append_points(state)
        shown = ", ".join(f"{name.removeprefix('eval_')} {value:.4f}" for name, value in metrics.items())
        logger.info("Epoch %d of %d, validation: %s", round(state.epoch), args.num_train_epochs, shown)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A checkpoint lies on the disk, unless there was no room for it."""
        if not is_sealed(Path(args.output_dir) / f"checkpoint-{state.global_step}"):
            return
        logger.info("Checkpoint saved at step %d", state.global_step)
        self.progress.update(now=True, step=state.global_step, checkpoint_step=state.global_step)

    def _append_points(self, state: Any) -> None:
        for point in epoch_points(state.log_history):
            self.spool.append_metrics(**point)

    def _foresee(self, state: Any, now: float) -> None:
        """The end of the run, at the pace of this attempt."""
        done = self.workload.done(state.global_step)
        if done > self._done_before:
            self._ends = now + (now - self._began) / (done - self._done_before) * (1 - done)

    def _remaining(self, now: float) -> float | None:
        return None if self._ends is None else round(max(self._ends - now, 0.0), 1)


class StopOnRequest(TrainerCallback):
    """Ends the attempt when the parent asks for it or is gone: at once when cancelled, else after a checkpoint."""

    def __init__(self, stopping: Stopping) -> None:
        self.stopping = stopping

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save between epochs only by the epoch's own save: a checkpoint before its evaluation would lose it."""
        reason = together.agreed(self.stopping.reason())
        if reason == CANCELLED:
            raise Stopped(reason)
        if reason and not ends_epoch(args, state):
            control.should_save = control.should_log = True

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Nobody wants a cancelled run's figures."""
        if self.stopping.reason() == CANCELLED:
            raise Stopped(CANCELLED)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The checkpoint is whole. Raising keeps the Trainer from evaluating a part of an epoch."""
        if reason := together.agreed(self.stopping.reason()):
            raise Stopped(reason)


class FollowTheFirst(TrainerCallback):
    """The last of the callbacks: what the first process wants after a step (a line, a checkpoint, an end), all do."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Each has a clock of its own, and lines and checkpoints are made by all or hang."""
        for flag, value in together.agreed({flag: getattr(control, flag) for flag in FLAGS}).items():
            setattr(control, flag, value)


class SaveByClock(TrainerCallback):
    """A checkpoint every so many minutes within an epoch."""

    def __init__(self, minutes: float) -> None:
        self.interval_s = minutes * 60
        self._due = time.monotonic() + self.interval_s

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The loss is logged first: it must be a number, and a resumed epoch must know its first part."""
        if self.interval_s and time.monotonic() >= self._due and not ends_epoch(args, state):
            control.should_save = control.should_log = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Whoever saved, the clock starts anew."""
        self._due = time.monotonic() + self.interval_s


def ends_epoch(args: Any, state: Any) -> bool:
    """Whether the step just done was the last of its epoch."""
    return bool(state.global_step % (state.max_steps // args.num_train_epochs) == 0)


def epoch_points(log_history: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Figures per epoch, `train` and `validation`, from the Trainer's history; a resumed epoch is one epoch.

    Train loss: mean over the epoch's steps, each logged loss being the mean since the one before.
    """
    points: list[dict[str, Any]] = []
    total, steps, last, rate = 0.0, 0, 0, 0.0
    for entry in log_history:
        if "loss" in entry:
            total += entry["loss"] * (entry["step"] - last)
            steps += entry["step"] - last
            last, rate = entry["step"], entry.get("learning_rate", 0.0)
        elif "eval_loss" in entry:
            at = {"epoch": entry["epoch"], "step": entry["step"]}
            if steps:
                points.append({**at, "split": "train", "values": {"loss": total / steps, "learning_rate": rate}})
            figures = {name[5:]: value for name, value in entry.items() if name.startswith("eval_")}
            points.append({**at, "split": "validation", "values": figures})
            total, steps = 0.0, 0
    return points
