"""How many sheets one server process reads at once. More would take the processors from the workers' requests."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

AT_ONCE = 2
WAITING = 8
WAIT_S = 30.0
RETRY_AFTER_S = 10

_admitted = threading.BoundedSemaphore(AT_ONCE + WAITING)
_running = threading.BoundedSemaphore(AT_ONCE)


class ReadersBusy(Exception):
    """Other sheets are being read, and enough wait already; asking again later helps."""


@contextmanager
def reading_slot() -> Iterator[None]:
    """One of two slots, waited for where fewer than eight wait already. Not to be nested. Raises ReadersBusy."""
    if not _admitted.acquire(blocking=False):
        raise ReadersBusy
    try:
        if not _running.acquire(timeout=WAIT_S):
            raise ReadersBusy
        try:
            yield
        finally:
            _running.release()
    finally:
        _admitted.release()
