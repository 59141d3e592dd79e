"""Judges a stranger's file in a child process with limits, so that no file can take the web process down.

The parent runs `python -m datasets_app.checking`, hands it one JSON line, and reads one back. The child loads neither
Django nor settings. On Windows only the wall limit holds; the reader's own caps are the same everywhere.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from datasets_app.validation import DatasetReport, check_sheet
from worker_client.formats import TASK_TYPES, Limits, SheetRefused, SheetRequest
from worker_client.formats.records import DEFAULT_LIMITS

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class ChildLimits:
    """What one judgement may cost: bytes of address space, seconds of processor, seconds on the clock."""

    memory_bytes: int = 1 << 30
    cpu_s: int = 120  # a million rows take 30 on a free machine
    wall_s: int = 180


DEFAULT_CHILD_LIMITS = ChildLimits()


class CheckingFailed(Exception):
    """The child could not be run or broke for a reason of its own; str() holds the end of its error output."""


def check_file(
    path: Path,
    request: SheetRequest,
    *,
    repair_bio: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    child: ChildLimits = DEFAULT_CHILD_LIMITS,
) -> DatasetReport:
    """check_sheet of the file, in a child.

    Raises SheetRefused, too_large also when the child hit one of its limits; CheckingFailed when the machine and not
    the file is at fault; ValueError for an unknown task_type.
    """
    if request.task_type not in (None, *TASK_TYPES):
        raise ValueError(f"task_type must be one of {', '.join(TASK_TYPES)}, not {request.task_type!r}")
    order = {
        "path": str(path.resolve()),
        "request": asdict(replace(request, columns=dict(request.columns))),
        "repair_bio": repair_bio,
        "limits": asdict(limits),
        "child": asdict(child),
    }
    # -S and -E: no site packages and nothing of the caller's environment, for a quick start that is always the same.
    command = [sys.executable, "-E", "-S", "-m", "datasets_app.checking"]
    try:
        done = subprocess.run(
            command, input=json.dumps(order), capture_output=True, encoding="utf-8", timeout=child.wall_s, cwd=ROOT
        )
    except subprocess.TimeoutExpired as error:
        raise _too_costly("seconds", child.wall_s) from error
    return _answer(done, child)


def _answer(done: subprocess.CompletedProcess[str], child: ChildLimits) -> DatasetReport:
    if done.returncode < 0:
        raise _too_costly("seconds of computing", child.cpu_s)
    if done.returncode:
        raise CheckingFailed(done.stderr[-2_000:])
    answer = json.loads(done.stdout)
    if "refused" in answer:
        refused = answer["refused"]
        raise SheetRefused(refused["code"], refused["detail"], **refused["params"])
    return DatasetReport.from_json(answer["report"])


def _too_costly(what: str, limit: int) -> SheetRefused:
    return SheetRefused("too_large", f"reading the file takes more than {limit} {what}", what=what, limit=limit)


def main() -> None:
    """The child: one JSON line in, one out."""
    order = json.loads(sys.stdin.read())
    child = ChildLimits(**order["child"])
    _confine(child)
    print(json.dumps(_judge(order, child)))


def _judge(order: dict[str, Any], child: ChildLimits) -> dict[str, Any]:
    request, limits = SheetRequest(**order["request"]), Limits(**order["limits"])
    try:
        report = check_sheet(Path(order["path"]), request, repair_bio=order["repair_bio"], limits=limits)
        return {"report": report.to_json()}
    except SheetRefused as refused:
        return _refusal(refused)
    except MemoryError:
        return _refusal(_too_costly("bytes of memory", child.memory_bytes))


def _refusal(refused: SheetRefused) -> dict[str, Any]:
    return {"refused": {"code": refused.code, "detail": refused.detail, "params": refused.params}}


def _confine(child: ChildLimits) -> None:
    try:
        import resource
    except ImportError:  # Windows: the caller's clock and the reader's caps must do
        return
    resource.setrlimit(resource.RLIMIT_AS, (child.memory_bytes, child.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (child.cpu_s, child.cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
