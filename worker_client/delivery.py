"""How an attempt ends for the server: everything spooled, then complete, fail or release, until it is accepted."""

import logging
import sqlite3
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, TypeVar

from worker_client.attempt import SLICE_S, Attempt
from worker_client.backoff import Outage
from worker_client.errors import (
    RETRYABLE_REASONS,
    ApiError,
    FailureReason,
    LeaseLost,
    Rejected,
    Retryable,
    Unauthorized,
)
from worker_client.protocol import Outcome

log = logging.getLogger("worker_client.delivery")

T = TypeVar("T")
MAX_MESSAGE_CHARS = 2_000
MAX_TRACEBACK_CHARS = 20_000
LEASE_CONFIRMATIONS = 5
PAUSE_AFTER_REATTACH_S = 1.0
TELEMETRY_MISSING = "telemetry_missing"
ABORT_PATIENCE_S = 10.0


class JobEnd(Enum):
    """What became of an attempt."""

    COMPLETED = auto()
    FAILED = auto()
    RETRIED = auto()  # failed, and back in the queue
    CANCELLED = auto()
    RELEASED = auto()  # back in the queue, or parked
    LOST = auto()  # another worker's now: nothing was sent
    UNDELIVERED = auto()  # aborted while the server was away: told at the next start

    @property
    def is_terminal(self) -> bool:
        """Whether nobody will go on from this job's checkpoints."""
        return self in (JobEnd.COMPLETED, JobEnd.FAILED, JobEnd.CANCELLED)


class _GaveUp(Exception):
    """The operator aborted while the server was away."""


def deliver(attempt: Attempt, outcome: Outcome) -> JobEnd:
    """Tell the server how the attempt ended; waits for it as long as it is away.

    Raises Unauthorized when the token is refused for good: what is left is told at the next start.
    """
    return _Delivery(attempt).deliver(outcome)


