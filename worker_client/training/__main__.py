"""`python -m worker_client.training WORKSPACE`: spec.json in, spool and outcome.json out, a ChildExit as exit code."""

import logging
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from worker_client.errors import ChildExit, OutOfMemory, Stopped
from worker_client.protocol import Outcome, TrainingSpec
from worker_client.spool import Spool
from worker_client.training import together
from worker_client.training.faults import explain
from worker_client.training.log_lines import routed_logs
from worker_client.training.stopping import Stopping
from worker_client.workspace import Workspace

logger = logging.getLogger("worker_client.training")


def main(argv: list[str]) -> int:
    """Run the attempt of one workspace."""
    if len(argv) != 1 or not (Path(argv[0]) / "spec.json").is_file():
        print("usage: python -m worker_client.training WORKSPACE (a folder with spec.json)", file=sys.stderr)
        return 2
    workspace = Workspace(Path(argv[0]))
    stopping = Stopping(workspace)
    with stopping.listening():
        spool = Spool(workspace.spool_path if together.is_first() else Path(":memory:"))
        try:
            with routed_logs(spool):
                return _attempt(workspace, stopping, spool)
        finally:
            spool.close()


def _attempt(workspace: Workspace, stopping: Stopping, spool: Spool) -> int:
    try:
        spec = workspace.read_spec()
        if spec.worker_pid:
            stopping.watch(spec.worker_pid, spec.worker_started)
        _prepare_process(spec)
        # Imported late: torch must see the device that was chosen, and a bad spec must not wait for it.
        from worker_client.training.attempt import run_attempt

        outcome, code = run_attempt(spec, stopping, spool), ChildExit.COMPLETED
    except Stopped as stopped:
        logger.info("Stopped (%s)", stopped)
        outcome, code = Outcome("stopped", reason=str(stopped)), ChildExit.STOPPED
    except Exception as problem:
        outcome, code = _failure(problem)
    try:
        if _speaks(workspace, outcome):
            workspace.write_outcome(outcome)
    except OSError as problem:
        # On a full disk the exit code is the only word that still reaches the parent.
        with suppress(OSError):
            print(f"The outcome cannot be written: {problem}", file=sys.stderr)
        return code if outcome.status != "completed" else ChildExit.of(explain(problem).reason)
    return code


def _speaks(workspace: Workspace, outcome: Outcome) -> bool:
    """Of several processes the first, or the first that fails: what the others meet then is a consequence."""
    if together.count() == 1:
        return True
    return (together.is_first() or outcome.status == "failed") and workspace.take_the_word()


def _failure(problem: Exception) -> tuple[Outcome, ChildExit]:
    failure = explain(problem)
    logger.error("%s", failure.message)
    foreseen = failure is problem and problem.__cause__ is None
    trace = "" if foreseen else "".join(traceback.format_exception(problem))
    memory = failure.facts if isinstance(failure, OutOfMemory) else {}
    outcome = Outcome("failed", reason=failure.reason, message=failure.message, traceback=trace, memory=memory)
    return outcome, ChildExit.of(failure.reason)


def _prepare_process(spec: TrainingSpec) -> None:
    """The environment of libraries, before they are imported."""
    os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"})
    # The tokenizer's threads and the data loader's forks do not mix; we fork nothing, so the threads may stay.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    if spec.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif "RANK" not in os.environ:
        # One process, one GPU: with several in sight the Trainer would silently spread every batch over them.
        numbered, visible = spec.device.startswith("cuda:"), os.environ.get("CUDA_VISIBLE_DEVICES")
        if numbered and visible is None:
            # As nvidia-smi counts, and as the worker told the server; CUDA alone puts the fastest first.
            os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        wanted = int(spec.device.removeprefix("cuda:")) if numbered else 0
        os.environ["CUDA_VISIBLE_DEVICES"] = _gpu(wanted, visible)


def _gpu(wanted: int, visible: str | None) -> str:
    """The name of a GPU, counted among those that this machine's owner lets be seen; empty when it is none of them."""
    if visible is None:
        return str(wanted)
    return dict(enumerate(visible.split(","))).get(wanted, "")


def _exit(code: int) -> None:
    """End with this very code: output that a full disk did not take would turn it into 120."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    _exit(main(sys.argv[1:]))
