"""A copy of a faulty sheet with its errors marked: coloured cells with a comment each, and a list of all of them.

The copy is a new workbook, made from what our bounded reader reads: formulas, macros and links of the original are not
in it. openpyxl only writes; it never opens a stranger's file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker_client.formats import Limits
from worker_client.formats.cells import Cell, CellMaker, OddCell
from worker_client.formats.container import Package
from worker_client.formats.judge import face
from worker_client.formats.rows import read_rows
from worker_client.formats.strings import load_strings
from worker_client.formats.workbook import read_workbook

# Beyond these a copy takes more than the patience of whoever waits for it: then only the list is written.
MAX_COPY_BYTES = 20 * 2**20
MAX_COPY_ROWS = 20_000
MAX_COPY_CELLS = 300_000
MAX_COPY_CHARS = 30_000_000
FAULT_FILL, HEAD_FILL = "FFFFC7CE", "FFD9E7EF"
COLUMN_WIDTHS = (18, 8, 9, 18, 90, 40)
TEXT_WIDTH = 60
MAX_TITLE = 31  # Excel's own
BAD_TITLE = re.compile(r"[\\*?:/\[\]\x00-\x1f]")
LOOKS_ESCAPED = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
LIKE_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Grid = dict[int, dict[int, Cell]]  # row number -> column number -> cell with something in it


@dataclass(frozen=True)
class Mark:
    """One error to be marked, in the reader's words. column: Excel's letters."""

    row: int
    column: str
    code: str
    message: str
    value: str


def write_annotated(
    path: Path, target: Path, sheet: str, marks: list[Mark], words: dict[str, str], limits: Limits
) -> bool:
    """Write the marked copy to `target`; False when the sheet is too long and only the list was written.

    words: `title` of the list, its six headings `sheet row column code message value`, `note` (may be empty).
    """
    from openpyxl import Workbook

    grid = _grid(path, sheet, limits)
    book = Workbook(write_only=True)
    title = _title(sheet)
    if grid is not None:
        _write_rows(book.create_sheet(title), grid, marks)
    list_title = words["title"] if words["title"].casefold() != title.casefold() else f"{words['title']} 2"
    _write_list(book.create_sheet(list_title), sheet, marks, words)
    book.save(target)
    return grid is not None


def _grid(path: Path, sheet: str, limits: Limits) -> Grid | None:
    """The faces of all cells; None when there are too many for a copy."""
    if path.stat().st_size > MAX_COPY_BYTES:
        return None
    grid: Grid = {}
    cells_count = chars = 0
    with path.open("rb") as stream:
        package = Package(stream, limits)
        workbook = read_workbook(package)
        maker = CellMaker(load_strings(package, workbook.strings, limits), workbook.faces, workbook.date1904, limits)
        part = next(entry.part for entry in workbook.sheets if entry.name == sheet)
        for number, cells in read_rows(package, part, maker, limits):
            seen = {column: cell for column, cell in cells.items() if face(cell)}
            # A cell far to the right costs as many blank ones before it.
            cells_count += max(seen, default=0)
            chars += sum(len(face(cell)) for cell in seen.values())
            if number > MAX_COPY_ROWS or cells_count > MAX_COPY_CELLS or chars > MAX_COPY_CHARS:
                return None
            grid[number] = seen
    return grid


def _write_rows(page: Any, grid: Grid, marks: list[Mark]) -> None:
    """Every row at its old number, since that is what the messages name."""
    from openpyxl.utils import column_index_from_string, get_column_letter

    by_cell: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
    for mark in marks:
        by_cell[mark.row, column_index_from_string(mark.column)].append(mark.message)
    faulty: defaultdict[int, set[int]] = defaultdict(set)
    for row, column in by_cell:
        faulty[row].add(column)
    header = next((number for number in sorted(grid) if grid[number]), 1)
    for column in grid.get(header, {}):
        page.column_dimensions[get_column_letter(column)].width = TEXT_WIDTH if column == min(grid[header]) else 24
    for number in range(1, max([*grid, *faulty], default=0) + 1):
        cells, marked = grid.get(number, {}), faulty.get(number, set())
        last = max([*cells, *marked], default=0)
        page.append(
            [
                _cell(page, cells.get(column, ""), head=number == header, comment=by_cell.get((number, column)))
                if column in cells or column in marked
                else None
                for column in range(1, last + 1)
            ]
        )


def _write_list(page: Any, sheet: str, marks: list[Mark], words: dict[str, str]) -> None:
    for letter, width in zip("ABCDEF", COLUMN_WIDTHS, strict=True):
        page.column_dimensions[letter].width = width
    names = ("sheet", "row", "column", "code", "message", "value")
    if words["note"]:
        page.append([_cell(page, words["note"])])
    page.append([_cell(page, words[name], head=True) for name in names])
    for line in _lines(sheet, marks):
        page.append([value if isinstance(value, int) else _cell(page, value) for value in line])


def _lines(sheet: str, marks: list[Mark]) -> Iterator[tuple[str | int, ...]]:
    for mark in marks:
        yield sheet, mark.row, mark.column, mark.code, mark.message, mark.value


def _cell(page: Any, content: Cell, *, head: bool = False, comment: list[str] | None = None) -> Any:
    """A cell of text, whatever the text looks like; an error of Excel stays one, or it would pass as a word."""
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.comments import Comment
    from openpyxl.styles import Font, PatternFill

    is_error = isinstance(content, OddCell) and content.kind == "error"
    text = face(content)
    cell = WriteOnlyCell(page, escaped(text))
    # openpyxl would take what begins with "=" for a formula, and the word "#N/A" for an error.
    cell.data_type = "e" if is_error else "s"
    if text.startswith(LIKE_FORMULA):
        cell.quotePrefix = True  # it stays text when somebody edits the cell, too
    if head:
        cell.font, cell.fill = Font(bold=True), PatternFill("solid", fgColor=HEAD_FILL)
    if comment:
        cell.fill = PatternFill("solid", fgColor=FAULT_FILL)
        cell.comment = Comment("\n".join(comment), "BERT Training", height=120, width=320)
    return cell


def escaped(text: str) -> str:
    """As .xlsx stores a text: control characters as _x0001_, and what looks like that already kept apart from it."""
    return CONTROLS.sub(lambda found: f"_x{ord(found[0]):04X}_", LOOKS_ESCAPED.sub("_x005F_", text))[:32_767]


def _title(sheet: str) -> str:
    """The sheet's name where Excel allows it."""
    return BAD_TITLE.sub("_", sheet)[:MAX_TITLE].strip("' ") or "Sheet"
