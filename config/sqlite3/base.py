"""Django's SQLite backend, whose writers of one process wait for each other in line.

SQLite itself lets a writer ask again after pauses of up to 0.1 s. With 16 workers that claim at once the unlucky ones
were passed over for two seconds; in line they wait for those before them alone. A statement outside of a transaction
is a writer, too: it would be passed over all the more often. Other processes are met by SQLite's own lock as before.
"""

from collections.abc import Callable
from threading import Semaphore
from typing import Any

from django.db.backends.sqlite3 import base
from django.db.utils import OperationalError

SQLITE_TIMEOUT_S = 5.0  # of Python's sqlite3, where the settings name none
WRITES = {"BEGIN", "INSERT", "UPDATE", "DELETE", "REPLACE"}  # first words of what locks the database

_turns: dict[str, Semaphore] = {}  # of each file; they wake those who wait in the order in which they came


class DatabaseWrapper(base.DatabaseWrapper):
    """The connection of one thread. It has its turn for a transaction, or for a statement outside of one."""

    _turn: Semaphore | None = None  # held

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
        if self._turn or sql.split(maxsplit=1)[0].upper() not in WRITES:
            return execute(sql, *rest)
        self._take_turn()
        try:
            return execute(sql, *rest)
        finally:
            if not self.connection.in_transaction:
                self._pass_turn()

    def _take_turn(self) -> None:
        turn = _turns.setdefault(str(self.settings_dict["NAME"]), Semaphore())
        if not turn.acquire(timeout=self.settings_dict["OPTIONS"].get("timeout", SQLITE_TIMEOUT_S)):
            raise OperationalError("database is locked")
        self._turn = turn

    def _pass_turn(self) -> None:
        if self._turn:
            turn, self._turn = self._turn, None
            turn.release()
