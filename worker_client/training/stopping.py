"""Why the child must stop: the parent asks by a file, the parent is gone, or a SIGTERM came to this very process."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import psutil  # type: ignore[import-untyped]

from worker_client.child import is_alive, running
from worker_client.errors import Stopped
from worker_client.workspace import Workspace

SHUTDOWN = "shutdown"
CRASHED = "crashed"
LOOK_EVERY_S = 1.0


class Stopping:
    """Asked between steps and between phases."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._parent = os.getppid()
        self._terminated = False
        self._worker: psutil.Process | None = None
        self._is_orphan = False
        self._look_at = 0.0

    def watch(self, pid: int, started: float) -> None:
        """Stop when the worker is over, too: the parent may be torchrun, and on Windows a parent's id outlives it."""
        self._worker = running(pid, started)
        self._is_orphan = self._worker is None

    def reason(self) -> str | None:
        """What was asked for, in the words of a release, or None.

        An orphan stops too: the next attempt will want its checkpoints and its GPU. A service manager may signal
        every process of the worker: a first SIGTERM is obeyed as the parent's own wish to end.
        """
        if asked := self.workspace.stop_reason():
            return asked
        if self._terminated:
            return SHUTDOWN
        return CRASHED if os.getppid() != self._parent or self._is_left_alone() else None

    def _is_left_alone(self) -> bool:
        """To look takes longer than a short step: once a second is enough, and what was seen once is seen always."""
        now = time.monotonic()
        if self._worker is not None and now >= self._look_at:
            self._look_at = now + LOOK_EVERY_S
            self._is_orphan = self._is_orphan or not is_alive(self._worker)
        return self._is_orphan

    def check(self) -> None:
        """Raises Stopped when the work must stop."""
        if reason := self.reason():
            raise Stopped(reason)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take over SIGTERM. Ctrl-C is left to the parent, which decides what it means; it reaches the whole group."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, self._on_sigterm)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before[0])
            signal.signal(signal.SIGTERM, before[1])

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        if self._terminated:  # whoever asks twice does not want to wait for a checkpoint
            sys.stderr.flush()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._terminated = True
