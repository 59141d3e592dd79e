"""Where things lie on the worker's disk.

<work-dir>/datasets/<sha256>.xlsx               sheets, checked against their hash
<work-dir>/base-models/<org>/<name>/<revision>  base models fetched from the hub
<work-dir>/jobs/<job>/checkpoints/              shared by the attempts of one job
<work-dir>/jobs/<job>/tokens-<key>.npz          the sheet's sub-tokens, for the next attempt
<work-dir>/jobs/<job>/memory.json               the batch that fitted, shared too
<work-dir>/jobs/<job>/attempt-<n>/              spec.json spool.{sqlite3,reserve,unwritten} outcome.json spoken
                                                tried.json stop child.*
<work-dir>/claim.json worker.lock               the claim under way; held while a worker runs here
<work-dir>/stop                                 put there by a person: the worker stops as at SIGTERM
<models-dir>/run-<id>/                          the finished model: whole or not there
<models-dir>/.run-<id>.attempt-<n>.partial/     a model that is being written
"""

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker_client.protocol import Outcome, TrainingSpec
from worker_client.reserve import Reserve, is_full_disk


@dataclass(frozen=True)
class Workspace:
    """The folder of one attempt; parent and child meet here and nowhere else."""

    root: Path

    @classmethod
    def create(cls, work_dir: Path, job_id: int, attempt: int) -> "Workspace":
        """The folder of attempt `attempt` of job `job_id`, made readable by its owner only."""
        root = work_dir / "jobs" / str(job_id) / f"attempt-{attempt}"
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(root)

    @property
    def spool_path(self) -> Path:
        """The events of the attempt."""
        return self.root / "spool.sqlite3"

    @property
    def reserve_path(self) -> Path:
        """Room for what must not be lost on a full disk."""
        return self.spool_path.with_suffix(".reserve")

    @property
    def memory_path(self) -> Path:
        """What fitted into the memory of this machine, for the attempts of the job to come."""
        return self.root.parent / "memory.json"

    @property
    def checkpoints_dir(self) -> Path:
        """Checkpoints of the job, left by this attempt or an earlier one on this worker."""
        return self.root.parent / "checkpoints"

    @property
    def child_log_path(self) -> Path:
        """What the child printed outside its logger: native crashes, library warnings."""
        return self.root / "child.log"

    @property
    def child_id_path(self) -> Path:
        """Who the training process is, for a worker that starts again after a crash."""
        return self.root / "child.json"

    def write_spec(self, spec: TrainingSpec) -> None:
        """Hand the work to the child."""
        write_json(self.root / "spec.json", spec.to_json())

    def read_spec(self) -> TrainingSpec:
        """The child's first act."""
        return TrainingSpec.from_json(json.loads((self.root / "spec.json").read_text(encoding="utf-8")))

    def drop_partial_model(self) -> None:
        """Remove what a child that was ended while it wrote the model left beside the finished ones."""
        with suppress(OSError, ValueError, TypeError):
            shutil.rmtree(partial_model(self.read_spec()))

    def forget_all_but_checkpoints(self) -> None:
        """Remove the attempts and, since they are the sheet in another form, the sub-tokens of the job."""
        for path in self.root.parent.iterdir():
            if path.is_file():
                path.unlink(missing_ok=True)
            elif path != self.checkpoints_dir:
                shutil.rmtree(path, ignore_errors=True)

    def write_outcome(self, outcome: Outcome) -> None:
        """The child's last act; on a full disk in the place of the reserve."""
        try:
            write_json(self.root / "outcome.json", outcome.to_json())
        except OSError as error:
            if not is_full_disk(error):
                raise
            Reserve(self.reserve_path).give_up()
            write_json(self.root / "outcome.json", outcome.to_json())

    def read_outcome(self) -> Outcome | None:
        """How the child ended, or None when it never said."""
        path = self.root / "outcome.json"
        return Outcome.from_json(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    def take_the_word(self) -> bool:
        """Whether the caller, of several processes, is the one that writes the outcome: the first that asks."""
        try:
            (self.root / "spoken").open("x").close()
        except FileExistsError:
            return False
        except OSError:  # no room even for a name: writing the outcome makes room
            return True
        return True

    def note_tried(self, facts: dict[str, Any]) -> None:
        """How many rows at once the child tries, should memory end it without a word."""
        with suppress(OSError):
            write_json(self.root / "tried.json", facts)

    def read_tried(self) -> dict[str, Any]:
        """What `note_tried` noted, or nothing."""
        try:
            return dict(json.loads((self.root / "tried.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

    def forget_outcome(self) -> None:
        """Before the child is started again."""
        for name in ("outcome.json", "spoken", "tried.json"):
            (self.root / name).unlink(missing_ok=True)

    def request_stop(self, reason: str) -> None:
        """Ask the child to save a checkpoint and end: cancelled, paused or shutdown."""
        write_json(self.root / "stop", {"reason": reason})

    def stop_reason(self) -> str | None:
        """What the parent asked for, or None. The child looks between steps."""
        path = self.root / "stop"
        return str(json.loads(path.read_text(encoding="utf-8"))["reason"]) if path.exists() else None


def partial_model(spec: TrainingSpec) -> Path:
    """Where an attempt writes its model before it appears: beside it, so that a rename is enough."""
    return Path(spec.model_dir).with_name(f".run-{spec.run_id}.attempt-{spec.attempt}.partial")


def flush_to_disk(path: Path) -> None:
    """Bytes that the system still holds would be gone with the power."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write a small file whole or not at all: written beside, then renamed."""
    beside = path.with_name(path.name + ".tmp")
    with beside.open("w", encoding="utf-8") as file:
        json.dump(data, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
