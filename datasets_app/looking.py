"""The first look at a workbook: its sheets, its columns, its first rows, and what each column probably is. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worker_client.formats import TEXT_CLASSIFICATION, TOKEN_CLASSIFICATION, Limits, SheetRefused, SheetRequest
from worker_client.formats.cells import CellMaker, Row
from worker_client.formats.columns import NAMES, ROLES, fold, match_header
from worker_client.formats.container import Package
from worker_client.formats.judge import face
from worker_client.formats.records import no_rows
from worker_client.formats.rows import read_rows
from worker_client.formats.strings import load_strings
from worker_client.formats.workbook import SheetEntry, Workbook, read_workbook

ROWS_SHOWN = 10
COLUMNS_SHOWN = 30
HEADERS_OFFERED = 200
CELL_CHARS = 160
SHEETS_OFFERED = 100


def look_at(path: Path, sheet: str, limits: Limits) -> dict[str, Any]:
    """{sheets, sheet, task_type, headers, columns, found, is_clear, rows: [{number, cells}]}.

    sheet: the one that the person chose, or empty: the first visible one whose header fits, else the first with any
    cells. columns: role -> header, as guessed; is_clear: whether they are enough to read the sheet. found: the first 30
    headers, those of the rows' cells. Raises SheetRefused for a file that cannot be opened or has no cells.
    """
    with path.open("rb") as stream:
        package = Package(stream, limits)
        workbook = read_workbook(package)
        strings = load_strings(package, workbook.strings, limits)
        maker = CellMaker(strings, workbook.faces, workbook.date1904, limits)
        visible = [entry for entry in workbook.sheets if entry.visible]
        looks = (_look(entry, read_rows(package, entry.part, maker, limits)) for entry in _meant(workbook, sheet))
        seen = [look for look in _until_clear(looks) if look["headers"]]
    if not seen:
        raise no_rows()
    best = seen[-1] if seen[-1]["is_clear"] else seen[0]
    return {**best, "sheets": [entry.name for entry in visible][:SHEETS_OFFERED]}


def _meant(workbook: Workbook, sheet: str) -> list[SheetEntry]:
    named = [entry for entry in workbook.sheets if entry.name == sheet]
    return named or [entry for entry in workbook.sheets if entry.visible]


def _until_clear(looks: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for look in looks:
        yield look
        if look["is_clear"]:
            return


def _look(entry: SheetEntry, rows: Iterator[Row]) -> dict[str, Any]:
    header: dict[int, str] = {}
    for _number, cells in rows:
        header = {column: text for column, cell in cells.items() if (text := face(cell))}
        if header:
            break
    shown = sorted(header)[:COLUMNS_SHOWN]
    first: list[dict[str, Any]] = []
    for number, cells in rows:
        texts = [face(cells.get(column))[:CELL_CHARS] for column in shown]
        if any(texts):
            first.append({"number": number, "cells": texts})
        if len(first) == ROWS_SHOWN:
            break
    names = list(dict.fromkeys(header[column] for column in sorted(header)))[:HEADERS_OFFERED]
    guess = {"sheet": entry.name, "headers": names, "found": [header[column] for column in shown], "rows": first}
    return {**guess, **_roles(header)}


def _roles(header: dict[int, str]) -> dict[str, Any]:
    """Task and columns as the reader takes them by itself; where it takes none, what can be guessed."""
    try:
        match = match_header(header, SheetRequest())
    except SheetRefused:
        return _guessed(header)
    columns = {role: header[column] for role, column in match.columns.items()}
    return {"task_type": match.task_type, "columns": columns, "is_clear": True}


def _guessed(header: dict[int, str]) -> dict[str, Any]:
    by_fold = {fold(name): name for name in reversed(header.values())}
    columns = {role: by_fold[name] for role, names in NAMES.items() for name in names if name in by_fold}
    of_tokens = bool(columns.keys() & set(ROLES[TOKEN_CLASSIFICATION]))
    task_type = TOKEN_CLASSIFICATION if of_tokens else TEXT_CLASSIFICATION
    return {"task_type": task_type, "columns": columns, "is_clear": False}
