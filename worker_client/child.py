"""A child process: started without the token, in a group of its own, and ended with everything it started."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from worker_client.settings import child_environment

TRAINING_COMMAND = (sys.executable, "-m", "worker_client.training")
TAIL_BYTES = 8_000
KILL_WAIT_S = 10.0


def as_processes(command: Sequence[str], count: int) -> list[str]:
    """The same command as `count` processes that train one run together, one per GPU (torchrun)."""
    if count == 1:
        return list(command)
    python, *arguments = command
    # Without an address they look for each other by the machine's name, for minutes where it does not resolve.
    on_one_machine = ["--standalone", "--local-addr=127.0.0.1"]
    return [python, "-m", "torch.distributed.run", *on_one_machine, f"--nproc-per-node={count}", *arguments]


class ChildProcess:
    """One running child. Its output goes to a file; nothing is read from it through a pipe that could fill."""

    def __init__(self, command: list[str], *, log_path: Path, **environment: str) -> None:
        with log_path.open("ab") as log:
            self._log_began = log.tell()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=child_environment(**environment),
                **_own_group(),
            )
        self.log_path = log_path

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def wait(self, seconds: float) -> int | None:
        """The exit code, negative for a signal, or None when it still runs after `seconds`."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """End it and all that it started; harmless when it has ended by itself."""
        if self._process.poll() is None:
            kill_tree(self.pid)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(KILL_WAIT_S)
        elif sys.platform != "win32":
            with suppress(OSError):  # nobody is left in its group
                os.killpg(self.pid, signal.SIGKILL)

    def tail(self) -> str:
        """The end of what it printed."""
        return tail_of(self.log_path, self._log_began)


def was_killed(exit_code: int) -> bool:
    """Whether a signal, or on Windows a crash, ended the process rather than its own decision."""
    return exit_code < 0 or exit_code >= 0x8000_0000


def tail_of(path: Path, begin: int = 0) -> str:
    """The last few thousand bytes of a log file, none before `begin`, as text; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(begin, path.stat().st_size - TAIL_BYTES))
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""


def kill_tree(pid: int) -> None:
    """Kill a process and its descendants, also those that moved to a session of their own (torchrun's do)."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        family = [*process.children(recursive=True), process]
        for member in family:
            with suppress(psutil.Error):
                member.kill()
        psutil.wait_procs(family, timeout=KILL_WAIT_S)


def remember(child: ChildProcess, path: Path) -> None:
    """Note who the child is, so that a worker that starts again after a crash finds it."""
    with suppress(psutil.Error):
        started = psutil.Process(child.pid).create_time()
        path.write_text(json.dumps({"pid": child.pid, "started": started}), encoding="utf-8")


def orphan(path: Path) -> psutil.Process | None:
    """The child that `remember` noted, when it still runs; its start time tells it from a later namesake."""
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        return running(noted["pid"], noted["started"])
    except (OSError, ValueError, KeyError):
        return None


def running(pid: int, started: float) -> psutil.Process | None:
    """The process of that id that began then (seconds since 1970), unless it is over; a zombie is."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if abs(process.create_time() - started) < 1.0 and is_alive(process):
            return process
    return None


def is_alive(process: psutil.Process) -> bool:
    """Whether it is still the same process, whatever was done to the clock since, and no zombie."""
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _own_group() -> dict[str, Any]:
    """Ctrl-C in the worker's console must not reach the child: the worker decides how it ends."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}
