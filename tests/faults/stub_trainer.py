"""A training child for speed: the worker's own spool, stop file, outcome and checkpoint code, but no torch.

    python stub_trainer.py HISTORY_SOCKET WORKER WORKSPACE

Its "weights" are a chain of hashes over seed, sheet and steps: a step left out, done twice, or continued from a damaged
checkpoint gives another model. What it should do stands in the run's name: `step_ms=20 save=10 eval_ms=50`.
"""

import hashlib
import json
import os
import socket
import sqlite3
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from worker_client.errors import ChildExit, FailureReason
from worker_client.protocol import Outcome, TrainingSpec
from worker_client.spool import Spool
from worker_client.training import checkpoints
from worker_client.workspace import Workspace

DEFAULTS = {
    "step_ms": 20,
    "save": 10,
    "prepare_ms": 50,
    "save_ms": 10,
    "eval_ms": 50,
    "fits": 10_000,
    "spin": 0,
    "fail_at": 0,
}
WEIGHTS = "weights"
BALLAST_BYTES = 20_000  # so that a save takes a moment, and can be cut in its middle


class Stopped(Exception):
    """The parent asked for it."""


class OutOfMemory(Exception):
    """The batch does not fit."""


class Failed(Exception):
    """As the run's name wants it, on its first attempt."""


class StubTrainer:
    """One start of the child."""

    def __init__(self, history: str, worker: str, workspace: Workspace) -> None:
        self.workspace = workspace
        self.spec: TrainingSpec = workspace.read_spec()
        self.spool = Spool(workspace.spool_path)
        self.plan = plan_of(self.spec.run_name)
        self.root = Path(self.spec.checkpoints_dir)
        self.sealed_step: int | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._history = history
        self._facts = {"kind": "trainer", "worker": worker, "job": self.spec.job_id, "attempt": self.spec.attempt}

    def run(self) -> Outcome:
        """Prepare, train, evaluate. Raises Stopped, OutOfMemory."""
        self._phase("preparing", self.plan["prepare_ms"])
        weights = first_weights(self.spec.seed, hashlib.sha256(Path(self.spec.dataset_path).read_bytes()).hexdigest())
        step, weights = self._resume(weights)
        self._tell("start", step=step, batch=self._batch(), checkpointing=self._checkpointing())
        for number in range(1, step + 1):  # as the real child: the points of its history again, known or not
            self._append_point(number)
        if self._batch() > self.plan["fits"]:
            raise OutOfMemory
        for number in range(step + 1, self.steps + 1):
            weights = self._step(number, weights)
        self._phase("evaluating", self.plan["eval_ms"])
        self.spool.append_metrics(epoch=self.steps, step=self.steps, split="test", values={"f1": 0.9})
        return self._export(weights)

    @property
    def steps(self) -> int:
        """The run's epochs: here an epoch is one step."""
        return int(self.spec.hyperparameters["epochs"])

    def _batch(self) -> int:
        return int(self.spec.device_batch_size or self.spec.hyperparameters["batch_size"])

    def _checkpointing(self) -> bool:
        return bool(getattr(self.spec, "gradient_checkpointing", False))

    def _resume(self, weights: str) -> tuple[int, str]:
        found = newest_usable(self.root, self._fingerprint())
        if found is None:
            return 0, weights
        self.sealed_step = found.step
        return found.step, (found.path / WEIGHTS).read_text(encoding="utf-8")[:64]

    def _fingerprint(self) -> str:
        return f"{self.spec.run_id}-{self.spec.seed}"

    def _step(self, number: int, weights: str) -> str:
        """One step: a metric point and a log line, then a checkpoint where one is due."""
        self._work(self.plan["step_ms"] / 1000)
        weights = next_weights(weights, number)
        self._append_point(number)
        line = self.spool.append_log("INFO", f"step {number} of {self.steps} (process {os.getpid()})")
        self._tell("step", step=number, line=line)
        if number == self.plan["fail_at"] and self.spec.attempt == 1:
            raise Failed
        progress = {"epoch": number, "step": number, "total_steps": self.steps, "checkpoint_step": self.sealed_step}
        self.spool.put_progress(phase="training", **progress)
        stop = self.workspace.stop_reason()
        if stop or number % self.plan["save"] == 0:
            self._save(number, weights)
        if stop:
            raise Stopped(stop)
        return weights

    def _append_point(self, number: int) -> None:
        self.spool.append_metrics(epoch=number, step=number, split="train", values={"loss": 1 / number})

    def _work(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self.plan["spin"] and time.monotonic() < until:
            sum(range(10_000))
        time.sleep(max(0.0, until - time.monotonic()))

    def _save(self, step: int, weights: str) -> None:
        self._tell("phase", phase="saving")
        folder = self.root / f"checkpoint-{step}"
        folder.mkdir(parents=True, exist_ok=True)
        checkpoints.unseal(folder)
        (folder / WEIGHTS).write_text(weights + "." * BALLAST_BYTES, encoding="utf-8")
        time.sleep(self.plan["save_ms"] / 1000)
        (folder / checkpoints.STATE).write_text(json.dumps({"global_step": step}), encoding="utf-8")
        checkpoints.seal(folder, self._fingerprint())
        self.sealed_step = step
        self._tell("sealed", step=step)
        checkpoints.prune(self.root, None)

    def _export(self, weights: str) -> Outcome:
        folder = Path(self.spec.model_dir)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / WEIGHTS).write_text(weights, encoding="utf-8")
        self._tell("phase", phase="exported")
        return Outcome(
            "completed", metrics={"f1": 0.9}, best_epoch=1.0, model_path=str(folder), model_sha256=weights, report={}
        )

    def _phase(self, name: str, milliseconds: int) -> None:
        self.spool.put_progress(phase=name, epoch=0, step=0, total_steps=self.steps)
        self._tell("phase", phase=name)
        until = time.monotonic() + milliseconds / 1000
        while time.monotonic() < until:
            time.sleep(0.01)
            if reason := self.workspace.stop_reason():
                raise Stopped(reason)

    def _tell(self, event: str, **facts: Any) -> None:
        record = {**self._facts, "pid": os.getpid(), "at": time.time(), "event": event, **facts}
        self._socket.sendto(json.dumps(record).encode(), self._history)


