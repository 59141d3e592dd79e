"""How long to wait before the same request again."""

import logging
import random
import time

from worker_client.errors import ApiError, Retryable

# Not below the loggers that the run page shows: what a lost connection says is for the worker's console.
log = logging.getLogger("worker_client.connection")

START_S = 1.0
CAP_S = 60.0
LONGEST_RETRY_AFTER_S = 600.0


class Backoff:
    """Doubling waits with jitter, so that many workers do not return to a restarted server in one moment."""

    def __init__(self, *, start_s: float = START_S, cap_s: float = CAP_S) -> None:
        self._start_s = start_s
        self._cap_s = cap_s
        self.failures = 0

    def next_s(self, retry_after_s: float | None = None) -> float:
        """Seconds to wait after one more failure: what the server asked for, if it did, and full jitter upon it."""
        longest = min(self._cap_s, self._start_s * 2 ** min(self.failures, 16))
        self.failures += 1
        asked = min(retry_after_s or 0.0, LONGEST_RETRY_AFTER_S)
        return asked + random.uniform(0, longest)

    def reset(self) -> None:
        """The server answered."""
        self.failures = 0


class Outage:
    """One stretch without the server: how long to wait, and what a person reads about it meanwhile."""

    def __init__(self, *, cap_s: float = CAP_S) -> None:
        self._backoff = Backoff(cap_s=cap_s)
        self._began_at = 0.0

    def failed(self, error: ApiError, *, kept: int | None = None) -> float:
        """Seconds to wait after this failure. Says so at the 1st, 2nd, 4th, 8th … failure, not at each."""
        self._began_at = self._began_at or time.monotonic()
        wait_s = self._backoff.next_s(getattr(error, "retry_after_s", None))
        failures = self._backoff.failures
        if failures & (failures - 1) == 0:
            state = "away" if isinstance(error, Retryable) else "refusing"
            records = "" if kept is None else f", {kept} records kept"
            log.warning("Server %s (%s); nothing is lost%s. Next try in %.0f s.", state, error, records, wait_s)
        return wait_s

    def over(self) -> None:
        """The server answered."""
        if self._began_at:
            log.info("The server answers again after %.0f s.", time.monotonic() - self._began_at)
            self._began_at = 0.0
            self._backoff.reset()
