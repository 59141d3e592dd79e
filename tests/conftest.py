"""Fixtures that every room shares. Objects come from `tests.factories`."""

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import time_machine
from django.conf import LazySettings
from rest_framework.test import APIClient

from tests.databases import CHOICES
from tests.factories import client_for, make_api_token, make_worker
from workers_app.models import Worker

# Two processes of pytest share two cores: with more threads each, torch's wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

NOON = dt.datetime(2026, 3, 2, 12, 0, tzinfo=dt.UTC)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which database; `tests.settings` reads the same option before Django is set up."""
    parser.addoption("--database", choices=CHOICES, default="sqlite", help="what the server's tests run on")


def pytest_report_header(config: pytest.Config) -> str:
    """Says on which database a run of the suite was made."""
    return f"database: {config.getoption('--database')}"


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """Time stands still at NOON until the test moves it: `clock.shift(60)`, `clock.move_to(...)`."""
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@pytest.fixture
def media(settings: LazySettings, tmp_path: Path) -> Path:
    """An empty folder for uploaded files, of this test alone."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.MEDIA_ROOT.mkdir()
    return settings.MEDIA_ROOT


@pytest.fixture
def anonymous() -> APIClient:
    """A client that shows no token."""
    return APIClient(raise_request_exception=False)


@pytest.fixture
def api(db: None) -> APIClient:
    """A client with the token of a person who may do everything."""
    return client_for(make_api_token())


@pytest.fixture
def worker_and_token(db: None) -> tuple[Worker, str]:
    """The worker `gpu-1`, and its token."""
    return make_worker("gpu-1")


@pytest.fixture
def worker(worker_and_token: tuple[Worker, str]) -> Worker:
    """The worker `gpu-1`."""
    return worker_and_token[0]


@pytest.fixture
def worker_api(worker_and_token: tuple[Worker, str]) -> APIClient:
    """A client with the token of `gpu-1`."""
    return client_for(worker_and_token[1])
