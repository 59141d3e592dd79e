"""A child process with limits for whatever reads a stranger's file, so that no file can take the web process down.

The parent runs `python -m MODULE`, hands it one JSON line, and reads one back. The child loads neither Django nor
settings. On Windows only the wall limit holds; the reader's own caps are the same everywhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from worker_client.formats import Limits, SheetRefused

ROOT = Path(__file__).resolve().parent.parent

# The server answers the workers first; a quarter of a processor is left where another program takes all it gets, such
# as a training on the same machine, so that a million rows still end within the wall limit.
NICENESS = 5
# numpy's algebra would start a thread per core, each with 30 MiB of address space; nothing here multiplies matrices.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}

Job = Callable[[dict[str, Any], Limits], dict[str, Any]]


@dataclass(frozen=True)
class ChildLimits:
    """What one child may cost: bytes of address space, seconds of processor, seconds on the clock."""

    memory_bytes: int = 1 << 30
    cpu_s: int = 120  # a million rows take 30 on a free machine
    wall_s: int = 180


DEFAULT_CHILD_LIMITS = ChildLimits()


class CheckingFailed(Exception):
    """The child could not be run or broke for a reason of its own; str() holds the end of its error output."""


def ask(
    module: str,
    order: dict[str, Any],
    limits: Limits,
    *,
    child: ChildLimits = DEFAULT_CHILD_LIMITS,
    sees_packages: bool = False,
) -> dict[str, Any]:
    """What the child `module` answers to `order`.

    Raises SheetRefused, too_large also when the child hit one of its limits; CheckingFailed when the machine and not
    the file is at fault.
    """
    # -E and -S: none of the caller's Python settings, no site packages, for a quick start that is always the same.
    command = [sys.executable, "-E", *([] if sees_packages else ["-S"]), "-m", module]
    sent = json.dumps({**order, "limits": asdict(limits), "child": asdict(child)})
    try:
        done = subprocess.run(
            command,
            input=sent,
            capture_output=True,
            encoding="utf-8",
            timeout=child.wall_s,
            cwd=ROOT,
            env={**os.environ, **ONE_THREAD},
        )
    except subprocess.TimeoutExpired as error:
        raise _too_costly("seconds", child.wall_s) from error
    return _answer(done, child)


def _answer(done: subprocess.CompletedProcess[str], child: ChildLimits) -> dict[str, Any]:
    if done.returncode < 0:
        raise _too_costly("seconds of computing", child.cpu_s)
    if done.returncode:
        raise CheckingFailed(done.stderr[-2_000:])
    answer: dict[str, Any] = json.loads(done.stdout)
    if refused := answer.get("refused"):
        raise SheetRefused(refused["code"], refused["detail"], **refused["params"])
    return answer


def serve(job_of: Callable[[dict[str, Any]], Job]) -> None:
    """The child's whole life: one JSON line in, one out. `job_of` finds what the order asks for."""
    order = json.loads(sys.stdin.read())
    child = ChildLimits(**order["child"])
    _confine(child)
    try:
        answer = job_of(order)(order, Limits(**order["limits"]))
    except MemoryError:
        answer = _refusal(_too_costly("bytes of memory", child.memory_bytes))
    except SheetRefused as refused:
        answer = _refusal(refused)
    print(json.dumps(answer))


def _too_costly(what: str, limit: int) -> SheetRefused:
    return SheetRefused("too_large", f"reading the file takes more than {limit} {what}", what=what, limit=limit)


def _refusal(refused: SheetRefused) -> dict[str, Any]:
    return {"refused": {"code": refused.code, "detail": refused.detail, "params": refused.params}}


def _confine(child: ChildLimits) -> None:
    try:
        import resource
    except ImportError:  # Windows: the caller's clock and the reader's caps must do
        return
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (child.memory_bytes, child.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (child.cpu_s, child.cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