class _Delivery:
    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._ids = {"job_id": attempt.job_id, "attempt": attempt.number}
        self._outage = Outage()
        self._aborted_at: float | None = None
        self._counted: dict[str, Any] = {}

    def deliver(self, outcome: Outcome) -> JobEnd:
        if self._attempt.lease.refusal:
            raise self._attempt.lease.refusal
        try:
            return self._tell_unless_lost(outcome)
        except _GaveUp:
            log.warning("Aborted with the server away: the rest is told when this worker starts again.")
            return JobEnd.UNDELIVERED

    def _tell_unless_lost(self, outcome: Outcome) -> JobEnd:
        if self._attempt.lease.lost.is_set():
            return self._lost()
        try:
            return self._tell(outcome)
        except LeaseLost:
            log.warning("Job %d is no longer ours: its result is not sent.", self._attempt.job_id)
            return self._lost()

    def _tell(self, outcome: Outcome) -> JobEnd:
        self._announce(outcome)
        self._drain()
        if outcome.status == "completed":
            end = self._complete(outcome)
        else:
            end = self._fail(outcome) if outcome.status == "failed" else self._release(outcome.reason)
        self._attempt.lease.end()
        return end

    def _lost(self) -> JobEnd:
        """What was said until then is evidence, and the server takes it from the worker that held the job."""
        self._attempt.uploader.stop()
        self._until_accepted(self._attempt.uploader.send_story)
        return JobEnd.LOST

    def _announce(self, outcome: Outcome) -> None:
        """The last line of the run page: before the drain, because after it nothing more is sent."""
        if outcome.status == "completed":
            log.info("Completed. The model is in %s.", outcome.model_path)
        elif outcome.status == "failed":
            log.error("Failed: %s. %s", outcome.reason, outcome.message)
        else:
            log.info("Giving the job back: %s.", outcome.reason)

    def _drain(self) -> None:
        """Send the rest. What the server should then have is counted, so that it can tell what is missing.

        It is asked once whether it still has what it took: it may have been restored from a backup.
        """
        self._attempt.uploader.stop()
        self._attempt.end_story()
        try:
            self._attempt.spool.tell_left_out()
            self._until_accepted(self._attempt.uploader.send_all)
            self._until_accepted(self._attempt.uploader.send_again)
            self._counted = {"counts": self._attempt.spool.counts()}
        except sqlite3.Error as error:
            log.warning("The last lines of the spool cannot be read: %s", error)

    def _complete(self, outcome: Outcome) -> JobEnd:
        result = {
            "metrics": outcome.metrics,
            "best_epoch": outcome.best_epoch,
            "model_path": outcome.model_path,
            "model_sha256": outcome.model_sha256,
            "report": outcome.report,
            "environment": outcome.environment,
            **self._counted,
        }
        try:
            self._tell_result(result)
        except Rejected as error:
            message = f"The model is in {outcome.model_path}, but the server refused the result: {error}"
            log.error(message)
            return self._fail(Outcome("failed", reason=FailureReason.INTERNAL_ERROR, message=message))
        return JobEnd.COMPLETED

    def _tell_result(self, result: dict[str, Any]) -> None:
        """A server that was restored since it took the last lines says so once, and gets all of them again."""
        complete, whole = self._attempt.api.complete, {**result, "may_resend": True}
        try:
            self._until_told(lambda: complete(**self._ids, result=whole))
        except Rejected as error:
            if error.code != TELEMETRY_MISSING:
                raise
            log.warning("The server has lost lines or figures that it took: they are sent again.")
            self._send_whole_again()
            self._until_told(lambda: complete(**self._ids, result=result))

    def _send_whole_again(self) -> None:
        try:
            self._until_accepted(self._attempt.uploader.send_again)
        except sqlite3.Error as error:
            log.warning("The spool cannot be read again: %s", error)

    def _fail(self, outcome: Outcome) -> JobEnd:
        failure = {
            "reason": outcome.reason,
            "message": outcome.message[:MAX_MESSAGE_CHARS],
            "retryable": outcome.reason in RETRYABLE_REASONS,
            **self._counted,
        }
        if outcome.traceback:
            failure["traceback"] = outcome.traceback[-MAX_TRACEBACK_CHARS:]
        try:
            status = self._until_told(lambda: self._attempt.api.fail(**self._ids, failure=failure))
        except Rejected as error:
            log.error("The server did not take the failure of job %d: %s", self._attempt.job_id, error)
            return JobEnd.FAILED
        return JobEnd.RETRIED if status == "pending" else JobEnd.FAILED

    def _release(self, reason: str) -> JobEnd:
        try:
            self._until_told(lambda: self._attempt.api.release(**self._ids, reason=reason, **self._counted))
        except Rejected as error:
            log.error("The server did not take job %d back: %s", self._attempt.job_id, error)
        return JobEnd.CANCELLED if reason == "cancelled" else JobEnd.RELEASED

    def _until_told(self, end: Callable[[], T]) -> T:
        """Each further try asks again what the server has: it may have come back from a backup meanwhile."""
        tries = 0

        def send() -> T:
            nonlocal tries
            tries += 1
            if tries > 1:
                self._send_again()
            return end()

        return self._until_accepted(send)

    def _send_again(self) -> None:
        try:
            self._attempt.uploader.send_again()
        except LeaseLost:
            pass  # or the first try was taken: the end itself will tell
        except sqlite3.Error as error:
            log.warning("The spool cannot be read again: %s", error)

    def _until_accepted(self, send: Callable[[], T]) -> T:
        refused_leases = 0
        while True:
            try:
                answer = send()
                self._outage.over()
                return answer
            except LeaseLost:
                refused_leases += 1
                if refused_leases > LEASE_CONFIRMATIONS or not self._still_held():
                    raise
                self._pause(PAUSE_AFTER_REATTACH_S)
            except Unauthorized as error:
                self._attempt.lease.refuse(error)
                if self._attempt.lease.unauthorized.is_set():
                    raise
                self._wait_out(error)
            except Retryable as error:
                self._wait_out(error)

    def _still_held(self) -> bool:
        """One heartbeat decides; while it gets no answer nothing is decided."""
        while True:
            try:
                return self._attempt.lease.survives()
            except Retryable as error:
                self._wait_out(error)

    def _wait_out(self, error: ApiError) -> None:
        self._pause(self._outage.failed(error, kept=self._attempt.spool.pending_count()))

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._give_up_when_aborted()
            time.sleep(min(SLICE_S, left))

    def _give_up_when_aborted(self) -> None:
        if not self._attempt.stop.abort.is_set():
            return
        self._aborted_at = self._aborted_at or time.monotonic()
        if time.monotonic() - self._aborted_at > ABORT_PATIENCE_S:
            raise _GaveUp
