"""One cell: from what the sheet stores to the text that a person sees in Excel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from operator import lt
from typing import NamedTuple

from worker_client.formats.container import corrupt, too_large
from worker_client.formats.faces import GENERAL, Face, show
from worker_client.formats.terms import Limits, SheetRefused

LAST_COLUMN = 16_384  # XFD
LAST_ROW = 1_048_576
ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")


class OddCell(NamedTuple):
    """A cell that the report must mention. kind: error, date or empty; formula: the text is a cached result."""

    text: str
    kind: str = ""
    formula: bool = False


# Plain text and numbers are str; most cells are, and a million of them must stay cheap.
Cell = str | OddCell
Row = tuple[int, dict[int, Cell]]  # number in the sheet, column (1 = A) -> cell; empty cells are left out


class Stretch(NamedTuple):
    """Successive rows that have plain texts in the same columns. texts: column -> the text of each row."""

    numbers: list[int]
    texts: dict[int, Sequence[str]]

    def rows(self) -> Iterator[Row]:
        for number, *texts in zip(self.numbers, *self.texts.values(), strict=True):
            yield number, dict(zip(self.texts, texts, strict=True))


Rows = Stretch | list[Row]


def rows_of(found: Rows) -> Iterable[Row]:
    return found.rows() if isinstance(found, Stretch) else found


def rows_from(found: Rows, place: int) -> Rows:
    """Those from a place on."""
    if not isinstance(found, Stretch):
        return found[place:]
    return Stretch(found.numbers[place:], {column: texts[place:] for column, texts in found.texts.items()})


class CellMaker:
    """Makes cells of one sheet, with the workbook's strings and styles."""

    def __init__(self, strings: Sequence[str], faces: Sequence[Face], date1904: bool, limits: Limits) -> None:
        self.strings = strings
        self._faces = faces
        self._date1904 = date1904
        self.max_chars = limits.max_cell_chars

    def make(self, kind: str, style: str, raw: str, formula: bool = False) -> Cell:
        """kind and style: the attributes t and s of the cell. raw: its stored value. Raises SheetRefused."""
        cell = self._stored(kind, style, raw) if raw else ""
        if not formula:
            return cell
        return cell._replace(formula=True) if isinstance(cell, OddCell) else OddCell(cell, formula=True)

    def _stored(self, kind: str, style: str, raw: str) -> Cell:
        if kind == "s":
            return self.shared(raw)
        if kind in ("inlineStr", "str"):
            return self.text(raw)
        if kind == "e":
            return OddCell(raw, "error")
        if kind == "b":
            return "TRUE" if raw in ("1", "true") else "FALSE"
        if kind == "d":
            return OddCell(raw.strip().removesuffix("T00:00:00"), "date")
        return self._number(style, raw.strip())

    def text(self, raw: str) -> str:
        text = unescape(raw) if "_x" in raw else raw
        if len(text) > self.max_chars:
            raise too_large("characters in one cell", self.max_chars)
        return text

    def shared(self, raw: str) -> str:
        raw = raw.strip()
        if raw.isdecimal() and len(raw) < 10 and int(raw) < len(self.strings):
            return self.strings[int(raw)]
        raise corrupt("a cell points to a text that is not there")

    def _number(self, style: str, raw: str) -> Cell:
        index = int(style) if style.isdecimal() and len(style) < 10 else 0
        face = self._faces[index] if index < len(self._faces) else GENERAL
        try:
            shown, is_date = show(raw, face, self._date1904)
        except ValueError as error:
            raise corrupt("a number cell holds no number") from error
        return OddCell(shown, "date") if is_date else shown


class Grid:
    """Where the reading stands in the sheet. Rows must come in order: other orders are read differently by others."""

    def __init__(self, limits: Limits) -> None:
        self.row = 0
        self.cells = 0
        self._limits = limits

    def enter_rows(self, rows: Sequence[int]) -> None:
        if not all(map(lt, (self.row, *rows), rows)) or rows[-1] > LAST_ROW:
            raise _out_of_order()
        self.row = rows[-1]

    def enter_row(self, row: int) -> int:
        if not self.row < row <= LAST_ROW:
            raise _out_of_order()
        self.row = row
        return row

    def count_cells(self, count: int) -> None:
        self.cells += count
        if self.cells > self._limits.max_cells:
            raise too_large("cells", self._limits.max_cells)


def _out_of_order() -> SheetRefused:
    return corrupt("its rows are out of order or beyond Excel's last row")


class _Columns(dict[str, int]):
    """Letters -> column, computed once per column."""

    def __missing__(self, letters: str) -> int:
        column = 0
        for letter in letters.upper():
            if not "A" <= letter <= "Z":
                raise corrupt("a cell has an address that Excel does not know")
            column = column * 26 + ord(letter) - 64
            if column > LAST_COLUMN:
                raise corrupt("a cell lies beyond Excel's last column")
        self[letters] = column
        return column


COLUMNS = _Columns()


def column_letters(column: int) -> str:
    """1 -> A, 27 -> AA."""
    letters = ""
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def unescape(raw: str) -> str:
    """Undo Excel's `_x000D_` for characters that XML may hold; others stay as written."""
    return ESCAPE.sub(_character, raw)


def _character(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    legal = code in (9, 10, 13) or 32 <= code < 0xD800 or 0xE000 <= code < 0xFFFE
    return chr(code) if legal else match[0]
