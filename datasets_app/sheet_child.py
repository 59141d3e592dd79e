"""What else is done with a stranger's file in a confined child: a look, a comparison, a marked copy.

The child of its own beside `checking` loads openpyxl, and that only to write.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets_app.annotated import Mark, write_annotated
from datasets_app.comparing import compare_sheets
from datasets_app.confined import ask, serve
from datasets_app.looking import look_at
from worker_client.formats import Limits, SheetRequest
from worker_client.formats.records import DEFAULT_LIMITS

MODULE = "datasets_app.sheet_child"


def look_at_file(path: Path, sheet: str = "", *, limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
    """looking.look_at, in a child. Raises SheetRefused and CheckingFailed, as all of these."""
    return ask(MODULE, {"job": "look", "path": str(path), "sheet": sheet}, limits)


def compare_files(
    old: tuple[Path, SheetRequest, bool], new: tuple[Path, SheetRequest, bool], *, limits: Limits = DEFAULT_LIMITS
) -> dict[str, Any]:
    """comparing.compare_sheets, in a child. Each side: file, how it is read, whether its BIO tags are repaired."""
    return ask(MODULE, {"job": "compare", "old": _side(old), "new": _side(new)}, limits)


def annotate_file(
    path: Path, target: Path, sheet: str, marks: list[Mark], words: dict[str, str], *, limits: Limits = DEFAULT_LIMITS
) -> bool:
    """annotated.write_annotated, in a child: whether the copy holds the rows and not the list of errors only."""
    order = {"job": "annotate", "path": str(path), "target": str(target), "sheet": sheet, "words": words}
    answer = ask(MODULE, {**order, "marks": [asdict(mark) for mark in marks]}, limits, sees_packages=True)
    return bool(answer["is_whole"])


def _side(side: tuple[Path, SheetRequest, bool]) -> dict[str, Any]:
    path, request, repair_bio = side
    told = {"task_type": request.task_type, "sheet": request.sheet, "columns": dict(request.columns)}
    return {"path": str(path), "request": told, "repair_bio": repair_bio}


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

if __name__ == "__main__":
    serve(lambda order: JOBS[order["job"]])
