"""The one reader: the server judges with it, the worker trains from it, so both see the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from worker_client.formats.cells import CellMaker, Row, column_letters
from worker_client.formats.columns import Match, fold, match_header
from worker_client.formats.container import Package
from worker_client.formats.judge import Judge, face
from worker_client.formats.rows import read_rows
from worker_client.formats.strings import load_strings
from worker_client.formats.terms import TASK_TYPES, Limits, Record, RowFault, Sheet, SheetRefused, SheetRequest
from worker_client.formats.workbook import SheetEntry, Workbook, read_workbook

DEFAULT_LIMITS = Limits()
ANY_SHEET = SheetRequest()

Header = dict[int, str]  # column -> header as written; blank ones are left out


def open_sheet(path: Path, request: SheetRequest = ANY_SHEET, limits: Limits = DEFAULT_LIMITS) -> Sheet:
    """The sheet that the request means, its header matched. Raises SheetRefused, ValueError for an unknown task."""
    with reading(path, request, limits=limits) as (sheet, _):
        return sheet


def read_records(
    path: Path,
    *,
    task_type: str,
    sheet: str | None,
    columns: Mapping[str, str],
    repair_bio: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Iterator[Record | RowFault]:
    """Every data row in sheet order: a Record, or each RowFault of a row that has any. Fully blank rows are skipped.

    repair_bio mends orphan `I-X` tags. Raises SheetRefused while being read, too_many_rows among others.
    """
    request = SheetRequest(task_type, sheet, columns)
    with reading(path, request, repair_bio=repair_bio, limits=limits) as (_, records):
        yield from records


@contextmanager
def reading(
    path: Path, request: SheetRequest, *, repair_bio: bool = False, limits: Limits = DEFAULT_LIMITS
) -> Iterator[tuple[Sheet, Iterator[Record | RowFault]]]:
    """The sheet and its records in one pass; the file closes with the block. Raises as the two above."""
    if request.task_type is not None and request.task_type not in TASK_TYPES:
        raise ValueError(f"task_type must be one of {', '.join(TASK_TYPES)}, not {request.task_type!r}")
    with path.open("rb") as stream:
        package = Package(stream, limits)
        workbook = read_workbook(package)
        strings = load_strings(package, workbook.strings, limits)
        maker = CellMaker(strings, workbook.faces, workbook.date1904, limits)
        yield _choose(package, workbook, maker, request, repair_bio, limits)


def _choose(
    package: Package, workbook: Workbook, maker: CellMaker, request: SheetRequest, repair_bio: bool, limits: Limits
) -> tuple[Sheet, Iterator[Record | RowFault]]:
    """The first candidate whose header matches; else the refusal of the one that came nearest."""
    refusals: list[SheetRefused] = []
    for entry in _candidates(workbook, request):
        rows = read_rows(package, entry.part, maker, limits)
        number, header = _header(rows)
        if not header:
            continue
        try:
            match = match_header(header, request)
        except SheetRefused as refusal:
            refusal.params["sheet"] = entry.name
            if refusal.code != "missing_columns":
                raise
            refusals.append(refusal)
            continue
        judge = Judge(header, match, repair_bio)
        return _describe(entry.name, number, header, match), _records(rows, judge, limits)
    if not refusals:
        raise no_rows()
    raise min(refusals, key=lambda refusal: len(refusal.params["missing"]))


def _candidates(workbook: Workbook, request: SheetRequest) -> list[SheetEntry]:
    visible = [entry for entry in workbook.sheets if entry.visible]
    if not request.sheet:
        found = visible
    else:
        # A person who names a hidden sheet means it.
        exact = [entry for entry in workbook.sheets if entry.name == request.sheet]
        found = exact or [entry for entry in workbook.sheets if fold(entry.name) == fold(request.sheet)][:1]
    if found:
        return found
    names = [entry.name for entry in visible][:100]
    wanted = f"named {request.sheet}" if request.sheet else "with cells"
    detail = f"no sheet {wanted}; visible sheets: {', '.join(names) or 'none'}"
    raise SheetRefused("sheet_not_found", detail, wanted=request.sheet or "", sheets=names)


def _header(rows: Iterator[Row]) -> tuple[int, Header]:
    """The first row with anything in it; (0, {}) when there is none."""
    for number, cells in rows:
        header = {column: text for column, cell in cells.items() if (text := face(cell))}
        if header:
            return number, header
    return 0, {}


def _records(rows: Iterator[Row], judge: Judge, limits: Limits) -> Iterator[Record | RowFault]:
    count = 0
    for number, cells in rows:
        judged = judge.judge(number, cells)
        if judged:
            count += 1
            if count > limits.max_rows:
                raise SheetRefused("too_many_rows", f"more than {limits.max_rows} rows of data", limit=limits.max_rows)
            yield from judged


def _describe(name: str, number: int, header: Header, match: Match) -> Sheet:
    used = set(match.columns.values())
    return Sheet(
        name=name,
        task_type=match.task_type,
        columns={role: header[column] for role, column in match.columns.items()},
        extra_columns=[header[column] for column in sorted(header) if column not in used],
        letters={role: column_letters(column) for role, column in match.columns.items()},
        header_row=number,
    )


def no_rows() -> SheetRefused:
    return SheetRefused("no_rows", "there is no row of data; put the header in the first row and the rows below it")
