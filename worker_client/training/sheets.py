"""Writing .xlsx: every string is text, whatever it begins with."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

MAX_CELL_CHARS = 32_767  # this and the next are Excel's own
MAX_ROWS = 1_048_576


class SheetWriter:
    """A workbook written row by row, with bounded memory; several sheets may grow at once. Call `save` once."""

    def __init__(self) -> None:
        self._book = Workbook(write_only=True)
        self.shortened = 0  # cells whose text was longer than Excel holds

    def start_sheet(self, title: str, header: Sequence[str]) -> Callable[[Iterable[Any]], None]:
        """A sheet with its header; the function that comes back adds a row of strings, numbers or None.

        What does not fit goes on in another sheet, `<title> 2`, with the same header.
        """
        sheets = [self._book.create_sheet(title)]
        used = 0

        def append(row: Iterable[Any]) -> None:
            nonlocal used
            if used == MAX_ROWS:
                sheets.append(self._book.create_sheet(f"{title} {len(sheets) + 1}"))
                used = 0
                append(header)
            sheets[-1].append([self._cell(sheets[-1], value) for value in row])
            used += 1

        append(header)
        return append

    def save(self, path: Path) -> None:
        """Write the file."""
        self._book.save(path)

    def discard(self) -> None:
        """Instead of `save`: let go of the temporary files."""
        for sheet in self._book.worksheets:
            sheet.close()

    def _cell(self, sheet: Any, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if len(value) > MAX_CELL_CHARS:
            self.shortened += 1
        cell = WriteOnlyCell(sheet, value=ILLEGAL_CHARACTERS_RE.sub("", value)[:MAX_CELL_CHARS])
        # openpyxl makes a formula of what begins with "="; a text of a lawsuit must never be run.
        cell.data_type = "s"
        return cell
