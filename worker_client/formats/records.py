"""The one reader: the server judges with it, the worker trains from it, so both see the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from worker_client.formats.terms import Limits, Record, RowFault, Sheet, SheetRequest

DEFAULT_LIMITS = Limits()
ANY_SHEET = SheetRequest()


def open_sheet(path: Path, request: SheetRequest = ANY_SHEET, limits: Limits = DEFAULT_LIMITS) -> Sheet:
    """The sheet that the request means, its header matched. Raises SheetRefused."""
    raise NotImplementedError


def read_records(
    path: Path,
    *,
    task_type: str,
    sheet: str | None,
    columns: Mapping[str, str],
    repair_bio: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Iterator[Record | RowFault]:
    """Every data row in sheet order: a Record, or each RowFault of a row that has any. Raises SheetRefused."""
    raise NotImplementedError
