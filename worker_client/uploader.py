"""The uploader: a thread that sends an attempt's lines, figures, events and progress; what is not taken stays."""

import logging
import random
import sqlite3
import threading
from contextlib import suppress
from typing import Any

from worker_client.api import ApiClient
from worker_client.backoff import Outage
from worker_client.errors import ApiError, LeaseLost, Rejected, Retryable, Unauthorized
from worker_client.lease import Lease
from worker_client.numbered import NumberedSender
from worker_client.protocol import Directives
from worker_client.spool import Spool

# Not shown on the run page: a line about a refused line would be one more line to refuse.
log = logging.getLogger("worker_client.connection")

MAX_LINES = 1_000
MAX_EVENTS = 100
MAX_POINTS = 500
RETRY_CAP_S = 30.0


class Uploader:
    """Sends the spool of one attempt in order. What the server has taken is marked in the spool itself."""

    def __init__(self, api: ApiClient, *, job_id: int, attempt: int, spool: Spool, lease: Lease, pace_s: float) -> None:
        self._api = api.twin()
        self._ids = {"job_id": job_id, "attempt": attempt}
        self._spool = spool
        self._lease = lease
        self._pace_s = pace_s
        self._logs = NumberedSender(
            "log line", limit=MAX_LINES, next_items=spool.next_logs, accept=spool.accept_logs, send=self._post_logs
        )
        self._events = NumberedSender(
            "event", limit=MAX_EVENTS, next_items=spool.next_events, accept=spool.accept_events, send=self._post_events
        )
        self._is_rewound = False
        self._sent_progress: dict[str, Any] | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"uploader-{job_id}", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Stop sending in the background; returns when no request of the thread is under way."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def send_all(self) -> None:
        """Send until the spool is drained. Raises what the server answers, Rejected excepted."""
        self._send_progress()
        while not self._spool.is_drained():
            self._send_batch()

    def send_again(self) -> None:
        """As `send_all`, but from the last line, the first figure and the last event on, sent or not.

        A server that was restored from a backup has lost what it took. Its answer names the first line and the first
        event that it lacks; of figures it names none. After an error to be called again: it may be restored since.
        """
        self._rewind()
        self.send_all()

    def send_story(self) -> None:
        """Send the lines and events of an attempt that is over for the server. It takes nothing else of such a one.

        Raises Retryable and Unauthorized; after them to be called again.
        """
        with suppress(LeaseLost, Rejected, sqlite3.Error):
            self._rewind()
            while self._spool.next_logs(1) or self._spool.next_events(1):
                self._logs.send_next()
                self._events.send_next()

    def _rewind(self) -> None:
        self._is_rewound = True
        self._logs.may_ask_again()
        self._events.may_ask_again()
        self._spool.rewind()

    def _send_until_ended(self) -> None:
        self._send_progress()
        while not self._ended.is_set() and not self._spool.is_drained():
            self._send_batch()

    def _send_batch(self) -> None:
        self._logs.send_next()
        self._send_metrics()
        self._events.send_next()

    def _run(self) -> None:
        outage = Outage(cap_s=RETRY_CAP_S)
        pause_s = 0.0
        while not self._ended.wait(pause_s) and not self._lease.is_over:
            pause_s = self._pace_s * random.uniform(0.8, 1.2)
            try:
                self._send_until_ended()
                outage.over()
            except ApiError as error:
                pause_s = self._pause_after(error, outage)
            except sqlite3.Error as error:
                log.warning("The spool cannot be used: %s. Is the worker's disk full?", error)
            except Exception:
                log.exception("The uploader stumbled; it goes on.")

    def _pause_after(self, error: ApiError, outage: Outage) -> float:
        if isinstance(error, LeaseLost):
            try:
                return self._pace_s if self._lease.survives() else 0.0
            except Retryable as away:
                error = away
        if isinstance(error, Unauthorized):
            self._lease.refuse(error)
        return outage.failed(error, kept=self._spool.pending_count())

    def _send_metrics(self) -> None:
        points, mark = self._spool.next_metrics(MAX_POINTS)
        while points:
            try:
                self._taken(self._api.metrics(**self._ids, metrics=points))
                break
            except Rejected as error:
                if len(points) == 1:
                    log.warning("The server refused the figures of step %s: %s", points[0]["step"], error)
                    break
                points, mark = self._spool.next_metrics(len(points) // 2)
        self._spool.accept_metrics(mark)

    def _send_progress(self) -> None:
        progress = self._spool.progress()
        if progress is None or progress == self._sent_progress:
            return
        body = {"epoch": 0, "step": 0, "total_steps": 0, "phase": "preparing", **progress}
        known = {key: value for key, value in body.items() if value is not None}
        try:
            self._lease.note(self._api.progress(**self._ids, progress=known))
        except Rejected as error:
            log.warning("The server refused the progress: %s", error)
        self._sent_progress = progress

    def _post_logs(self, lines: list[dict[str, Any]]) -> dict[str, Any]:
        lines = self._spool.start_sending(lines)
        if not lines:
            return {}
        answer = self._taken(self._api.logs(**self._ids, lines=lines))
        first, asked = lines[0]["seq"], int(answer.get("next_seq", 0))
        held = self._spool.first_log_from(asked)
        if asked >= first or held == asked:
            return answer
        # The server misses a line that is not here. What it has after that one it does not say.
        return {"next_seq": held} if self._is_rewound and held < first else {}

    def _post_events(self, events: list[dict[str, Any]]) -> dict[str, Any]:
        try:
            return self._taken(self._api.events(**self._ids, events=events))
        except Rejected as error:
            if error.status not in (404, 405):
                raise
            return {}  # a server from before there were events

    def _taken(self, answer: dict[str, Any]) -> dict[str, Any]:
        self._lease.note(Directives.from_wire(answer))
        return answer
