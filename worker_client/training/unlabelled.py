"""Rows to be predicted: the same sheets and headers as for training, without labels, every row kept in its place."""

from collections.abc import Iterator
from pathlib import Path

from worker_client.formats import Limits, Record, SheetRefused
from worker_client.formats.bio import parse_list
from worker_client.formats.cells import Cell, CellMaker, OddCell
from worker_client.formats.columns import NAMES, fold, missing_columns
from worker_client.formats.container import Package
from worker_client.formats.judge import face
from worker_client.formats.rows import read_rows
from worker_client.formats.strings import load_strings
from worker_client.formats.workbook import read_workbook

ID = "id"


def read_unlabelled(path: Path, *, role: str, column: str = "", sheet: str = "") -> Iterator[Record]:
    """Every row below the header, with `text` or `tokens` filled by `role`; blank and error cells stay empty.

    column, sheet: names, where they are not the usual ones. Raises SheetRefused.
    """
    limits = Limits()
    refusal: SheetRefused | None = None
    with path.open("rb") as stream:
        package = Package(stream, limits)
        workbook = read_workbook(package)
        maker = CellMaker(load_strings(package, workbook.strings, limits), workbook.faces, workbook.date1904, limits)
        for entry in workbook.sheets:
            if fold(entry.name) != fold(sheet) if sheet else not entry.visible:
                continue
            rows = read_rows(package, entry.part, maker, limits)
            header = _header(rows)
            found = _column(header, (column,) if column else NAMES[role])
            if found is None:
                refusal = refusal or missing_columns(header, [column or role])
                continue
            yield from _records(rows, role, found, _column(header, (ID,)))
            return
    raise refusal or SheetRefused("sheet_not_found", f"no sheet {f'named {sheet}' if sheet else 'with cells'}")


def _records(rows: Iterator[tuple[int, dict[int, Cell]]], role: str, at: int, id_at: int | None) -> Iterator[Record]:
    for number, cells in rows:
        content = _content(cells.get(at))
        name = _content(cells.get(id_at)) if id_at is not None else ""
        if role == "tokens":
            yield Record(number, tokens=tuple(parse_list(content)), id=name)
        else:
            yield Record(number, text=content, id=name)


def _header(rows: Iterator[tuple[int, dict[int, Cell]]]) -> dict[int, str]:
    for _, cells in rows:
        header = {column: text for column, cell in cells.items() if (text := face(cell))}
        if header:
            return header
    return {}


def _column(header: dict[int, str], names: tuple[str, ...]) -> int | None:
    for name in names:
        for column in sorted(header):
            if fold(header[column]) == fold(name):
                return column
    return None


def _content(cell: Cell | None) -> str:
    return "" if isinstance(cell, OddCell) and cell.kind == "error" else face(cell)
