"""What the operator asks for: by signals, or by a file where no signal can be sent."""

import logging
import queue
import signal
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType

log = logging.getLogger("worker_client.signals")

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGBREAK") if hasattr(signal, name)]
LOOK_EVERY_S = 1.0
FILE = "The file stop"


class StopRequests:
    """`drain`: finish this job and take no other. `abort`: save, give the job back, end. `now`: do not even save.

    SIGTERM, on Windows Ctrl-Break or the closed window, and the file `stop` abort; Ctrl-C drains first. One more of
    them after an abort means now.
    """

    def __init__(self) -> None:
        self.drain = threading.Event()
        self.abort = threading.Event()
        self.now = threading.Event()
        self._received: queue.SimpleQueue[int] = queue.SimpleQueue()

    def install(self, stop_file: Path) -> None:
        """Take over the signals and look for the file, one left by an earlier stop excepted. For the main thread."""
        with suppress(OSError):
            stop_file.unlink(missing_ok=True)
        threading.Thread(target=self._watch, args=(stop_file,), name="signals", daemon=True).start()
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def obey(self, name: str) -> None:
        """Do what one more request means; `name` is for the log."""
        if self.abort.is_set():
            log.warning("%s again: ending the training process at once and giving the job back.", name)
            self.now.set()
        elif name == "SIGINT" and not self.drain.is_set():
            log.warning("SIGINT: finishing the job under way, taking no other. A second one gives it back.")
            self.drain.set()
        else:
            log.warning("%s: saving a checkpoint, giving the job back and ending. A second one does not save.", name)
            self.drain.set()
            self.abort.set()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # A handler may interrupt any line, one that holds an Event's or a logger's lock included: setting the
        # flags here could wait for itself for ever. The queue is made for this.
        self._received.put(number)

    def _watch(self, stop_file: Path) -> None:
        while not self.now.is_set():
            try:
                self.obey(signal.Signals(self._received.get(timeout=LOOK_EVERY_S)).name)
            except queue.Empty:
                if not self.abort.is_set() and stop_file.exists():
                    self.obey(FILE)
