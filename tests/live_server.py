"""The server as people run it: uvicorn in a process of its own, on the database of the test."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psutil
import requests
from django.conf import settings
from django.db import connection

ROOT = Path(__file__).resolve().parents[1]
START_S = 60


@contextmanager
def running_server(folder: Path, application: str = "config.asgi:application", **environment: str) -> Iterator[str]:
    """The address of a server that works on the tests' own database and files.

    It may serve many tests of `django_db(transaction=True)`; a fixture around it must ask for `django_db_setup`.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", application, "--port", str(port), "--lifespan", "off"]
    shared = {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SECRET_KEY": "only-for-tests",
        "SECURE_SSL_REDIRECT": "0",
        "DATABASE_URL": _test_database_url(),
        "MEDIA_ROOT": str(settings.MEDIA_ROOT),
    }
    with (folder / "server.log").open("w+") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **shared, **environment}, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait(process, f"http://127.0.0.1:{port}", folder / "server.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def server_process(url: str) -> psutil.Process:
    """That of the server at this address."""
    port = url.rpartition(":")[2]
    return next(child for child in psutil.Process().children() if port in child.cmdline())


def _test_database_url() -> str:
    values = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{values['NAME']}"
    host = values["OPTIONS"].get("host", "") or values["HOST"]
    return f"postgresql://{values['USER']}:@/{values['NAME']}?host={quote(host)}"


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(f"{url}/healthz", timeout=2).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    raise AssertionError(f"the server did not start:\n{log.read_text()[-3000:]}")
