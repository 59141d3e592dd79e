"""What a sheet is worth for training: a pure judgement, without Django and without translated words.

The words are made elsewhere from `code` and `params`. Importing this loads neither Django nor anything slow, because a
child process does it for every upload.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from datasets_app.preview import DEFAULT_PLAN, SplitPlan
from datasets_app.survey import ReportedWarning, Survey
from worker_client.formats import TEXT_CLASSIFICATION, Limits, Record, RowFault, Sheet, SheetRefused, SheetRequest
from worker_client.formats.cells import column_letters
from worker_client.formats.records import DEFAULT_LIMITS, merged_ranges, no_rows, reading

__all__ = ["MAX_ERRORS", "DatasetReport", "ReportedError", "ReportedWarning", "check_sheet"]

MAX_ERRORS = 1_000
BATCH_ROWS = 1_000
MAX_MERGED_ROWS = 1_000  # of one merged range


@dataclass(frozen=True)
class ReportedError:
    """One fault of one cell, as RowFault, with its sheet. column: Excel's letters."""

    sheet: str
    row: int
    column: str
    code: str
    params: dict[str, Any]
    value: str


@dataclass(frozen=True)
class DatasetReport:
    """The whole judgement of one sheet; valid means that nothing but warnings was found.

    num_rows: rows that passed. columns: role -> header. labels: {name, count} of each class (rows) or tag (tokens).
    errors: the first 1,000 in sheet order; error_count: all. quality: as Survey.quality.
    """

    valid: bool
    task_type: str
    sheet: str
    columns: dict[str, str]
    num_rows: int
    labels: list[dict[str, Any]]
    error_count: int
    errors: list[ReportedError]
    warnings: list[ReportedWarning]
    quality: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """JSON types only; from_json gives an equal report back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DatasetReport:
        errors = [ReportedError(**error) for error in data["errors"]]
        warnings = [ReportedWarning(**warning) for warning in data["warnings"]]
        return cls(**{**data, "errors": errors, "warnings": warnings})


def check_sheet(
    path: Path,
    request: SheetRequest,
    *,
    repair_bio: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    plan: SplitPlan | None = DEFAULT_PLAN,
) -> DatasetReport:
    """Read the sheet once and judge it. plan: of the split preview in `quality`; None leaves it out.

    Raises SheetRefused where the whole file is refused, no_rows and too_few_classes among others; the last only when
    no row is at fault, since mending a row may bring the missing class. ValueError for an unknown task_type.
    """
    errors: list[ReportedError] = []
    error_count = 0
    with reading(path, request, repair_bio=repair_bio, limits=limits) as (sheet, records):
        survey = Survey(sheet, plan)
        while batch := list(islice(records, BATCH_ROWS)):
            survey.add([item for item in batch if isinstance(item, Record)])
            faults = [item for item in batch if isinstance(item, RowFault)]
            error_count += len(faults)
            errors += [_reported(sheet, fault) for fault in faults[: MAX_ERRORS - len(errors)]]
    _note_merged(path, sheet, errors, limits)
    if not error_count:
        _refuse_unusable(sheet, survey)
    return DatasetReport(
        valid=not error_count,
        task_type=sheet.task_type,
        sheet=sheet.name,
        columns=sheet.columns,
        num_rows=survey.num_rows,
        labels=survey.labels(),
        error_count=error_count,
        errors=errors,
        warnings=survey.warnings(),
        quality=survey.quality(),
    )


def _reported(sheet: Sheet, fault: RowFault) -> ReportedError:
    return ReportedError(sheet.name, fault.row, fault.column, fault.code, fault.params, fault.value)


def _note_merged(path: Path, sheet: Sheet, errors: list[ReportedError], limits: Limits) -> None:
    """An empty cell inside a merged range looks full in Excel: say so in its params."""
    empty = [error for error in errors if error.code in ("empty_text", "empty_label")]
    merged = merged_ranges(path, sheet.name, limits) if empty else []
    owners = {
        (column_letters(found.left), row): found
        for found in merged
        for row in range(found.top, min(found.bottom, found.top + MAX_MERGED_ROWS) + 1)
    }
    for error in empty:
        if (error.column, error.row) in owners:
            error.params["merged"] = str(owners[error.column, error.row])


def _refuse_unusable(sheet: Sheet, survey: Survey) -> None:
    if not survey.num_rows:
        raise no_rows()
    classes = sorted(survey.class_counts)
    needed = 2 if sheet.task_type == TEXT_CLASSIFICATION else 1
    if len(classes) < needed:
        what = "classes" if needed == 2 else "entity types"
        detail = f"the sheet holds {len(classes)} {what}, training needs at least {needed}"
        raise SheetRefused("too_few_classes", detail, found=classes, needed=needed, sheet=sheet.name)
