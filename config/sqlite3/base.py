"""Django's SQLite backend, whose writing transactions of one process wait for each other in line.

SQLite itself lets a writer ask again after pauses of up to 0.1 s. With 16 workers that claim at once the unlucky ones
were passed over for two seconds; in line they mostly wait for those before them alone. Statements outside of
transactions, and other processes, are met by SQLite's own lock as before.
"""

from threading import Semaphore
from typing import Any

from django.db.backends.sqlite3 import base
from django.db.utils import OperationalError

SQLITE_TIMEOUT_S = 5.0  # of Python's sqlite3, where the settings name none

_turns: dict[str, Semaphore] = {}  # of each file; they wake those who wait in the order in which they came


class DatabaseWrapper(base.DatabaseWrapper):
    """The connection of one thread."""

    _turn: Semaphore | None = None  # held

    def _start_transaction_under_autocommit(self) -> None:
        self._take_turn()
        try:
            super()._start_transaction_under_autocommit()
        except BaseException:
            self._pass_turn()
            raise

    def _commit(self) -> Any:
        try:
            return super()._commit()
        finally:
            self._pass_turn()

    def _rollback(self) -> Any:
        try:
            return super()._rollback()
        finally:
            self._pass_turn()

    def _close(self) -> Any:
        try:
            return super()._close()
        finally:
            self._pass_turn()

    def _take_turn(self) -> None:
        if self._turn:
            return
        turn = _turns.setdefault(str(self.settings_dict["NAME"]), Semaphore())
        if not turn.acquire(timeout=self.settings_dict["OPTIONS"].get("timeout", SQLITE_TIMEOUT_S)):
            raise OperationalError("database is locked")
        self._turn = turn

    def _pass_turn(self) -> None:
        if self._turn:
            turn, self._turn = self._turn, None
            turn.release()
