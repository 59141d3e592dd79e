"""What the server refuses to start with, and what it warns of."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings

from config.checks import check_queue_intervals

ROOT = Path(__file__).resolve().parents[2]


def manage(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """manage.py in a process of its own, with this environment and no other of the server's variables."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT", "LANG") if name in os.environ}
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**inherited, **environment}, capture_output=True, text=True, timeout=120
    )


def test_without_debug_and_secret_key_the_server_says_why_it_does_not_start(tmp_path: Path) -> None:
    done = manage("check", DEBUG="0", DATABASE_URL=f"sqlite:///{tmp_path / 'db'}", SECRET_KEY="")
    assert done.returncode != 0
    assert "SECRET_KEY is not set" in done.stderr


def test_with_a_secret_key_it_starts_and_is_safe_by_default(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'db'}"
    secret = "k" * 40 + "0123456789abcdef"
    done = manage("check", "--deploy", "--fail-level", "WARNING", SECRET_KEY=secret, DATABASE_URL=database)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["JOB_LEASE_SECONDS", "JOB_HEARTBEAT_SECONDS", "JOB_MAX_ATTEMPTS"])
@pytest.mark.parametrize("value", [0, -1])
def test_an_interval_that_is_not_positive_is_an_error(settings: LazySettings, name: str, value: int) -> None:
    setattr(settings, name, value)
    assert f"bert.E001:{name}" in {f"{message.id}:{message.msg.split()[0]}" for message in check_queue_intervals()}


def test_a_lease_under_three_heartbeats_is_a_warning_only(settings: Any) -> None:
    settings.JOB_LEASE_SECONDS, settings.JOB_HEARTBEAT_SECONDS = 3, 1.5
    assert [message.id for message in check_queue_intervals()] == ["bert.W001"]


def test_the_defaults_give_no_message() -> None:
    assert check_queue_intervals() == []
