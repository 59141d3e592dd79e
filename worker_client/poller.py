"""Poller: register, then claim, run and wait until the operator, the server or an empty queue ends it."""

import logging
import random
import time
from collections.abc import Sequence
from enum import IntEnum

from worker_client import hardware
from worker_client.api import ApiClient
from worker_client.attempt import SLICE_S
from worker_client.backoff import Outage
from worker_client.cache import BaseModels, forget_datasets
from worker_client.child import TRAINING_COMMAND
from worker_client.claims import Claim, ClaimFile
from worker_client.delivery import JobEnd
from worker_client.errors import ApiError, Busy, Rejected, Retryable, TokenInUse, Unauthorized
from worker_client.protocol import JobSpec, Registration
from worker_client.recovery import forget_abandoned, recover
from worker_client.runner import STOP_GRACE_S, JobRunner
from worker_client.settings import WorkerSettings
from worker_client.signals import StopRequests

log = logging.getLogger("worker_client.poller")

HEARTBEATS_TO_HEAR = 1.5  # of another process that renews the lease
CLAIM_WAIT_S = 2.0  # how long the server may hold a claim back; a Ctrl-C is obeyed between two claims


UPGRADE_REQUIRED = 426


class ExitCode(IntEnum):
    """How the worker ends (CONTRACT section 1)."""

    DRAINED = 0
    BAD_ARGUMENTS = 2
    TOKEN_REFUSED = 3
    SERVER_UNREACHABLE = 4
    JOB_FAILED = 5


