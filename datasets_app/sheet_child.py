"""What else is done with a stranger's file, in a child process with limits: a look, a comparison, a marked copy.

As `checking`, which judges: the parent runs `python -m datasets_app.sheet_child`, hands it one JSON line, and reads one
back. The child loads neither Django nor settings, and openpyxl only to write.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets_app.annotated import Mark, write_annotated
from datasets_app.checking import DEFAULT_CHILD_LIMITS, ROOT, CheckingFailed, ChildLimits
from datasets_app.comparing import compare_sheets
from datasets_app.looking import look_at
from worker_client.formats import Limits, SheetRefused, SheetRequest
from worker_client.formats.records import DEFAULT_LIMITS


def look_at_file(path: Path, sheet: str = "", *, limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
    """looking.look_at, in a child. Raises SheetRefused and CheckingFailed, as all of these."""
    return _run({"job": "look", "path": str(path), "sheet": sheet, "limits": asdict(limits)})


def compare_files(
    old: tuple[Path, SheetRequest, bool], new: tuple[Path, SheetRequest, bool], *, limits: Limits = DEFAULT_LIMITS
) -> dict[str, Any]:
    """comparing.compare_sheets, in a child. Each side: file, how it is read, whether its BIO tags are repaired."""
    return _run({"job": "compare", "old": _side(old), "new": _side(new), "limits": asdict(limits)})


def annotate_file(
    path: Path, target: Path, sheet: str, marks: list[Mark], words: dict[str, str], *, limits: Limits = DEFAULT_LIMITS
) -> bool:
    """annotated.write_annotated, in a child: whether the copy holds the rows and not the list of errors only."""
    order = {"job": "annotate", "path": str(path), "target": str(target), "sheet": sheet, "words": words}
    answer = _run({**order, "marks": [asdict(mark) for mark in marks], "limits": asdict(limits)})
    return bool(answer["is_whole"])


def _side(side: tuple[Path, SheetRequest, bool]) -> dict[str, Any]:
    path, request, repair_bio = side
    told = {"task_type": request.task_type, "sheet": request.sheet, "columns": dict(request.columns)}
    return {"path": str(path), "request": told, "repair_bio": repair_bio}


def _run(order: dict[str, Any], child: ChildLimits = DEFAULT_CHILD_LIMITS) -> dict[str, Any]:
    """The child's answer. Only the one that writes sees the installed packages; none sees the caller's environment."""
    alone = [] if order["job"] == "annotate" else ["-S"]
    command = [sys.executable, "-E", *alone, "-m", "datasets_app.sheet_child"]
    sent = json.dumps({**order, "child": asdict(child)})
    try:
        done = subprocess.run(
            command, input=sent, capture_output=True, encoding="utf-8", timeout=child.wall_s, cwd=ROOT
        )
    except subprocess.TimeoutExpired as error:
        raise _too_costly("seconds", child.wall_s) from error
    if done.returncode < 0:
        raise _too_costly("seconds of computing", child.cpu_s)
    if done.returncode:
        raise CheckingFailed(done.stderr[-2_000:])
    answer: dict[str, Any] = json.loads(done.stdout)
    if refused := answer.get("refused"):
        raise SheetRefused(refused["code"], refused["detail"], **refused["params"])
    return answer


def _too_costly(what: str, limit: int) -> SheetRefused:
    return SheetRefused("too_large", f"reading the file takes more than {limit} {what}", what=what, limit=limit)


def main() -> None:
    """The child: one JSON line in, one out."""
    order = json.loads(sys.stdin.read())
    child = ChildLimits(**order["child"])
    _confine(child)
    try:
        answer = JOBS[order["job"]](order, Limits(**order["limits"]))
    except MemoryError:
        answer = _refusal(_too_costly("bytes of memory", child.memory_bytes))
    except SheetRefused as refused:
        answer = _refusal(refused)
    print(json.dumps(answer))


def _look(order: dict[str, Any], limits: Limits) -> dict[str, Any]:
    return look_at(Path(order["path"]), order["sheet"], limits)


def _compare(order: dict[str, Any], limits: Limits) -> dict[str, Any]:
    old, new = (
        (Path(side["path"]), SheetRequest(**side["request"]), bool(side["repair_bio"]))
        for side in (order["old"], order["new"])
    )
    return compare_sheets(old, new, limits)


def _annotate(order: dict[str, Any], limits: Limits) -> dict[str, Any]:
    marks = [Mark(**mark) for mark in order["marks"]]
    target = Path(order["target"])
    return {"is_whole": write_annotated(Path(order["path"]), target, order["sheet"], marks, order["words"], limits)}


JOBS = {"look": _look, "compare": _compare, "annotate": _annotate}


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
