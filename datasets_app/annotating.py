"""The marked copy of a faulty sheet: judged and written in child processes, its words in the reader's language."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from datasets_app.annotated import Mark
from datasets_app.services import (
    SheetChoice,
    child_at_work,
    clean_filename,
    full_report,
    private_copy,
    reader_limits,
    told_errors,
)
from datasets_app.sheet_child import annotate_file
from datasets_app.validation import DatasetReport


def annotate_sheet(*, file: File, filename: str, choice: SheetChoice) -> tuple[bytes, str]:
    """The marked copy, and what to call it.

    A sheet without errors comes back unmarked. Raises DatasetInvalid for a file that cannot be judged at all, and
    UploadTooLarge.
    """
    with private_copy(file) as (path, _sha256, _size_bytes):
        report = full_report(path, choice)
        marks = [
            Mark(error["row"], error["column"], error["code"], error["message"], error["value"])
            for error in told_errors(report)
        ]
        with _target() as target:
            with child_at_work():
                annotate_file(path, target, report.sheet, marks, _words(report, marks), limits=reader_limits())
            copy = target.read_bytes()
    name = _("%(name)s-errors.xlsx") % {"name": Path(clean_filename(filename)).stem}
    return copy, name


@contextmanager
def _target() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bert-marked-") as folder:
        yield Path(folder) / "marked.xlsx"


def _words(report: DatasetReport, marks: list[Mark]) -> dict[str, Any]:
    return {
        "title": _("Errors"),
        "sheet": _("Sheet"),
        "row": _("Row"),
        "column": _("Column"),
        "code": _("Code"),
        "message": _("What is wrong"),
        "value": _("Value"),
        "note": _note(report.error_count, len(marks)),
    }


def _note(errors: int, listed: int) -> str:
    if not errors:
        return _("No error was found in this sheet.")
    if errors == listed:
        return ""
    text = ngettext(
        "The sheet has %(count)d error; the first %(listed)d are listed and marked.",
        "The sheet has %(count)d errors; the first %(listed)d are listed and marked.",
        errors,
    )
    return text % {"count": errors, "listed": listed}