class Poller:
    """The life of one worker process."""

    def __init__(
        self,
        settings: WorkerSettings,
        api: ApiClient,
        *,
        stop: StopRequests,
        command: Sequence[str] = TRAINING_COMMAND,
        stop_grace_s: float = STOP_GRACE_S,
    ) -> None:
        self._settings = settings
        self._api = api
        self._stop = stop
        self._command = command
        self._stop_grace_s = stop_grace_s
        self._claims = ClaimFile(settings.work_dir)
        self._outage = Outage()
        self._claimed_at = self._heartbeat_due = 0.0

    def run(self) -> ExitCode:
        """Work until there is a reason to end; returns it."""
        forget_datasets(self._settings.work_dir / "datasets")
        try:
            paces = self._register()
            return self._work(paces) if paces else ExitCode.DRAINED
        except Unauthorized as error:
            log.error(
                "The server refuses this token (%s). Is it the worker's present one, and is the worker enabled? "
                "Started again with one that is accepted, the worker goes on where it was.",
                error,
            )
            return ExitCode.TOKEN_REFUSED
        except TokenInUse as error:
            log.error("%s Connect this one as a worker of its own: manage.py register_worker NAME.", error)
            return ExitCode.BAD_ARGUMENTS
        except Rejected as error:
            if error.status == UPGRADE_REQUIRED:  # the server's own sentence says which of the two is too old
                log.error("%s", error.detail)
                return ExitCode.BAD_ARGUMENTS
            log.error("%s does not answer as the training server does: %s", self._api.api_url, error)
            return ExitCode.BAD_ARGUMENTS
        except Retryable as error:
            log.error("The server %s cannot be reached: %s", self._api.api_url, error)
            return ExitCode.SERVER_UNREACHABLE

    def _register(self) -> Registration | None:
        """Introduce this machine; None when asked to end meanwhile. With --once an absent server raises Retryable."""
        facts = hardware.facts(self._settings, BaseModels.of(self._settings).names())
        while not self._stop.drain.is_set():
            try:
                paces = self._api.register(facts)
            except Retryable as error:
                if self._settings.once:
                    raise
                self._wait_out(error)
                continue
            self._outage.over()
            log.info("Registered as %s at %s.", paces.name, self._api.api_url)
            return paces
        return None

    def _work(self, paces: Registration) -> ExitCode:
        left = self._claims.read()
        self._recover_left(paces)
        self._release_held(paces, left)
        forget_abandoned(self._settings)
        while not self._stop.drain.is_set():
            try:
                job = self._claim()
            except Busy as error:
                log.warning("%s Does another worker use this token? Its job must end first.", error.detail)
                self._idle(paces)
            except (Retryable, Rejected) as error:
                self._wait_out(error)
            except OSError as error:
                log.error("The work folder cannot be written: %s", error)
                self._idle(paces)
            else:
                self._outage.over()
                if job:
                    end = self._run(job, paces)
                    if self._settings.once:
                        return ExitCode.JOB_FAILED if end in (JobEnd.FAILED, JobEnd.RETRIED) else ExitCode.DRAINED
                elif self._settings.drain_when_idle:
                    log.info("The queue is empty: ending.")
                    return ExitCode.DRAINED
                else:
                    self._rest(paces)
        log.info("Ending as asked.")
        return ExitCode.DRAINED

    def _claim(self) -> JobSpec | None:
        claim = self._claims.open()
        asks_at_once = self._settings.drain_when_idle or self._settings.poll_seconds
        self._claimed_at = time.monotonic()
        job = self._api.claim(claim.claim_id, wait_seconds=0 if asks_at_once else CLAIM_WAIT_S)
        if job:
            self._claims.answered(claim, job)
        return job

    def _rest(self, paces: Registration) -> None:
        """After an empty queue: a server that held the claim back is asked again, any other after a while."""
        now = time.monotonic()
        if now - self._claimed_at < CLAIM_WAIT_S / 2:
            self._idle(paces)
        elif now >= self._heartbeat_due:
            self._heartbeat_due = now + paces.heartbeat_seconds
            self._idle_heartbeat()

    def _run(self, job: JobSpec, paces: Registration) -> JobEnd:
        runner = JobRunner(
            self._settings,
            self._api,
            paces=paces,
            stop=self._stop,
            command=self._command,
            stop_grace_s=self._stop_grace_s,
        )
        try:
            end = runner.run(job)
        except Unauthorized:
            raise
        except Exception:
            log.exception("Job %d was interrupted by a fault of the worker.", job.job_id)
            return self._recover_left(paces) or JobEnd.LOST
        if end is not JobEnd.UNDELIVERED:
            self._claims.close()
        return end

    def _recover_left(self, paces: Registration) -> JobEnd | None:
        """End the attempt that claim.json names, if it names one."""
        left = self._claims.read()
        if left is None or left.job_id is None or left.attempt is None:
            return None
        end = self._recover(left.job_id, left.attempt, paces)
        if end is not JobEnd.UNDELIVERED:
            self._claims.close()
        return end

    def _release_held(self, paces: Registration, left: Claim | None) -> None:
        """Give back a job that the server thinks we hold and that this disk knows nothing of.

        With a claim still waiting for its answer the held job is that claim's: repeating the claim brings it. And
        an attempt that claim.json named was told of just now, after the server said that it is held.
        Raises TokenInUse where another process renews its lease.
        """
        if paces.held_job is None or paces.held_attempt is None:
            return
        if left and (left.job_id is None or (left.job_id, left.attempt) == (paces.held_job, paces.held_attempt)):
            return
        if (self._settings.work_dir / "jobs" / str(paces.held_job) / f"attempt-{paces.held_attempt}").exists():
            return
        log.warning("Job %d is held by this token, but not on this disk. Does another worker use it?", paces.held_job)
        if self._is_held_still(paces):
            self._recover(paces.held_job, paces.held_attempt, paces)

    def _is_held_still(self, before: Registration) -> bool:
        """Whether the job is held after a heartbeat's time, and by nobody who is alive. Raises TokenInUse."""
        if before.held_until:
            self._sleep(HEARTBEATS_TO_HEAR * before.heartbeat_seconds)
        after = self._register()
        if after is None or after.held_job is None:
            return False
        if after.held != before.held:
            raise TokenInUse(f"Another process works with this token, on job {after.held_job}.")
        return True

    def _recover(self, job_id: int, number: int, paces: Registration) -> JobEnd:
        return recover(
            self._api,
            job_id=job_id,
            number=number,
            paces=paces,
            settings=self._settings,
            stop=self._stop,
            stop_grace_s=self._stop_grace_s,
        )

    def _idle(self, paces: Registration) -> None:
        """Wait until the next look at the queue, with a sign of life where the wait is long."""
        left_s = (self._settings.poll_seconds or paces.poll_seconds) * random.uniform(0.8, 1.2)
        while left_s > 0 and not self._stop.drain.is_set():
            self._sleep(min(left_s, paces.heartbeat_seconds))
            left_s -= paces.heartbeat_seconds
            if left_s > 0:
                self._idle_heartbeat()

    def _idle_heartbeat(self) -> None:
        try:
            if self._api.heartbeat().drain:
                log.info("The server asks this worker to end: on its page it takes no new runs.")
                self._stop.drain.set()
        except Unauthorized:
            raise
        except ApiError as error:
            log.debug("A sign of life was not taken: %s", error)

    def _wait_out(self, error: ApiError) -> None:
        self._sleep(self._outage.failed(error))

    def _sleep(self, seconds: float) -> None:
        """Until then, or the order to stop. In slices: on Windows a wait hears Ctrl-C only at its end."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0 and not self._stop.drain.wait(min(left_s, SLICE_S)):
            pass
