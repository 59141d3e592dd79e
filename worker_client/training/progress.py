"""How far the attempt is: the phase at once, the steps within it every two seconds."""

import time
from typing import Any

from worker_client.spool import Spool

INTERVAL_S = 2.0


class Progress:
    """Writes the latest progress into the spool."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._facts: dict[str, Any] = {"phase": "loading", "epoch": 0.0, "step": 0, "total_steps": 0}
        self._due = 0.0

    def phase(self, name: str) -> None:
        """Enter a phase: loading, tokenizing, training, evaluating, saving."""
        if name != self._facts["phase"] or not self._due:
            self.update(phase=name, now=True)

    def update(self, *, now: bool = False, **facts: Any) -> None:
        """Take facts up: epoch, step, total_steps, eta_seconds. They are written when due, or `now`."""
        self._facts.update(facts)
        if now or time.monotonic() >= self._due:
            self._due = time.monotonic() + INTERVAL_S
            self._spool.put_progress(**self._facts)
