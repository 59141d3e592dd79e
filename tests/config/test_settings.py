"""What the server refuses to start with, and what it warns of."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings

from config.checks import POSITIVE, check_limits

ROOT = Path(__file__).resolve().parents[2]


def on_disk(folder: Path) -> dict[str, str]:
    """A database that is nobody else's."""
    return {"DATABASE_URL": f"sqlite:///{folder / 'db'}"}


def manage(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """manage.py in a process of its own."""
    return python("manage.py", *arguments, **environment)


def python(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """This Python in a process of its own, with this environment and no other of the server's variables."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT", "LANG") if name in os.environ}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**inherited, **environment}, capture_output=True, text=True, timeout=120
    )


def test_without_debug_and_secret_key_the_server_says_why_it_does_not_start(tmp_path: Path) -> None:
    done = manage("check", DEBUG="0", DATABASE_URL=f"sqlite:///{tmp_path / 'db'}", SECRET_KEY="")
    assert done.returncode != 0
    assert "SECRET_KEY is not set" in done.stderr
    assert "Traceback" not in done.stderr


def test_uvicorn_says_in_one_line_why_it_does_not_start(tmp_path: Path) -> None:
    done = python("-m", "uvicorn", "config.asgi:application", "--port", "0", SECRET_KEY="", **on_disk(tmp_path))
    assert done.returncode != 0
    assert done.stderr.strip().startswith("The server does not start: SECRET_KEY is not set")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("value", ["10min", "", "nan", "inf", "1,5"])
def test_a_number_that_is_none_is_named_and_not_guessed(tmp_path: Path, value: str) -> None:
    done = manage("check", SECRET_KEY="x", JOB_LEASE_SECONDS=value, **on_disk(tmp_path))
    assert done.returncode != 0
    assert f"JOB_LEASE_SECONDS must be a number, not {value!r}" in done.stderr


def test_a_count_is_a_whole_number(tmp_path: Path) -> None:
    done = manage("check", SECRET_KEY="x", JOB_MAX_ATTEMPTS="2.5", **on_disk(tmp_path))
    assert "JOB_MAX_ATTEMPTS must be a whole number, not 2.5" in done.stderr


@pytest.mark.parametrize(("value", "seconds"), [("0.25", 0.25), ("1e3", 1000), ("86400", 86400)])
def test_any_positive_lease_is_read_as_it_is_written(tmp_path: Path, value: str, seconds: float) -> None:
    shown = "from config import settings; print(settings.JOB_LEASE_SECONDS)"
    done = python("-c", shown, SECRET_KEY="x", JOB_LEASE_SECONDS=value, **on_disk(tmp_path))
    assert float(done.stdout) == seconds


@pytest.mark.parametrize("value", ["", "nonsense", "mysql://u:hidden@h/d", "postgresql://u:hidden@h:port/d"])
def test_an_address_of_no_database_is_said_in_one_line_without_its_password(value: str) -> None:
    done = manage("check", SECRET_KEY="x", DATABASE_URL=value)
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert "DATABASE_URL must be sqlite:///path or postgresql://" in done.stderr
    assert "hidden" not in done.stderr


def test_with_a_secret_key_it_starts_and_is_safe_by_default(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'db'}"
    secret = "k" * 40 + "0123456789abcdef"
    done = manage("check", "--deploy", "--fail-level", "WARNING", SECRET_KEY=secret, DATABASE_URL=database)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", POSITIVE)
@pytest.mark.parametrize("value", [0, -1])
def test_an_interval_that_is_not_positive_is_an_error(settings: LazySettings, name: str, value: int) -> None:
    setattr(settings, name, value)
    assert f"bert.E001:{name}" in {f"{message.id}:{message.msg.split()[0]}" for message in check_limits()}


def test_a_lease_under_three_heartbeats_is_a_warning_only(settings: Any) -> None:
    settings.JOB_LEASE_SECONDS, settings.JOB_HEARTBEAT_SECONDS = 3, 1.5
    assert [message.id for message in check_limits()] == ["bert.W001"]


def test_the_defaults_give_no_message() -> None:
    assert check_limits() == []


def test_a_webhook_over_plain_http_is_refused(tmp_path: Path) -> None:
    done = manage(
        "check", SECRET_KEY="x", WEBHOOK_URL="http://chat.example/", WEBHOOK_SECRET="s" * 32, **on_disk(tmp_path)
    )
    assert done.returncode != 0
    assert "WEBHOOK_URL must begin with https://" in done.stderr


def test_a_webhook_without_a_long_secret_is_refused(tmp_path: Path) -> None:
    done = manage("check", SECRET_KEY="x", WEBHOOK_URL="https://chat.example/", WEBHOOK_SECRET="s", **on_disk(tmp_path))
    assert done.returncode != 0
    assert "WEBHOOK_SECRET of at least 32 characters" in done.stderr