def newest_usable(root: Path, fingerprint: str) -> checkpoints.Checkpoint | None:
    """What to go on from; the rest is dropped, as the real child does."""
    if not hasattr(checkpoints, "survey"):  # the previous release (F22)
        return checkpoints.newest_usable(root, fingerprint)  # type: ignore[arg-type]
    survey = checkpoints.survey(root)
    found = checkpoints.newest_usable(survey, fingerprint)
    checkpoints.drop_others(survey, found, fingerprint)
    return found


def plan_of(run_name: str) -> dict[str, int]:
    """The `word=number` pairs of a run's name, over the defaults."""
    pairs = (word.split("=") for word in run_name.split() if "=" in word)
    return {**DEFAULTS, **{name: int(value) for name, value in pairs}}


def first_weights(seed: int, sheet_sha256: str) -> str:
    """Before the first step."""
    return hashlib.sha256(f"{seed} {sheet_sha256}".encode()).hexdigest()


def next_weights(weights: str, step: int) -> str:
    """After one more step."""
    return hashlib.sha256(f"{weights} {step}".encode()).hexdigest()


def final_weights(seed: int, sheet_sha256: str, steps: int) -> str:
    """What an undisturbed training ends with."""
    weights = first_weights(seed, sheet_sha256)
    for step in range(1, steps + 1):
        weights = next_weights(weights, step)
    return weights


def main(history: str, worker: str, root: str) -> int:
    """Exit code as the real child's."""
    workspace = Workspace(Path(root))
    try:
        trainer = StubTrainer(history, worker, workspace)
        with closing(trainer.spool):
            outcome, code = trainer.run(), ChildExit.COMPLETED
    except Stopped as stopped:
        outcome, code = Outcome("stopped", reason=str(stopped)), ChildExit.STOPPED
    except Failed:
        outcome, code = failure(FailureReason.BASE_MODEL_UNAVAILABLE), ChildExit.BASE_MODEL_UNAVAILABLE
    except OutOfMemory:
        outcome, code = failure(FailureReason.OUT_OF_MEMORY), ChildExit.OUT_OF_MEMORY
    except (OSError, sqlite3.Error) as error:
        outcome, code = failure(FailureReason.DISK_FULL, str(error)), ChildExit.DISK_FULL
    with suppress(OSError):  # no room for a word: the exit code says it
        workspace.write_outcome(outcome)
    return int(code)


def failure(reason: FailureReason, message: str = "As planned.") -> Outcome:
    """As the training child tells one."""
    return Outcome("failed", reason=reason, message=message)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
