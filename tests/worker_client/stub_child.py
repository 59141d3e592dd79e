"""A training child without torch: it does what the job's hyperparameters say, and obeys the stop file."""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from worker_client.errors import ChildExit, FailureReason
from worker_client.protocol import Outcome, TrainingSpec
from worker_client.spool import Spool
from worker_client.workspace import Workspace


def main(root: str) -> int:
    """One attempt."""
    workspace = Workspace(Path(root))
    spec = workspace.read_spec()
    spool = Spool(workspace.spool_path)
    wishes = spec.hyperparameters
    print("noise that is not a log line", flush=True)
    batch = spec.device_batch_size or wishes["batch_size"]
    recomputed = ", recomputed" if spec.gradient_checkpointing else ""
    spool.append_log("INFO", f"device batch {batch}{recomputed}")
    if batch > wishes.get("fits", 10_000) * (2 if spec.gradient_checkpointing else 1):
        during = wishes.get("during", "training")
        short = replace(failure(FailureReason.OUT_OF_MEMORY), memory={"during": during, "device_batch_size": batch})
        return end(workspace, short, ChildExit.OUT_OF_MEMORY)
    if "tries" in wishes:
        workspace.note_tried({"device_batch_size": min(batch, wishes["tries"])})
    if reason := wishes.get("fail"):
        return end(workspace, failure(FailureReason(reason)), ChildExit.of(FailureReason(reason)))
    if number := wishes.get("signal"):
        os.kill(os.getpid(), number)
    if wishes.get("exit"):
        print(wishes.get("says", "Segfault in a library"), flush=True)
        return int(wishes["exit"])
    if wishes.get("grandchild"):
        spawn_grandchild(spec)
    return train(workspace, spool, spec)


def train(workspace: Workspace, spool: Spool, spec: TrainingSpec) -> int:
    """Steps with a metric and a line each."""
    wishes = spec.hyperparameters
    steps = wishes.get("steps", 3)
    if wishes.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for step in range(1, steps + 1):
        time.sleep(wishes.get("step_s", 0.01))
        spool.append_log("INFO", f"step {step}")
        spool.append_metrics(epoch=step / steps, step=step, split="train", values={"loss": 1 / step})
        spool.put_progress(phase="training", epoch=step / steps, step=step, total_steps=steps)
        reason = workspace.stop_reason()
        if reason and not wishes.get("deaf"):
            folder = Path(spec.checkpoints_dir)
            folder.mkdir(exist_ok=True)
            (folder / "step").write_text(str(step))
            return end(workspace, Outcome("stopped", reason=reason), ChildExit.STOPPED)
    folder = Path(spec.model_dir)
    folder.mkdir(parents=True, exist_ok=True)
    outcome = Outcome(
        "completed",
        metrics={"test_f1": 0.9, "odd": float("nan")},
        best_epoch=1.0,
        model_path=str(folder),
        model_sha256="0" * 64,
        report={"rows": 4},
        environment=dict(os.environ),
    )
    return end(workspace, outcome, ChildExit.COMPLETED)


def failure(reason: FailureReason) -> Outcome:
    """As the training child tells one."""
    return Outcome("failed", reason=reason, message=f"The stub failed as {reason}.")


def end(workspace: Workspace, outcome: Outcome, code: int) -> int:
    """The child's last act."""
    workspace.write_outcome(outcome)
    return int(code)


def spawn_grandchild(spec: TrainingSpec) -> None:
    """A process in a session of its own, as torchrun starts them."""
    import subprocess

    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    Path(spec.model_dir).with_suffix(".pid").write_text(str(process.pid))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
