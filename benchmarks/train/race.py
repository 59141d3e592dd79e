"""The driver of processes that are all alive and work in turns: ratios compare what ran in the same minute."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worker_client.settings import OF_CHILDREN, child_environment

TAIL = 3_000

QUIET = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
# One GPU for both: with several in sight the Trainer would spread its batches over them.
QUIET["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]


class Racer:
    """One process that works when it is told to."""

    def __init__(self, name: str, command: list[str], *, log: Path, threads: int = 0) -> None:
        self.name = name
        self._command = [sys.executable, "-m", *command]
        self._log = log
        self._environment = child_environment(**QUIET, **({"OMP_NUM_THREADS": str(threads)} if threads else {}))
        if name.startswith("reference"):  # the scripts set nothing
            self._environment = {key: value for key, value in self._environment.items() if key not in OF_CHILDREN}
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Begin to load what it needs."""
        self._began = time.monotonic()
        with self._log.open("wb") as log:
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log, "text": True}
            self._process = subprocess.Popen(self._command, env=self._environment, **pipes)

    def ready(self) -> float:
        """Seconds from its start until it could work."""
        if self._process is None:
            self.start()
        self.read()
        return time.monotonic() - self._began

    def turn(self) -> dict[str, Any]:
        """Let it work once."""
        assert self._process and self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self.read()

    def read(self) -> dict[str, Any]:
        """Its next report. Raises SystemExit with the end of its log when it has none to give."""
        assert self._process and self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended:\n{self._log.read_text(errors='replace')[-TAIL:]}")
        told: dict[str, Any] = json.loads(line)
        return told

    def end(self) -> None:
        """Whatever it is doing."""
        if self._process:
            self._process.kill()
            self._process.communicate()


@contextmanager
def started(*racers: Racer, at_once: bool = False) -> Iterator[dict[str, float]]:
    """All of them ready to work, and ended afterwards; the seconds that each took to start, by name.

    at_once: sooner ready, but then they take the processor from each other and the seconds say nothing.
    """
    try:
        if at_once:
            for racer in racers:
                racer.start()
        yield {racer.name: racer.ready() for racer in racers}
    finally:
        for racer in racers:
            racer.end()


def race(racers: list[Racer], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """One turn each to warm up, then `rounds` turns in a rotating order. Returns the reports by name."""
    found: dict[str, list[dict[str, Any]]] = {racer.name: [] for racer in racers}
    for number in range(rounds + 1):
        shift = number % len(racers)
        for racer in racers[shift:] + racers[:shift]:
            report = racer.turn()
            if number:
                found[racer.name].append(report)
        print(f"  round {number} of {rounds}", flush=True)
    return found
