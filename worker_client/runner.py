"""JobRunner: one attempt from the claim to its end: prepare, start the child, supervise, deliver."""

import logging
import os
import shutil
import signal
import sqlite3
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from worker_client import hardware
from worker_client.api import ApiClient
from worker_client.attempt import SLICE_S, Attempt
from worker_client.cache import BaseModels, fetch_dataset, forget_datasets
from worker_client.child import TRAINING_COMMAND, ChildProcess, as_processes, remember, was_killed
from worker_client.delivery import JobEnd, deliver
from worker_client.errors import ChildExit, FailureReason, Stopped, TrainingFailed
from worker_client.memory import DEFAULT_BATCH_SIZE, Fit, effective_batch, rows_used
from worker_client.protocol import JobSpec, Outcome, Registration, TrainingSpec
from worker_client.reserve import is_full_disk
from worker_client.settings import WorkerSettings
from worker_client.signals import StopRequests
from worker_client.spool import Spool
from worker_client.workspace import Workspace

log = logging.getLogger("worker_client.runner")

STOP_GRACE_S = 25.0  # a stopped worker has given its job back after 30 s
CANCEL_GRACE_S = 5.0  # nothing of a cancelled attempt is worth waiting for
LOST_GRACE_S = 20.0  # a zombie must have freed the GPU within 30 s of the first refusal
OUT_OF_MEMORY_MARKS = ("CUDA out of memory", "OutOfMemoryError", "DefaultCPUAllocator")
DISK_IS_FULL = "The worker's disk is full. Free some space there (old models, ended jobs)."
CHILD_REASONS = {ChildExit.of(reason).value: reason for reason in FailureReason if reason.name in ChildExit.__members__}


