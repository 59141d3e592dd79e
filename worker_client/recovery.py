"""What a worker does first when an earlier process of it ended in the middle of a job."""

import logging
import shutil
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from worker_client.api import ApiClient
from worker_client.attempt import Attempt
from worker_client.child import kill_tree, orphan
from worker_client.delivery import JobEnd, deliver
from worker_client.protocol import Outcome, Registration
from worker_client.runner import STOP_GRACE_S, tidy
from worker_client.settings import WorkerSettings
from worker_client.signals import StopRequests
from worker_client.spool import Spool
from worker_client.workspace import Workspace

log = logging.getLogger("worker_client.recovery")

KEEP_ABANDONED_S = 35 * 24 * 3600  # longer than a court's recess, in which servers and workers may be off
CRASHED = Outcome("stopped", reason="crashed")


def recover(
    api: ApiClient,
    *,
    job_id: int,
    number: int,
    paces: Registration,
    settings: WorkerSettings,
    stop: StopRequests,
    stop_grace_s: float = STOP_GRACE_S,
) -> JobEnd:
    """Tell the server what became of an attempt that this worker left unfinished.

    An end that was reached but not told is told now. Otherwise the attempt is released as `crashed`: the next claim
    brings the job back and it goes on from its checkpoint. Raises Unauthorized.
    """
    workspace = Workspace.create(settings.work_dir, job_id, number)
    _stop_orphan(workspace, stop_grace_s)
    workspace.drop_partial_model()
    attempt = Attempt(
        api,
        job_id=job_id,
        number=number,
        paces=paces,
        workspace=workspace,
        spool=_spool_of(workspace),
        stop=stop,
    )
    with attempt:
        log.warning("An earlier process of this worker left attempt %d of job %d unfinished.", number, job_id)
        end = deliver(attempt, _outcome_left(workspace))
    tidy(workspace, end, keep_checkpoints=settings.keep_checkpoints)
    return end


def forget_abandoned(settings: WorkerSettings) -> None:
    """Remove folders of jobs that this worker has not touched for five weeks: others have finished them.

    Not before what an earlier process left untold is told. With --keep-checkpoints all but the checkpoints.
    """
    oldest = time.time() - KEEP_ABANDONED_S
    for folder in (settings.work_dir / "jobs").glob("*"):
        with suppress(OSError):
            if max(path.stat().st_mtime for path in (folder, *folder.rglob("*"))) < oldest:
                log.info("Removing %s, untouched for five weeks.", folder)
                if settings.keep_checkpoints:
                    Workspace(folder / "attempt-0").forget_all_but_checkpoints()
                else:
                    shutil.rmtree(folder)


def _stop_orphan(workspace: Workspace, grace_s: float) -> None:
    """A child outlives a killed worker: it is asked for a checkpoint, then ended."""
    process = orphan(workspace.child_id_path)
    if process is None:
        return
    log.warning("Its training process %d still runs: stopping it.", process.pid)
    workspace.request_stop(CRASHED.reason)
    with suppress(psutil.Error):
        process.wait(grace_s)
    if orphan(workspace.child_id_path):
        kill_tree(process.pid)


def _outcome_left(workspace: Workspace) -> Outcome:
    try:
        return workspace.read_outcome() or CRASHED
    except (OSError, ValueError, TypeError):
        return CRASHED


def _spool_of(workspace: Workspace) -> Spool:
    try:
        return Spool(workspace.spool_path)
    except sqlite3.Error as error:
        log.warning("The spool of the attempt is damaged and is left aside: %s", error)
        return Spool(Path(":memory:"))
