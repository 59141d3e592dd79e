"""The lease: a thread that renews the right to run, and the flags that the server's answers raise."""

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from worker_client import hardware
from worker_client.api import ApiClient
from worker_client.backoff import Backoff
from worker_client.errors import ApiError, LeaseLost, Rejected, Retryable, Unauthorized
from worker_client.protocol import Directives

log = logging.getLogger("worker_client.lease")
connection = logging.getLogger("worker_client.connection")

HEARTBEAT_TIMEOUT_S = 15.0
REFUSALS_BEFORE_GIVING_UP = 3
REFUSALS_APART_S = 5.0  # heartbeat and uploads are refused in the same moment: those count once
RETRY_CAP_S = 15.0


class Lease:
    """The right of one attempt to run.

    It beats on a connection of its own, so that a hanging upload cannot starve it. While the server is away it
    keeps trying: only the server's own word (409, or the job being gone) ends the lease.
    """

    def __init__(
        self,
        api: ApiClient,
        *,
        job_id: int,
        attempt: int,
        heartbeat_seconds: float,
        gpus: Callable[[], Sequence[hardware.Gpu]] = hardware.gpus,
    ) -> None:
        self.cancel_requested = threading.Event()
        self.pause_requested = threading.Event()
        self.drain = threading.Event()
        self.lost = threading.Event()
        self.unauthorized = threading.Event()
        self._api = api.twin(read_timeout_s=HEARTBEAT_TIMEOUT_S)
        self._job_id = job_id
        self._attempt = attempt
        self._heartbeat_s = heartbeat_seconds
        self._gpus = gpus
        self._beating = threading.Lock()
        self.refusal: Unauthorized | None = None
        self._refusals = 0
        self._refused_at = -math.inf
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lease-{job_id}", daemon=True)

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def end(self) -> None:
        """The server has taken the attempt's end: a heartbeat still under way may be refused and means nothing."""
        self._ended.set()

    def stop(self) -> None:
        """End the renewals; returns when the last one is over."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(HEARTBEAT_TIMEOUT_S + 1)

    @property
    def is_over(self) -> bool:
        """Whether there is no more use in sending anything for this attempt."""
        return self.lost.is_set() or self.unauthorized.is_set()

    def note(self, directives: Directives) -> None:
        """Take over what the server wants, from any answer."""
        for wanted, flag in (
            (directives.cancel_requested, self.cancel_requested),
            (directives.pause_requested, self.pause_requested),
            (directives.drain, self.drain),
        ):
            if wanted:
                flag.set()

    def beat(self) -> bool:
        """One heartbeat. True when the server renewed the lease, False when it did not answer or refused."""
        with self._beating:
            try:
                self.note(self._api.heartbeat(job_id=self._job_id, attempt=self._attempt, **_load_of(self._gpus())))
            except Retryable:
                raise
            except ApiError as error:
                self._refused(error)
                return False
            self._refusals = 0
            return True

    def survives(self) -> bool:
        """Ask by a heartbeat after another write was refused with `lease_lost`.

        A lease that ran out while the server was away is taken up again by a heartbeat, so the refused write
        may be sent again. True: go on. False: the attempt is over and `lost` is set. Raises Retryable.
        """
        return not self.is_over and self.beat()

    def refuse(self, error: Unauthorized) -> None:
        """Count a 401 or 403 of another request as the heartbeat counts its own."""
        self._refused(error)

    def _refused(self, error: ApiError) -> None:
        if self._ended.is_set():
            return
        if isinstance(error, LeaseLost) or (isinstance(error, Rejected) and error.status in (404, 410)):
            if not self.lost.is_set():
                log.warning("This attempt no longer holds the job (%s): stopping it, its checkpoint stays.", error)
            self.lost.set()
            return
        if time.monotonic() - self._refused_at >= min(REFUSALS_APART_S, self._heartbeat_s):
            self._refused_at = time.monotonic()
            self._refusals += 1
        connection.warning("The server refused a request of this attempt: %s", error)
        # A single 403 may be a proxy's mood; hours of training are not thrown away for it.
        if isinstance(error, Unauthorized) and self._refusals >= REFUSALS_BEFORE_GIVING_UP:
            self.refusal = error
            self.unauthorized.set()

    def _run(self) -> None:
        backoff = Backoff(cap_s=min(RETRY_CAP_S, self._heartbeat_s))
        pause_s = 0.0
        while not self._ended.wait(pause_s) and not self.is_over:
            try:
                self.beat()
                backoff.reset()
                pause_s = self._heartbeat_s * random.uniform(0.8, 1.0)
            except Retryable as error:
                pause_s = backoff.next_s(error.retry_after_s)
            except Exception:
                log.exception("A heartbeat could not be sent.")
                pause_s = self._heartbeat_s


def _load_of(gpus: Sequence[hardware.Gpu]) -> dict[str, Any]:
    """Use of the busiest GPU and memory of all, or nothing without one."""
    if not gpus:
        return {}
    return {
        "gpu_utilization": max(gpu.utilization for gpu in gpus),
        "gpu_memory_bytes": sum(gpu.memory_used_bytes for gpu in gpus),
    }