class JobRunner:
    """Runs the attempts of one worker, one after the other. Never raises for what a job does wrong."""

    def __init__(
        self,
        settings: WorkerSettings,
        api: ApiClient,
        *,
        paces: Registration,
        stop: StopRequests,
        command: Sequence[str] = TRAINING_COMMAND,
        stop_grace_s: float = STOP_GRACE_S,
    ) -> None:
        self._settings = settings
        self._api = api
        self._paces = paces
        self._stop = stop
        self._command = tuple(command)
        self._stop_grace_s = stop_grace_s
        self._datasets_dir = settings.work_dir / "datasets"
        self._base_models = BaseModels.of(settings)

    def run(self, job: JobSpec) -> JobEnd:
        """Do one attempt and tell the server how it ended. Raises Unauthorized."""
        workspace, spool, trouble = _open(self._settings.work_dir, job)
        attempt = Attempt(
            self._api,
            job_id=job.job_id,
            number=job.attempt,
            paces=self._paces,
            workspace=workspace,
            spool=spool,
            stop=self._stop,
            heartbeat_seconds=job.heartbeat_seconds,
            gpus=partial(hardware.gpus_for, self._settings),
        )
        try:
            with attempt:
                end = deliver(attempt, trouble or self._outcome(job, attempt))
        finally:
            forget_datasets(self._datasets_dir)
        tidy(workspace, end, keep_checkpoints=self._settings.keep_checkpoints)
        return end

    def _outcome(self, job: JobSpec, attempt: Attempt) -> Outcome:
        try:
            outcome = self._train(job, attempt)
        except Stopped as stopped:
            outcome = Outcome("stopped", reason=str(stopped))
        except Exception as error:
            outcome = outcome_of(error)
        _keep(attempt.workspace, outcome)
        return outcome

    def _train(self, job: JobSpec, attempt: Attempt) -> Outcome:
        log.info("%s takes job %d, attempt %d: %s.", self._paces.name, job.job_id, job.attempt, job.run_name)
        spec = self._prepare(job, attempt)
        fit = Fit.read(attempt.workspace.memory_path)
        while True:
            attempt.check()
            spec = fit.applied_to(spec)
            attempt.workspace.write_spec(spec)
            outcome = self._run_child(attempt, spec.processes)
            smaller = fit.after(outcome, spec)
            if smaller is None:
                return outcome
            _tell(attempt, smaller, spec, outcome)
            smaller.write(attempt.workspace.memory_path)
            attempt.workspace.forget_outcome()
            fit = smaller

    def _prepare(self, job: JobSpec, attempt: Attempt) -> TrainingSpec:
        attempt.spool.put_progress(phase="downloading", epoch=0, step=0, total_steps=0)
        dataset_path = fetch_dataset(job.dataset, attempt=attempt, folder=self._datasets_dir)
        base_model_dir = self._base_models.folder_of(job.base_model, job.base_model_revision, attempt=attempt)
        return TrainingSpec(
            job_id=job.job_id,
            attempt=job.attempt,
            run_id=job.run_id,
            run_name=job.run_name,
            task_type=job.task_type,
            base_model=job.base_model,
            base_model_revision=job.base_model_revision,
            base_model_dir=str(base_model_dir) if base_model_dir else None,
            seed=job.seed,
            hyperparameters=job.hyperparameters,
            dataset_path=str(dataset_path),
            dataset_sha256=job.dataset.sha256,
            dataset_filename=job.dataset.filename,
            sheet=job.dataset.sheet,
            columns=job.dataset.columns,
            labels=job.dataset.labels,
            repair_bio=job.dataset.repair_bio,
            model_dir=str(self._settings.models_dir / f"run-{job.run_id}"),
            checkpoints_dir=str(attempt.workspace.checkpoints_dir),
            device=self._settings.device,
            processes=_processes(job, self._settings.processes),
            gpu_memory_fraction=self._settings.gpu_memory_fraction,
            fake_memory=self._settings.fake_memory,
            worker_name=self._paces.name,
            worker_pid=os.getpid(),
            worker_started=psutil.Process().create_time(),
        )

    def _run_child(self, attempt: Attempt, processes: int) -> Outcome:
        workspace, kills = attempt.workspace, hardware.memory_kills()
        child = ChildProcess(
            [*as_processes(self._command, processes), str(workspace.root)],
            log_path=workspace.child_log_path,
            HF_HUB_OFFLINE="1",
            TRANSFORMERS_OFFLINE="1",
        )
        try:
            remember(child, workspace.child_id_path)
            log.info("Training process %d started.", child.pid)
            exit_code, asked = self._supervise(child, attempt)
        finally:
            child.kill()
            workspace.drop_partial_model()
        return self._judge(child, exit_code, asked, attempt, kills)

    def _supervise(self, child: ChildProcess, attempt: Attempt) -> tuple[int, str | None]:
        """Wait for the child's end; returns its exit code and what it was asked to stop for, if it was."""
        asked: str | None = None
        deadline = 0.0
        while (exit_code := child.wait(SLICE_S)) is None:
            reason = attempt.stop_reason()
            if reason and not asked:
                asked = reason
                deadline = time.monotonic() + self._grace_s(attempt, reason)
                attempt.workspace.request_stop(reason)
                log.info("Asking the training process to stop: %s.", reason)
            if asked and (self._stop.now.is_set() or time.monotonic() > deadline):
                log.warning("The training process did not stop in time and is ended.")
                child.kill()
        return exit_code, asked

    def _grace_s(self, attempt: Attempt, reason: str) -> float:
        if attempt.lease.is_over:
            return min(LOST_GRACE_S, self._stop_grace_s)
        return min(CANCEL_GRACE_S, self._stop_grace_s) if reason == "cancelled" else self._stop_grace_s

    def _judge(self, child: ChildProcess, exit_code: int, asked: str | None, attempt: Attempt, kills: int) -> Outcome:
        """How the attempt ended, from the child's own word where it left one, else from its exit code."""
        outcome = _own_word(attempt.workspace)
        if outcome and outcome.status == "completed":
            return outcome
        if asked and (not outcome or outcome.status == "stopped" or asked == "cancelled"):
            return Outcome("stopped", reason=asked)
        if exit_code in (ChildExit.STOPPED, -signal.SIGTERM):
            # Stopped by someone else: a service manager, for one, signals every process of the service.
            return Outcome("stopped", reason="shutdown")
        if outcome:
            return outcome
        silent = _without_word(exit_code, child.tail(), for_memory=hardware.memory_kills() > kills)
        return replace(silent, memory=attempt.workspace.read_tried())


def _processes(job: JobSpec, wanted: int) -> int:
    """How many processes share the run's batch evenly: at most as many as are wanted."""
    batch = int(job.hyperparameters.get("batch_size", DEFAULT_BATCH_SIZE))
    fitting = next((count for count in range(min(wanted, batch), 0, -1) if batch % count == 0), 1)
    if fitting < wanted:
        log.warning("--processes %d: a batch of %d goes evenly into %d.", wanted, batch, fitting)
    return fitting


