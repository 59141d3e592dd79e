"""Writers of one process take turns on SQLite."""

import threading
import time
from pathlib import Path

import pytest
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler

pytestmark = pytest.mark.django_db
TIMEOUT_S = 0.3


@pytest.fixture
def connections(tmp_path: Path) -> ConnectionHandler:
    """A database file of its own, with a connection for each thread."""
    options = {"transaction_mode": "IMMEDIATE", "timeout": TIMEOUT_S}
    database = {"ENGINE": "config.sqlite3", "NAME": str(tmp_path / "db.sqlite3"), "OPTIONS": options}
    handler = ConnectionHandler({"default": database})
    handler["default"].cursor().execute("CREATE TABLE seen (number integer)")
    return handler


def begin(connection: BaseDatabaseWrapper) -> None:
    connection.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)


def insert(connection: BaseDatabaseWrapper) -> None:
    connection.cursor().execute("INSERT INTO seen VALUES (1)")


def end(connection: BaseDatabaseWrapper) -> None:
    connection.rollback()
    connection.set_autocommit(True)


def test_the_next_writer_begins_as_soon_as_the_one_before_is_done(connections: ConnectionHandler) -> None:
    took: list[float] = []

    def write() -> None:
        began = time.monotonic()
        begin(connections["default"])
        took.append(time.monotonic() - began)
        end(connections["default"])
        connections["default"].close()

    begin(connections["default"])
    waiting = threading.Thread(target=write)
    waiting.start()
    time.sleep(0.1)
    assert took == []
    end(connections["default"])
    waiting.join()
    assert took[0] < TIMEOUT_S


def test_a_statement_outside_of_a_transaction_stands_in_line_too_and_makes_room_at_once(
    connections: ConnectionHandler,
) -> None:
    told: list[str] = []

    def write() -> None:
        with pytest.raises(OperationalError) as refused:
            insert(connections["default"])
        told.append(repr(refused.value.__cause__))
        end_of_turn.wait()
        insert(connections["default"])
        time.sleep(2 * TIMEOUT_S)
        connections["default"].close()

    end_of_turn = threading.Event()
    begin(connections["default"])
    waiting = threading.Thread(target=write)
    waiting.start()
    time.sleep(2 * TIMEOUT_S)
    end(connections["default"])
    end_of_turn.set()
    time.sleep(TIMEOUT_S / 3)
    begin(connections["default"])  # the other thread has written, and its connection is still open
    end(connections["default"])
    waiting.join()
    assert told == ["None"]  # refused in line: SQLite's own refusal would be the cause


def test_who_waits_too_long_is_told_that_the_database_is_locked(connections: ConnectionHandler) -> None:
    told: list[str] = []

    def write() -> None:
        with pytest.raises(OperationalError) as refused:
            begin(connections["default"])
        told.append(str(refused.value))
        connections["default"].close()

    begin(connections["default"])
    waiting = threading.Thread(target=write)
    waiting.start()
    waiting.join()
    end(connections["default"])
    assert told == ["database is locked"]


@pytest.mark.parametrize("leave", [end, BaseDatabaseWrapper.close])
def test_a_writer_that_leaves_in_any_way_makes_room(connections: ConnectionHandler, leave: object) -> None:
    for _ in range(2):
        begin(connections["default"])
        leave(connections["default"])  # type: ignore[operator]
        connections["default"].close()


def test_one_that_writes_again_and_again_lets_those_before_who_asked_meanwhile(connections: ConnectionHandler) -> None:
    order: list[str] = []

    def write() -> None:
        begin(connections["default"])
        order.append("asked meanwhile")
        end(connections["default"])
        connections["default"].close()

    begin(connections["default"])
    waiting = threading.Thread(target=write)
    waiting.start()
    time.sleep(0.1)
    end(connections["default"])
    begin(connections["default"])
    order.append("again")
    end(connections["default"])
    waiting.join()
    assert order == ["asked meanwhile", "again"]


def test_one_that_waited_too_long_is_not_handed_the_turn_later(connections: ConnectionHandler) -> None:
    def write() -> None:
        with pytest.raises(OperationalError):
            begin(connections["default"])
        connections["default"].close()

    begin(connections["default"])
    waiting = threading.Thread(target=write)
    waiting.start()
    waiting.join()
    end(connections["default"])
    insert(connections["default"])


def test_a_statement_without_words_is_none_that_writes(connections: ConnectionHandler) -> None:
    connections["default"].cursor().execute(" ")
