"""Django's SQLite backend, whose writers of one process wait for each other in line.

SQLite itself lets a writer ask again after pauses of up to 0.1 s. With 16 workers that claim at once the unlucky ones
were passed over for two seconds; in line they wait for those before them alone. A statement outside of a transaction
is a writer, too: it would be passed over all the more often. Other processes are met by SQLite's own lock as before.
"""

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any

from django.db.backends.sqlite3 import base
from django.db.utils import OperationalError

SQLITE_TIMEOUT_S = 5.0  # of Python's sqlite3, where the settings name none
WRITES = ("BEGIN", "INSERT", "UPDATE", "DELETE", "REPLACE")  # first words of what locks the database
LONGEST = 7  # of them


class Line:
    """A lock that goes from hand to hand, in the order in which they asked for it.

    Python's own go to whoever asks next: to a thread that writes one statement after the other, each time before those
    that it woke are there to take it.
    """

    def __init__(self) -> None:
        self._lock = Lock()  # of what follows
        self._is_taken = False
        self._waiting: deque[Lock] = deque()  # each held until the turn comes

    def acquire(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds; whether it is had."""
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return True
            mine = Lock()
            mine.acquire()
            self._waiting.append(mine)
        return mine.acquire(timeout=timeout) or not self._left(mine)

    def release(self) -> None:
        """Hand it to the next one."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_taken = False

    def _left(self, mine: Lock) -> bool:
        """Leave the line; false where the turn came after all."""
        with self._lock:
            is_waiting = mine in self._waiting
            if is_waiting:
                self._waiting.remove(mine)
            return is_waiting


_lines: dict[str, Line] = {}  # of each file


class DatabaseWrapper(base.DatabaseWrapper):
    """The connection of one thread. It has its turn for a transaction, or for a statement outside of one."""

    _turn: Line | None = None  # held

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.execute_wrappers.append(self._in_line)

    def commit(self) -> None:
        """As Django's; the next in line may begin. Of one that fails Django rolls back, or closes, which make room."""
        super().commit()
        self._pass_turn()

    def rollback(self) -> None:
        """As Django's; the next in line may begin."""
        super().rollback()
        self._pass_turn()

    def close(self) -> None:
        """As Django's; what was not committed is lost, and the next in line may begin."""
        try:
            super().close()
        finally:
            self._pass_turn()

    def _in_line(self, execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if self._turn or not sql.lstrip()[:LONGEST].upper().startswith(WRITES):
            return execute(sql, *rest)
        self._take_turn()
        try:
            return execute(sql, *rest)
        finally:
            if not self.connection.in_transaction:
                self._pass_turn()

    def _take_turn(self) -> None:
        turn = _lines.setdefault(str(self.settings_dict["NAME"]), Line())
        if not turn.acquire(timeout=self.settings_dict["OPTIONS"].get("timeout", SQLITE_TIMEOUT_S)):
            raise OperationalError("database is locked")
        self._turn = turn

    def _pass_turn(self) -> None:
        if self._turn:
            turn, self._turn = self._turn, None
            turn.release()