def outcome_of(error: Exception) -> Outcome:
    """What an exception in the worker itself means for the attempt."""
    if isinstance(error, TrainingFailed):
        return Outcome("failed", reason=error.reason, message=error.message)
    if is_full_disk(error):
        return Outcome("failed", reason=FailureReason.DISK_FULL, message=f"{DISK_IS_FULL} ({error})")
    return Outcome(
        "failed",
        reason=FailureReason.INTERNAL_ERROR,
        message=f"The worker stumbled: {type(error).__name__}: {error}",
        traceback="".join(traceback.format_exception(error)),
    )


def tidy(workspace: Workspace, end: JobEnd, *, keep_checkpoints: bool = False) -> None:
    """Keep what the next attempt goes on from, and what is still to be told; remove the rest."""
    if end.is_terminal and keep_checkpoints and workspace.checkpoints_dir.exists():
        workspace.forget_all_but_checkpoints()
        log.info("The checkpoints stay in %s.", workspace.checkpoints_dir)
    elif end.is_terminal:
        shutil.rmtree(workspace.root.parent, ignore_errors=True)
    elif end in (JobEnd.RETRIED, JobEnd.RELEASED):
        shutil.rmtree(workspace.root, ignore_errors=True)


def _open(work_dir: Path, job: JobSpec) -> tuple[Workspace, Spool, Outcome | None]:
    """The attempt's folder and spool; where the disk takes neither, a spool in memory tells that failure."""
    try:
        workspace = Workspace.create(work_dir, job.job_id, job.attempt)
        return workspace, Spool(workspace.spool_path), None
    except (OSError, sqlite3.Error) as error:
        workspace = Workspace(work_dir / "jobs" / str(job.job_id) / f"attempt-{job.attempt}")
        return workspace, Spool(Path(":memory:")), outcome_of(error)


def _keep(workspace: Workspace, outcome: Outcome) -> None:
    """Write the outcome down, for a worker that is ended before the server heard it."""
    try:
        workspace.write_outcome(outcome)
    except OSError as error:
        log.warning("The outcome cannot be kept on this disk: %s", error)


def _own_word(workspace: Workspace) -> Outcome | None:
    try:
        return workspace.read_outcome()
    except (OSError, ValueError, TypeError) as error:
        log.warning("The training process left an outcome that cannot be read: %s", error)
        return None


def _without_word(exit_code: int, tail: str, *, for_memory: bool) -> Outcome:
    """The failure of a child that ended without saying how. for_memory: the system killed some process for memory."""
    if (was_killed(exit_code) and for_memory) or any(mark in tail for mark in OUT_OF_MEMORY_MARKS):
        message = "The training process was ended for want of memory, with one text at a time at last."
        return Outcome("failed", reason=FailureReason.OUT_OF_MEMORY, message=message, traceback=tail)
    if was_killed(exit_code):
        message = f"The training process was ended from outside ({_signal_name(exit_code)}), often for want of memory."
        return Outcome("failed", reason=FailureReason.KILLED, message=message, traceback=tail)
    reason = CHILD_REASONS.get(exit_code, FailureReason.INTERNAL_ERROR)
    if reason == FailureReason.DISK_FULL:  # for a word of its own there was no room
        return Outcome("failed", reason=reason, message=DISK_IS_FULL, traceback=tail)
    message = f"The training process ended with exit code {exit_code} and no word of its own."
    last_line = next(iter(reversed(tail.splitlines())), "")
    return Outcome("failed", reason=reason, message=f"{message} {last_line}".strip(), traceback=tail)


def _signal_name(exit_code: int) -> str:
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"exit code {exit_code & 0xFFFF_FFFF:#x}"


def _tell(attempt: Attempt, fit: Fit, spec: TrainingSpec, outcome: Outcome) -> None:
    """A step down the ladder, for the run page."""
    effective, rows = effective_batch(spec), rows_used(spec, outcome)
    if fit.gradient_checkpointing and not spec.gradient_checkpointing:
        log.warning("Out of memory with one text at a time: starting again with gradient checkpointing.")
        attempt.spool.append_event("gradient_checkpointing")
        return
    size = fit.device_batch_size or 1
    log.warning(
        "Out of memory: starting again with %d texts at a time instead of %d. The effective batch stays %d.",
        size,
        rows,
        effective,
    )
    attempt.spool.append_event("batch_halved", **{"from": rows, "to": size, "accumulation": effective // size})
