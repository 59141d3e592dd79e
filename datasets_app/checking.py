"""Judges a stranger's file in a confined child; of the packages it loads numpy alone, once a sheet was found."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from datasets_app.confined import DEFAULT_CHILD_LIMITS, ChildLimits, ask, serve
from datasets_app.validation import DatasetReport, check_sheet
from worker_client.formats import TASK_TYPES, Limits, SheetRequest
from worker_client.formats.records import DEFAULT_LIMITS


def check_file(
    path: Path,
    request: SheetRequest,
    *,
    repair_bio: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    child: ChildLimits = DEFAULT_CHILD_LIMITS,
) -> DatasetReport:
    """check_sheet of the file, in a child.

    Raises SheetRefused and CheckingFailed as `confined.ask`; ValueError for an unknown task_type.
    """
    if request.task_type not in (None, *TASK_TYPES):
        raise ValueError(f"task_type must be one of {', '.join(TASK_TYPES)}, not {request.task_type!r}")
    order = {
        "path": str(path.resolve()),
        "request": asdict(replace(request, columns=dict(request.columns))),
        "repair_bio": repair_bio,
    }
    answer = ask("datasets_app.checking", order, limits, child=child, sees_packages=True)
    return DatasetReport.from_json(answer["report"])


def _judge(order: dict[str, Any], limits: Limits) -> dict[str, Any]:
    request = SheetRequest(**order["request"])
    report = check_sheet(Path(order["path"]), request, repair_bio=order["repair_bio"], limits=limits)
    return {"report": report.to_json()}


if __name__ == "__main__":
    serve(lambda order: _judge)
