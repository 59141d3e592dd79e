"""Installations for the end-to-end tests, on the database that `--database=` names."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.databases import URL_VARIABLE
from tests.end_to_end.site import Site

_numbers = itertools.count(1)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database that only this test knows."""
    if request.config.getoption("--database") == "sqlite":
        yield f"sqlite:///{tmp_path / 'db.sqlite3'}"
        return
    parts = urlsplit(os.environ[URL_VARIABLE])
    name = f"site_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(os.environ[URL_VARIABLE], autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        yield urlunsplit(parts._replace(path=f"/{name}"))
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def site(tmp_path: Path, database_url: str) -> Iterator[Site]:
    """A prepared installation whose server runs; no process of it survives the test."""
    site = Site(tmp_path, database_url)
    site.prepare()
    try:
        site.start_server()
        yield site
    finally:
        site.stop()
