"""What happened, in order: every call as the proxy saw it, and every step as the trainer did it.

One record is a dictionary. Of a call: `kind: "call"`, `worker`, `call`, `job`, `attempt`, `at` (when it came in),
`answered_at` and `status` (None: nobody knows whether the server did it), `delivered` (whether the worker got the
answer), and what the checker needs of body and answer. Of a trainer: `kind: "trainer"`, `event` (start, step, sealed,
phase, end), `worker`, `job`, `attempt`, `pid`. Times are seconds of one machine's clock.
"""

import json
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

Record = dict[str, Any]
LARGEST_DATAGRAM = 65_536


class History:
    """Appended to by the proxy's thread and by the trainers' datagrams; read by campaigns and the checker."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._news = threading.Condition()
        self._folder = tempfile.mkdtemp(prefix="bert-faults-")  # short: a socket's path has 108 bytes
        self.address = f"{self._folder}/trainers"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        threading.Thread(target=self._listen, name="history", daemon=True).start()

    def _listen(self) -> None:
        with suppress(OSError):  # closed
            while True:
                self.add(json.loads(self._socket.recv(LARGEST_DATAGRAM)))

    def add(self, record: Record) -> None:
        """Keep one record and wake whoever waits for it."""
        with self._news:
            self.records.append(record)
            self._news.notify_all()

    def mark(self) -> int:
        """A place in the history: what comes later is news to `wait_for(after=mark)`."""
        with self._news:
            return len(self.records)

    def wait_for(self, matches: Callable[[Record], bool], *, after: int, seconds: float) -> Record | None:
        """The first matching record since `after`, or None when there is none in time."""
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                for record in self.records[after:]:
                    if matches(record):
                        return record
                after = len(self.records)
                if not self._news.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                    return None

    def write(self, path: Path) -> None:
        """All records as JSON lines."""
        with self._news:
            path.write_text("".join(json.dumps(record) + "\n" for record in self.records), encoding="utf-8")

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()
        shutil.rmtree(self._folder)
