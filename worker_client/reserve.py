"""Room that an attempt keeps on the disk for what must not be lost when the disk is full."""

import errno
import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

RESERVE_BYTES = 4 * 2**20
RETAKE_EVERY_S = 10.0
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
# A write to SQLite's shared memory file that finds no room is an I/O error and not a full disk.
NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


class Reserve:
    """A file of a few MiB. Given up, it makes room for figures, events and the outcome.

    While it cannot be had, the disk counts as full and log lines, which are the many, are not written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tried_at = -RETAKE_EVERY_S

    def is_held(self) -> bool:
        """Whether there is room for log lines; takes the room again, at most every ten seconds, where it is gone."""
        if self._path.exists():
            return True
        if time.monotonic() - self._tried_at < RETAKE_EVERY_S:
            return False
        self._tried_at = time.monotonic()
        return self._take()

    def give_up(self) -> None:
        """Leave the room to what must be written now."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._tried_at = time.monotonic()

    def _take(self) -> bool:
        try:
            with self._path.open("wb") as file:
                _allocate(file.fileno())
            return True
        except OSError:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            return False


class KeptNumber:
    """A number beside the spool, for which a full disk has room: its bytes are there from the start."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with suppress(OSError):
            if not path.exists():
                path.write_text(_padded(0), encoding="ascii")

    def add(self, number: int) -> None:
        """Keep `number` for the next one who takes it."""
        total = self._read() + number
        with suppress(OSError), self._path.open("r+", encoding="ascii") as file:
            file.write(_padded(total))

    def take(self) -> int:
        """What was added since it was last taken."""
        number = self._read()
        self.add(-number)
        return number

    def _read(self) -> int:
        try:
            return int(self._path.read_text(encoding="ascii") or 0)
        except (OSError, ValueError):
            return 0


def _padded(number: int) -> str:
    """Always as long: written over the old one it takes no new block."""
    return f"{number:020}"


def is_full_disk(error: BaseException) -> bool:
    """Whether a file or the spool found no room on the disk."""
    if isinstance(error, sqlite3.Error):
        return _code_of(error) == sqlite3.SQLITE_FULL or "disk is full" in str(error)
    return isinstance(error, OSError) and error.errno in FULL_DISK


def may_be_full_disk(error: sqlite3.Error) -> bool:
    """Whether giving up the reserve may help."""
    return _code_of(error) in NO_ROOM or is_full_disk(error)


def _code_of(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _allocate(descriptor: int) -> None:
    """Real blocks: a file with a hole in it would reserve nothing."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
    else:
        os.write(descriptor, bytes(RESERVE_BYTES))
