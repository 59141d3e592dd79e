"""The rows of one sheet, streamed: the plain scanner where it can, expat everywhere else, the same cells from both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain

from worker_client.formats.cells import COLUMNS, LAST_COLUMN, Cell, CellMaker, Grid, Row, Rows, Stretch, rows_of
from worker_client.formats.container import Package, corrupt, too_large
from worker_client.formats.markup import Feeder, local, make_parser
from worker_client.formats.plain import ROWS, Irregular, bodies, decode, decode_all, plain_text, refuse_sections
from worker_client.formats.terms import Limits

ROW_TAG = re.compile(r'\s*<row r="([0-9]{1,9})"[^<>/]*>')
CELL_TAG = re.compile(
    r'<c r="([A-Z]{1,3})[0-9]+"(?: s="([0-9]+)")?(?: t="s"><v>([0-9]+)</v></c>|(?: t="(n|str|b|e|d|inlineStr)")?'
    r'(?:/>|><v>([^<]+)</v></c>|><is><t(?: xml:space="preserve")?>([^<]+)</t></is></c>))'
)
# Possessive: a cell of another form is known at once, without going back.
SHARED_CELL = r'<c r="COLUMN[0-9]++"(?: s="[0-9]++")?+ t="s"><v>([0-9]{1,9}+)</v></c>'
INLINE_CELL = (
    r'<c r="COLUMN[0-9]++"(?: s="[0-9]++")?+ t="inlineStr"><is><t(?: xml:space="preserve")?+>([^<]++)</t></is></c>'
)
EMPTY_TAGS, VALUE_TAGS, INLINE_TAGS, ROW_TAGS = 1, 4, 6, 2


def read_rows(package: Package, part: str, maker: CellMaker, limits: Limits) -> Iterator[Row]:
    """Rows in sheet order with their numbers; rows without cells may be left out. Raises SheetRefused."""
    return chain.from_iterable(map(rows_of, read_stretches(package, part, maker, limits)))


def read_stretches(package: Package, part: str, maker: CellMaker, limits: Limits) -> Iterator[Rows]:
    """The same, as many rows at once as stand in a chunk of the file."""
    grid = Grid(limits)
    try:
        for body in bodies(package.chunks(part), part, ROWS):
            rows = plain_rows(body, maker, grid)
            if rows is None:
                refuse_sections(body, ROWS)
                parsed = parse_rows([b"<sheetData>", body, b"</sheetData>"], part, maker, grid, limits)
                rows = list(chain.from_iterable(parsed))
            yield rows
    except Irregular:
        # Row numbers only grow, so the last one given says where to go on.
        for rows in parse_rows(package.chunks(part), part, maker, Grid(limits), limits):
            yield [row for row in rows if row[0] > grid.row]


def plain_rows(body: bytes, maker: CellMaker, grid: Grid) -> Rows | None:
    """The rows of a body written plainly, or None (and `grid` as it was) when some are not."""
    text = plain_text(body)
    if text is None:
        return None
    before = grid.row, grid.cells
    if (stretch := _scan_alike(text, maker, grid)) is not None:
        return stretch
    tags, rows = _scan(text, maker, grid)
    if tags == text.count("<"):
        return rows
    grid.row, grid.cells = before
    return None


def _scan_alike(text: str, maker: CellMaker, grid: Grid) -> Stretch | None:
    """The rows when all have the cells of the first, all shared or all inline texts, as most tables do; else None.

    One match per row instead of one per cell, and nothing but blanks between the matches.
    """
    first = text[: text.find("</row>") + len("</row>")]
    shapes = [(letters, kind or ("s" if shared else "")) for letters, _, shared, kind, _, _ in CELL_TAG.findall(first)]
    kinds = {kind for _, kind in shapes}
    if kinds not in ({"s"}, {"inlineStr"}):
        return None
    letters = tuple(name for name, _ in shapes)
    found = _row_pattern(letters, SHARED_CELL if kinds == {"s"} else INLINE_CELL).split(text)
    step = len(letters) + 2  # what stands before a row, its number, its cells
    if len(found) == 1 or "".join(found[::step]).strip():
        return None
    stretch = Stretch(list(map(int, found[1::step])), {})
    grid.count_cells(len(letters) * len(stretch.numbers))
    grid.enter_rows(stretch.numbers)
    for place, name in enumerate(letters, start=2):
        raws = found[place::step]
        stretch.texts[COLUMNS[name]] = _shared(raws, maker) if kinds == {"s"} else _inline(raws, maker, text)
    return stretch


def _shared(places: Sequence[str], maker: CellMaker) -> Sequence[str]:
    try:
        return list(map(maker.strings.__getitem__, map(int, places)))
    except IndexError as error:
        raise corrupt("a cell points to a text that is not there") from error


def _inline(raws: Sequence[str], maker: CellMaker, whole: str) -> Sequence[str]:
    texts = decode_all(raws, whole)
    if ("_" in whole and "_x" in whole) or max(map(len, texts)) > maker.max_chars:
        return [maker.text(text) for text in texts]
    return texts


@lru_cache(maxsize=64)
def _row_pattern(letters: tuple[str, ...], cell: str) -> re.Pattern[str]:
    cells = "".join(cell.replace("COLUMN", name) for name in letters)
    return re.compile(f'<row r="([0-9]{{1,9}}+)"[^<>/]*+>{cells}</row>')


def _scan(text: str, maker: CellMaker, grid: Grid) -> tuple[int, list[Row]]:
    """The rows, and how many tags they account for: fewer than the body has when something was passed over."""
    strings, count = maker.strings, len(maker.strings)
    rows: list[Row] = []
    tags = 0
    for piece in text.split("</row>")[:-1]:
        opening = ROW_TAG.match(piece)
        if opening is None:
            break
        found: list[tuple[str, ...]] = CELL_TAG.findall(piece, opening.end())
        cells: dict[int, Cell] = {}
        tags += ROW_TAGS
        for letters, style, shared, kind, value, inline in found:
            if inline:
                tags += INLINE_TAGS
                cells[COLUMNS[letters]] = maker.text(decode(inline))
            elif shared:
                tags += VALUE_TAGS
                cells[COLUMNS[letters]] = strings[int(shared)] if int(shared) < count else maker.shared(shared)
            elif value:
                tags += VALUE_TAGS
                cells[COLUMNS[letters]] = maker.make(kind, style, decode(value))
            else:
                tags += EMPTY_TAGS
        grid.count_cells(len(found))
        rows.append((grid.enter_row(int(opening[1])), cells))
    return tags, rows


def parse_rows(chunks: Iterable[bytes], part: str, maker: CellMaker, grid: Grid, limits: Limits) -> Iterator[list[Row]]:
    """The same rows by expat, for any XML."""
    parser = make_parser()
    handler = _RowHandler(maker, grid, limits)
    parser.StartElementHandler = handler.start
    parser.EndElementHandler = handler.end
    parser.CharacterDataHandler = handler.characters
    feeder = Feeder(parser, part)
    for chunk in chunks:
        feeder.feed(chunk)
        yield handler.rows
        handler.rows = []
    feeder.feed(b"", final=True)


class _RowHandler:
    """Collects rows from expat's calls. A cell's text is its `<v>`, or every `<t>` of its `<is>` but phonetic ones."""

    def __init__(self, maker: CellMaker, grid: Grid, limits: Limits) -> None:
        self.rows: list[Row] = []
        self._maker, self._grid, self._limits = maker, grid, limits
        self._number = 0
        self._cells: dict[int, Cell] = {}
        self._column = 0
        self._kind = self._style = ""
        self._formula = self._reading = False
        self._phonetic = 0
        self._value: list[str] = []
        self._row_chars = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if ":" in name:
            name = local(name)
        if name == "c":
            letters = attributes.get("r", "").rstrip("0123456789")
            self._column = COLUMNS[letters] if letters else self._column + 1
            self._kind, self._style = attributes.get("t", "n"), attributes.get("s", "")
            self._formula = False
            self._value.clear()
        elif name in ("v", "t"):
            self._reading = not self._phonetic
        elif name == "f":
            self._formula = True
        elif name == "rPh":
            self._phonetic += 1
        elif name == "row":
            self._number = self._grid.enter_row(self._row_number(attributes.get("r", "")))
            self._cells = {}
            self._column = self._row_chars = 0

    def _row_number(self, given: str) -> int:
        """A row without a number follows the one before it, as the format says."""
        if not given:
            return self._grid.row + 1
        return int(given) if given.isdecimal() and len(given) < 10 else 0

    def characters(self, data: str) -> None:
        if self._reading:
            self._value.append(data)
            self._row_chars += len(data)
            if self._row_chars > self._limits.max_row_bytes:
                raise too_large("characters in one row", self._limits.max_row_bytes)

    def end(self, name: str) -> None:
        if ":" in name:
            name = local(name)
        if name in ("v", "t"):
            self._reading = False
        elif name == "c":
            self._end_cell()
        elif name == "rPh":
            self._phonetic -= 1
        elif name == "row":
            self.rows.append((self._number, self._cells))
            self._cells = {}  # what stands outside of rows belongs to none

    def _end_cell(self) -> None:
        self._grid.count_cells(1)
        if self._column > LAST_COLUMN:
            raise corrupt("a cell lies beyond Excel's last column")
        raw = "".join(self._value)
        self._value.clear()
        if raw or self._formula:
            self._cells[self._column] = self._maker.make(self._kind, self._style, raw, self._formula)
