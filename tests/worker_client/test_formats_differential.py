"""The reader against others: openpyxl and calamine agree with it, and so do its two ways through the XML."""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import worker_client.formats.rows
import worker_client.formats.strings
from tests.sheet_factories import inline, parts, sheet_xml, write_parts
from worker_client.formats import Limits
from worker_client.formats.cells import CellMaker, OddCell, Row
from worker_client.formats.container import Package
from worker_client.formats.plain import Irregular
from worker_client.formats.rows import read_rows
from worker_client.formats.strings import load_strings
from worker_client.formats.workbook import read_workbook

SAMPLES = Path(__file__).parent.parent / "data" / "nasty"
CALAMINE = """
import json, sys, python_calamine
for path in json.load(sys.stdin):
    rows = python_calamine.CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python(skip_empty_area=False)
    print(json.dumps([[value if value != "" else None for value in row] for row in rows], default=str))
"""

# What XML 1.0 may hold, less the carriage return that XML itself turns into a line feed.
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), include_characters="\t\n\x85"),
    min_size=1,
    max_size=60,
).filter(lambda text: "_x" not in text and "\ufffe" not in text and "\uffff" not in text and text.strip(" \t\n"))
NUMBERS = st.integers(-(10**14), 10**14) | st.floats(-1e10, 1e10, allow_nan=False).map(lambda x: float(f"{x:.10g}"))
VALUES = st.none() | TEXTS.filter(lambda text: not text.startswith("=")) | NUMBERS | st.booleans()
TABLES = st.lists(st.lists(VALUES, min_size=1, max_size=4), min_size=1, max_size=12)


def cells_of(path: Path) -> list[Row]:
    """Every non-empty row of the first sheet as the reader sees it."""
    with path.open("rb") as stream:
        package = Package(stream, Limits())
        workbook = read_workbook(package)
        strings = load_strings(package, workbook.strings, Limits())
        maker = CellMaker(strings, workbook.faces, workbook.date1904, Limits())
        return [row for row in read_rows(package, workbook.sheets[0].part, maker, Limits()) if row[1]]


