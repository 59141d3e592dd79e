"""`make demo` when things go wrong; that it goes well is seen by running it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.site import ROOT, free_port

pytestmark = pytest.mark.slow

STARTED_WITHIN_S = 120


def command(folder: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "demo", "--port", str(port), "--folder", str(folder), "--exit"]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A demo whose worker has taken its job."""
    folder = tmp_path / "demo"
    process = subprocess.Popen(
        command(folder, free_port()), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + STARTED_WITHIN_S
    log = folder / "worker.log"
    while not (log.exists() and "Training process" in log.read_text()):
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.2)
    try:
        yield process, folder
    finally:
        process.kill()
        process.wait()


def test_a_busy_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(command(tmp_path, port), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(rf"demo: port {port} cannot be used \(.*\)\. Choose another: make demo PORT=\d+\n", done.stderr)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_survives_the_demo(demo: tuple[subprocess.Popen[str], Path], number: signal.Signals) -> None:
    process, _folder = demo
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 4, "server, worker, training and watchdog"
    process.send_signal(number)
    assert process.wait(60) != 0
    _gone, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


def test_a_worker_that_dies_ends_the_demo_with_the_reason(demo: tuple[subprocess.Popen[str], Path]) -> None:
    process, _folder = demo
    family = psutil.Process(process.pid).children(recursive=True)
    [worker] = [each for each in family if "--models-dir" in each.cmdline()]
    os.kill(worker.pid, signal.SIGKILL)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "demo: the worker ended with exit code -9." in output
    _gone, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
