"""What a sheet is worth for training: a pure judgement, without Django and without translated words.

The words are made elsewhere from `code` and `params`. Importing this loads neither Django nor anything slow, because a
child process does it for every upload.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from datasets_app.report import DEFAULT_PLAN, DatasetReport, ReportedError, SplitPlan
from worker_client.formats import TEXT_CLASSIFICATION, Limits, RowFault, Sheet, SheetRefused, SheetRequest
from worker_client.formats.cells import column_letters
from worker_client.formats.judge import faults_of
from worker_client.formats.records import DEFAULT_LIMITS, merged_ranges, no_rows, reading

if TYPE_CHECKING:
    from datasets_app.survey import Survey

__all__ = ["MAX_ERRORS", "DatasetReport", "ReportedError", "check_sheet"]

MAX_ERRORS = 1_000
MAX_MERGED_ROWS = 1_000  # of one merged range


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
    with reading(path, request, repair_bio=repair_bio, limits=limits) as (sheet, batches):
        from datasets_app.survey import Survey  # loads numpy, which no refused file needs and no process but the child

        survey = Survey(sheet, plan)
        for batch in batches:
            survey.add(batch)
            faults = faults_of(batch)
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