def shown(value: Any) -> str:
    """A value of another reader as the face that Excel shows."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        face = f"{value:.15g}".upper()
        return "0" if face == "-0" else face
    return str(value)


def by_openpyxl(path: Path) -> list[Row]:
    sheet = openpyxl.load_workbook(path, data_only=True).worksheets[0]
    rows = [
        (row[0].row, {cell.column: shown(cell.value) for cell in row if cell.value is not None})
        for row in sheet.iter_rows()
    ]
    return [row for row in rows if row[1]]


def by_expat(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    def refuse(*_: object) -> Any:
        raise Irregular

    with monkeypatch.context() as patched:
        patched.setattr(worker_client.formats.rows, "bodies", refuse)
        patched.setattr(worker_client.formats.strings, "bodies", refuse)
        return cells_of(path)


def saved(table: list[list[Any]], path: Path) -> Path:
    book = openpyxl.Workbook()
    for number, row in enumerate(table, start=1):
        for column, value in enumerate(row, start=1):
            book.active.cell(number, column, value)
    book.save(path)
    return path


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=TABLES)
def test_any_table_written_by_openpyxl_reads_back_as_openpyxl_reads_it(
    table: list[list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with TemporaryDirectory() as folder:
        path = saved(table, Path(folder) / "a.xlsx")
        ours = cells_of(path)
        assert ours == by_openpyxl(path)
        assert ours == by_expat(path, monkeypatch)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=st.lists(st.lists(TEXTS, min_size=1, max_size=3), min_size=1, max_size=8))
def test_any_table_of_inline_strings_reads_back_identical(
    table: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {
        n: "".join(inline(f"{'ABC'[c]}{n}", text) for c, text in enumerate(row)) for n, row in enumerate(table, start=1)
    }
    with TemporaryDirectory() as folder:
        path = write_parts(Path(folder) / "a.xlsx", parts(sheet_xml(rows)))
        expected = [(n, dict(enumerate(row, start=1))) for n, row in enumerate(table, start=1)]
        assert cells_of(path) == expected
        assert by_expat(path, monkeypatch) == expected


# Pieces of sheet XML, plain and odd, of which some combinations are not even well formed.
PIECES = st.sampled_from(
    [
        '<row r="N"><c r="AN" t="s"><v>0</v></c><c r="BN" s="1" t="s"><v>1</v></c></row>',
        '<row r="N"><c r="AN" t="inlineStr"><is><t>a &amp; b</t></is></c></row>',
        '<row r="N" spans="1:2"><c r="AN"/></row>',
        '<row r="N"><c r="AN" t="s"><v>0</v></c><c r="BN" t="s"><v>7</v></c></row>',
        '<row r="N">', "<row>", "</row>", '<row r="N"/>',
        '<c r="A1" t="s"><v>0</v></c>', '<c r="B1" t="s"><v>1</v></c>',
        '<c r="B1"><v>12</v></c>', '<c r="C1" s="1"><v>45000</v></c>', '<c r="D1"/>', '<c r="E1" t="b"><v>1</v></c>',
        '<c r="A1" t="inlineStr"><is><t>a &amp; b</t></is></c>', '<c r="A1" t="inlineStr"><is><r><t>x</t></r></is></c>',
        '<c r="A1" t="str"><f>B1</f><v>ç</v></c>', '<c r="A1"><f>B1</f></c>', "<!-- </row> -->", "<![CDATA[</row>]]>",
        "\n", "text", "&#10;", "&lt;", "\r\n", "]]>", "</sheetData>", "<v>1</v>",
        '<c r="A1" t="inlineStr"><is><t/></is></c>',
    ]
)  # fmt: skip


def outcome(read: Any) -> Any:
    try:
        return read()
    except worker_client.formats.SheetRefused as refused:
        return refused.code


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(PIECES, max_size=14))
def test_the_plain_way_and_expat_agree_on_any_mixture_of_tags(
    pieces: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    xml = sheet_xml({}).replace(
        "<sheetData></sheetData>",
        "<sheetData>" + "".join(piece.replace("N", str(n)) for n, piece in enumerate(pieces, start=1)) + "</sheetData>",
    )
    made = parts(
        xml,
        strings="<si><t>zero</t></si><si><t>um &lt; dois</t></si>",
        styles="<cellXfs><xf/><xf numFmtId='14'/></cellXfs>",
    )
    with TemporaryDirectory() as folder:
        path = write_parts(Path(folder) / "a.xlsx", made)
        assert outcome(lambda: cells_of(path)) == outcome(lambda: by_expat(path, monkeypatch))


FILES = [
    "ok_libreoffice.xlsx",
    "ok_rotulo_numerico.xlsx",
    "ner_lista_python.xlsx",
    "ok_sem_sharedstrings.xlsx",
    "ok_caracteres_especiais.xlsx",
]


@pytest.mark.parametrize("name", FILES)
def test_real_files_read_as_openpyxl_reads_them(name: str) -> None:
    assert cells_of(SAMPLES / name) == by_openpyxl(SAMPLES / name)


def test_real_files_read_as_calamine_reads_them() -> None:
    """Calamine runs in a child: it ends its process on hostile files."""
    paths = [str(SAMPLES / name) for name in FILES]
    done = subprocess.run(
        [sys.executable, "-c", CALAMINE], input=json.dumps(paths), capture_output=True, text=True, check=True
    )
    for path, line in zip(paths, done.stdout.splitlines(), strict=True):
        theirs = [
            (n, {c: shown(value) for c, value in enumerate(row, start=1) if value is not None})
            for n, row in enumerate(json.loads(line), start=1)
        ]
        assert cells_of(Path(path)) == [row for row in theirs if row[1]], path


def test_dates_are_read_as_openpyxl_reads_them(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for n, serial in enumerate([1, 59, 61, 366, 25569, 45351.75, 73050.25], start=1):
        book.active.cell(n, 1, serial).number_format = "yyyy-mm-dd hh:mm:ss"
    book.save(tmp_path / "a.xlsx")
    theirs = [row[0].value for row in openpyxl.load_workbook(tmp_path / "a.xlsx").active.iter_rows()]
    ours = [cells[1] for _, cells in cells_of(tmp_path / "a.xlsx")]
    assert ours == [
        OddCell(value.replace(microsecond=0).isoformat().removesuffix("T00:00:00"), "date") for value in theirs
    ]
