"""The demo's child processes: started apart from the terminal's Ctrl-C, and ended with all that they started."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from demo.environment import HOST, DemoFailed, Place
from worker_client.child import kill_tree, tail_of

TAIL_LINES = 15
OVER_WITHIN_S = 30 * 60
STOP_WITHIN_S = 10
INSIST_AFTER_S = 2


class Child:
    """One process with a name; its output goes to a file."""

    def __init__(self, name: str, command: list[str], *, log_path: Path, environment: dict[str, str]) -> None:
        self.name = name
        self.log_path = log_path
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C reaches the demo alone, which ends its children in order
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def tail(self) -> str:
        """The last lines that it printed."""
        return "\n".join(tail_of(self.log_path).splitlines()[-TAIL_LINES:])

    def signal(self, number: int) -> None:
        """Send a signal; harmless once it has ended."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def stop(self, seconds: float, *, insist: bool = False) -> int:
        """Ask politely by SIGTERM, wait, then end it with everything it started. Returns the exit code.

        `insist` sends a second SIGTERM soon after the first: to a worker, the one that does not wait for a checkpoint.
        """
        self.signal(signal.SIGTERM)
        if insist and self.wait(INSIST_AFTER_S) is None:
            self.signal(signal.SIGTERM)
        if self.wait(seconds) is None:
            self.kill()
        return self._process.wait()

    def wait(self, seconds: float) -> int | None:
        """Its exit code, or None when it still runs after `seconds`."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        kill_tree(self.pid)
        self._process.wait()


class Watchdog:
    """A process that outlives the demo by a moment and ends what the demo could not: `kill -9` included."""

    def __init__(self, work_dir: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "demo.watchdog", str(work_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def guard(self, child: Child) -> None:
        """End this child, too, when the demo is gone."""
        if self._process.stdin:
            self._process.stdin.write(f"{child.pid}\n".encode())
            self._process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()


class Children:
    """Server and worker; leaving stops both, the worker first."""

    def __init__(self, place: Place, watchdog: Watchdog) -> None:
        self._place = place
        self._watchdog = watchdog
        self._running: list[Child] = []
        self._deadline = time.monotonic() + OVER_WITHIN_S

    def start_server(self, port: int) -> None:
        """uvicorn, as in production."""
        command = ["-m", "uvicorn", "config.asgi:application", "--host", HOST, "--port", str(port)]
        self._start("server", [*command, "--timeout-graceful-shutdown", "3"], {})

    def start_worker(self, address: str, token: str) -> None:
        """The worker, with its token in the environment: arguments are seen by everybody on the machine."""
        command = ["-m", "worker_client", "--api-url", address, "--models-dir", str(self._place.models_dir)]
        self._start("worker", [*command, "--poll-seconds", "2"], {"BERT_WORKER_TOKEN": token})

    def _start(self, name: str, arguments: list[str], environment: dict[str, str]) -> None:
        log_path = self._place.log_of(name)
        child = Child(name, [sys.executable, *arguments], log_path=log_path, environment=environment)
        self._running.append(child)
        self._watchdog.guard(child)

    def check(self) -> None:
        """Raises DemoFailed when a process has ended by itself, or the run takes far longer than it may."""
        for child in self._running:
            if child.exit_code is not None:
                raise DemoFailed(f"the {child.name} ended with exit code {child.exit_code}.\n{self.tails()}")
        if time.monotonic() > self._deadline:
            raise DemoFailed(f"the run is not over after {OVER_WITHIN_S // 60} minutes.\n{self.tails()}")

    def run_is_over(self) -> None:
        """From now on there is no deadline."""
        self._deadline = float("inf")

    def tails(self) -> str:
        """The last lines of each process."""
        return "\n".join(f"--- {child.log_path}\n{child.tail()}" for child in self._running)

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *error: object) -> None:
        # A second Ctrl-C must not leave anything half-stopped; what hangs is killed after its time.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for child in reversed(self._running):
            child.stop(STOP_WITHIN_S, insist=child.name == "worker")
