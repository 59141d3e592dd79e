"""A fake server, a worker in this process, and a worker as a process of its own."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.worker_client.fake_server import FakeServer
from worker_client.api import ApiClient
from worker_client.poller import ExitCode, Poller
from worker_client.settings import WorkerSettings, normal_api_url
from worker_client.signals import StopRequests

STUB = (sys.executable, str(Path(__file__).with_name("stub_child.py")))
ROOT = Path(__file__).parents[2]
TOO_LATE_S = 40.0


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A server with an empty queue."""
    running = FakeServer()
    yield running
    running.stop()


@pytest.fixture
def settings(server: FakeServer, tmp_path: Path) -> WorkerSettings:
    """A worker that ends when the queue is empty."""
    models_dir, work_dir = tmp_path / "models", tmp_path / "work"
    models_dir.mkdir()
    work_dir.mkdir()
    return WorkerSettings(
        api_url=normal_api_url(server.url, allow_http=False),
        token=server.token,
        models_dir=models_dir,
        work_dir=work_dir,
        drain_when_idle=True,
        offline=True,
    )


@pytest.fixture
def work(settings: WorkerSettings) -> Callable[..., ExitCode]:
    """Run the worker in this process until it ends; one that does not is told to, and its test fails."""

    def run(*, stop: StopRequests | None = None, stop_grace_s: float = 5.0, **changes: Any) -> ExitCode:
        logging.getLogger("worker_client").setLevel("INFO")
        chosen = replace(settings, **changes)
        api = ApiClient(chosen.api_url, chosen.token)
        stop = stop or StopRequests()
        too_late = threading.Timer(TOO_LATE_S, stop.drain.set)
        too_late.start()
        try:
            return Poller(chosen, api, stop=stop, command=STUB, stop_grace_s=stop_grace_s).run()
        finally:
            assert too_late.is_alive(), "the worker did not end by itself"
            too_late.cancel()

    return run


@pytest.fixture
def start_worker(settings: WorkerSettings, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the real program; its output lies in tmp_path/worker.log."""
    started: list[subprocess.Popen[str]] = []

    def start(
        *flags: str, token: str | None = None, poll_seconds: float | None = 0.2, trains: bool = False, **env: str
    ) -> subprocess.Popen[str]:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "BERT_WORKER_TOKEN": token or settings.token, **env}
        program = ["-m", "worker_client"] if trains else [str(Path(__file__).with_name("worker_process.py"))]
        command = [sys.executable, *program, "run"]
        command += ["--api-url", settings.api_url, "--models-dir", str(settings.models_dir)]
        command += ["--work-dir", str(settings.work_dir)]
        command += [*(["--poll-seconds", str(poll_seconds)] if poll_seconds else []), *flags]
        with (tmp_path / "worker.log").open("a") as log:
            process = subprocess.Popen(command, env=env, stdout=log, stderr=log, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
