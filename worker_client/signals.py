"""What the operator asks by signals: the first drains, the second aborts."""

import logging
import queue
import signal
import threading
from types import FrameType

log = logging.getLogger("worker_client.signals")

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGBREAK") if hasattr(signal, name)]


class StopRequests:
    """`drain`: finish this job and take no other. `abort`: stop now and give the job back."""

    def __init__(self) -> None:
        self.drain = threading.Event()
        self.abort = threading.Event()
        self._received: queue.SimpleQueue[int] = queue.SimpleQueue()

    def install(self) -> None:
        """Take over SIGTERM and Ctrl-C (on Windows Ctrl-Break too). For the main thread."""
        threading.Thread(target=self._watch, name="signals", daemon=True).start()
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # A handler may interrupt any line, one that holds an Event's or a logger's lock included: setting the
        # flags here could wait for itself for ever. The queue is made for this.
        self._received.put(number)

    def _watch(self) -> None:
        while not self.abort.is_set():
            name = signal.Signals(self._received.get()).name
            if not self.drain.is_set():
                log.warning("%s: finishing the job under way, taking no other. A second one aborts it.", name)
                self.drain.set()
            else:
                log.warning("%s again: stopping now and giving the job back.", name)
                self.abort.set()
