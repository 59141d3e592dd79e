"""The one reader: the server judges with it, the worker trains from it, so both see the same rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from worker_client.formats.cells import COLUMNS, CellMaker, Rows, column_letters, rows_from, rows_of
from worker_client.formats.columns import Match, fold, match_header
from worker_client.formats.container import Package
from worker_client.formats.judge import Judge, Judged, Usual, face, items_of
from worker_client.formats.rows import read_stretches
from worker_client.formats.strings import load_strings
from worker_client.formats.terms import TASK_TYPES, Limits, Record, RowFault, Sheet, SheetRefused, SheetRequest
from worker_client.formats.workbook import SheetEntry, Workbook, read_workbook

DEFAULT_LIMITS = Limits()
ANY_SHEET = SheetRequest()

TITLE_ROWS = 20  # looked through for a header below a title
MERGE_TAG = re.compile(rb'<(?:\w+:)?mergeCell [^<>]{0,80}?ref="([A-Z]{1,3})([0-9]{1,7}):([A-Z]{1,3})([0-9]{1,7})"')
MERGE_TAG_BYTES = 160
MAX_MERGED = 10_000

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
    with reading(path, request, repair_bio=repair_bio, limits=limits) as (_, batches):
        yield from chain.from_iterable(map(items_of, batches))


class Merged(NamedTuple):
    """A merged range; only its first cell holds a value."""

    left: int
    top: int
    right: int
    bottom: int

    def __str__(self) -> str:
        return f"{column_letters(self.left)}{self.top}:{column_letters(self.right)}{self.bottom}"


@contextmanager
def reading(
    path: Path, request: SheetRequest, *, repair_bio: bool = False, limits: Limits = DEFAULT_LIMITS
) -> Iterator[tuple[Sheet, Iterator[Usual | Judged]]]:
    """The sheet and its records, in batches as they are read; the file closes with the block. Raises as those above."""
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
) -> tuple[Sheet, Iterator[Usual | Judged]]:
    """The first candidate whose header matches; else the refusal of the one that came nearest."""
    refusals: list[SheetRefused] = []
    for entry in _candidates(workbook, request):
        stretches = read_stretches(package, entry.part, maker, limits)
        number, header, rest = _header(stretches)
        stretches = chain([rest], stretches)
        if not header:
            continue
        try:
            match = match_header(header, request)
        except SheetRefused as refusal:
            refusal.params["sheet"] = entry.name
            refusal.params["header_row"] = _later_header(stretches, request) if refusal.code == "missing_columns" else 0
            if refusal.code != "missing_columns":
                raise
            refusals.append(refusal)
            continue
        judge = Judge(header, match, repair_bio)
        hidden = [other.name for other in workbook.sheets if not other.visible and other is not entry]
        return _describe(entry.name, number, header, match, hidden), _records(stretches, judge, limits)
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


def _header(stretches: Iterator[Rows]) -> tuple[int, Header, Rows]:
    """The first row with anything in it, and the rows read beyond; (0, {}, []) when there is none."""
    for stretch in stretches:
        for place, (number, cells) in enumerate(rows_of(stretch), start=1):
            header = {column: text for column, cell in cells.items() if (text := face(cell))}
            if header:
                return number, header, rows_from(stretch, place)
    return 0, {}, []


def _later_header(stretches: Iterator[Rows], request: SheetRequest) -> int:
    """The row among the next ones that would do as a header, below a title; 0 when there is none."""
    for number, cells in islice(chain.from_iterable(map(rows_of, stretches)), TITLE_ROWS):
        try:
            match_header({column: text for column, cell in cells.items() if (text := face(cell))}, request)
        except SheetRefused:
            continue
        return number
    return 0


def merged_ranges(path: Path, sheet: str, limits: Limits = DEFAULT_LIMITS) -> list[Merged]:
    """The first 10,000 merged ranges of a sheet that was read already. Raises SheetRefused."""
    with path.open("rb") as stream:
        package = Package(stream, limits)
        part = next(entry.part for entry in read_workbook(package).sheets if entry.name == sheet)
        found: list[Merged] = []
        tail = b""
        for chunk in package.chunks(part):
            # A tag may lie across two chunks; none of this kind is longer than what is kept.
            text = tail + chunk
            found += [Merged(*_corner(*corners[:2]), *_corner(*corners[2:])) for corners in MERGE_TAG.findall(text)]
            tail = text[-MERGE_TAG_BYTES:] if b"<" in text[-MERGE_TAG_BYTES:] else b""
            if len(found) > MAX_MERGED:
                break
        return list(dict.fromkeys(found))[:MAX_MERGED]


def _corner(letters: bytes, row: bytes) -> tuple[int, int]:
    return COLUMNS[letters.decode()], int(row)


def _records(stretches: Iterator[Rows], judge: Judge, limits: Limits) -> Iterator[Usual | Judged]:
    for stretch in stretches:
        judged = judge.judge_all(stretch)
        if judge.rows > limits.max_rows:
            raise SheetRefused("too_many_rows", f"more than {limits.max_rows} rows of data", limit=limits.max_rows)
        yield judged


def _describe(name: str, number: int, header: Header, match: Match, hidden: list[str]) -> Sheet:
    used = set(match.columns.values())
    return Sheet(
        name=name,
        task_type=match.task_type,
        columns={role: header[column] for role, column in match.columns.items()},
        extra_columns=[header[column] for column in sorted(header) if column not in used],
        letters={role: column_letters(column) for role, column in match.columns.items()},
        header_row=number,
        hidden_sheets=hidden,
    )


def no_rows() -> SheetRefused:
    return SheetRefused("no_rows", "there is no row of data; put the header in the first row and the rows below it")
