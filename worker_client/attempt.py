"""One attempt while it is open here: its folder, spool, lease and uploader, and what ends it."""

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from worker_client import hardware
from worker_client.api import ApiClient
from worker_client.backoff import Outage
from worker_client.errors import ApiError, Stopped
from worker_client.lease import Lease
from worker_client.protocol import Registration
from worker_client.signals import StopRequests
from worker_client.spool import Spool
from worker_client.uploader import Uploader
from worker_client.workspace import Workspace

log = logging.getLogger("worker_client")

SLICE_S = 0.2


class SpoolHandler(logging.Handler):
    """Puts the worker's own lines beside the child's, so that the run page tells the whole story."""

    def __init__(self, spool: Spool) -> None:
        super().__init__(logging.INFO)
        self._spool = spool

    def filter(self, record: logging.LogRecord) -> bool:
        """Lines about the connection stay on this machine."""
        return record.name != "worker_client.connection" and super().filter(record) is not False

    def emit(self, record: logging.LogRecord) -> None:
        """Append one line. A full disk must not stop the worker, and the console has the line already."""
        try:
            self._spool.append_log(record.levelname, self.format(record))
        except sqlite3.Error:
            pass
        except Exception:
            self.handleError(record)


class Attempt:
    """A context: on entry the lease is renewed and the spool is sent in the background, on exit both end."""

    def __init__(
        self,
        api: ApiClient,
        *,
        job_id: int,
        number: int,
        paces: Registration,
        workspace: Workspace,
        spool: Spool,
        stop: StopRequests,
        heartbeat_seconds: float | None = None,
        gpus: Callable[[], Sequence[hardware.Gpu]] = hardware.gpus,
    ) -> None:
        self.job_id = job_id
        self.number = number
        self.workspace = workspace
        self.spool = spool
        self.stop = stop
        self.api = api
        self.lease = Lease(
            api,
            job_id=job_id,
            attempt=number,
            heartbeat_seconds=heartbeat_seconds or paces.heartbeat_seconds,
            gpus=gpus,
        )
        self.uploader = Uploader(
            api, job_id=job_id, attempt=number, spool=spool, lease=self.lease, pace_s=paces.upload_seconds
        )
        self._handler = SpoolHandler(spool)

    def __enter__(self) -> Self:
        log.addHandler(self._handler)
        self.lease.start()
        self.uploader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_story()
        self.uploader.stop()
        self.lease.stop()
        if self.lease.drain.is_set():
            self.stop.drain.set()
        self.spool.close()
        self.spool.give_up_reserve()

    def end_story(self) -> None:
        """What the worker says from now on stays on its console: nobody would send it."""
        log.removeHandler(self._handler)

    def stop_reason(self) -> str | None:
        """Why the work must stop now, in the words of a release, or None."""
        if self.lease.is_over:
            return "shutdown"
        if self.lease.cancel_requested.is_set():
            return "cancelled"
        if self.lease.pause_requested.is_set():
            return "paused"
        return "shutdown" if self.stop.abort.is_set() else None

    def check(self) -> None:
        """Raises Stopped when the work must stop. For use between the steps of a long preparation."""
        if reason := self.stop_reason():
            raise Stopped(reason)

    def pause(self, seconds: float) -> None:
        """Wait, but not on when the work must stop: then Stopped is raised."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check()
            time.sleep(min(SLICE_S, left))

    def wait_out(self, error: ApiError, outage: Outage) -> None:
        """Wait before the same request again, saying that the server is away. Raises Stopped."""
        self.pause(outage.failed(error, kept=self.spool.pending_count()))
