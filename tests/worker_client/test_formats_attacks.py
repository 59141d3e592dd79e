"""Files that want to hurt: each ends in SheetRefused with the right code, whatever it declares about itself."""

import random
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from tests.sheet_factories import DECLARATION, inline, parts, sheet_xml, text_sheet, text_xml, write_parts
from worker_client.formats import Limits, SheetRefused, read_records

SHEET = "xl/worksheets/sheet1.xml"


def read_all(path: Path, limits: Limits | None = None) -> int:
    reader = read_records(path, task_type="text_classification", sheet=None, columns={}, limits=limits or Limits())
    return sum(1 for _ in reader)


def code_of(path: Path, limits: Limits | None = None) -> str:
    with pytest.raises(SheetRefused) as caught:
        read_all(path, limits)
    return caught.value.code


DTD = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "part",
    [SHEET, "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "_rels/.rels", "xl/sharedStrings.xml", "xl/styles.xml"],
)
def test_a_document_type_is_refused_in_every_part_that_is_read(tmp_path: Path, part: str) -> None:
    made = parts(text_xml(), strings="<si><t>x</t></si>", styles="<cellXfs><xf numFmtId='0'/></cellXfs>")
    made[part] = str(made[part]).replace(DECLARATION, DECLARATION + DTD)
    assert code_of(write_parts(tmp_path / "a.xlsx", made)) == "unsafe_xml"


def test_a_document_type_in_utf_16_is_refused_too(tmp_path: Path) -> None:
    made = parts(text_xml().replace(DECLARATION, DECLARATION.replace("UTF-8", "UTF-16") + DTD).encode("utf-16"))
    assert code_of(write_parts(tmp_path / "a.xlsx", made)) == "unsafe_xml"


def test_a_sheet_that_unpacks_beyond_the_cap_is_refused(tmp_path: Path) -> None:
    path = write_parts(tmp_path / "a.xlsx", parts(text_xml(inline("A4", "x" * 30_000) + inline("B4", "y"))))
    assert code_of(path, Limits(max_inflated_bytes=20_000)) == "too_large"


def lie_about_size(path: Path, name: str) -> None:
    """Write 10 as the unpacked size of an entry into the zip's directory."""
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    while at >= 0:
        length = struct.unpack_from("<H", data, at + 28)[0]
        if data[at + 46 : at + 46 + length] == name.encode():
            struct.pack_into("<L", data, at + 24, 10)
        at = data.find(b"PK\x01\x02", at + 4)
    path.write_bytes(data)


def test_the_cap_counts_what_unpacks_and_not_what_is_declared(tmp_path: Path) -> None:
    path = write_parts(tmp_path / "a.xlsx", parts(text_xml(inline("A4", "x" * 30_000) + inline("B4", "y"))))
    lie_about_size(path, SHEET)
    assert code_of(path, Limits(max_inflated_bytes=20_000)) == "too_large"


@pytest.mark.parametrize(
    "filler",
    [
        "<row r='9'>" + " " * (64 << 20) + "</row>",
        "<!--" + "x" * (64 << 20) + "-->",
        "<row r='9' x='" + "y" * (64 << 20) + "'/>",
    ],
    ids=["blanks", "comment", "attribute"],
)
def test_long_nonsense_costs_little_memory(tmp_path: Path, filler: str) -> None:
    xml = text_xml().replace("</sheetData>", filler + "</sheetData>")
    path = write_parts(tmp_path / "a.xlsx", parts(xml))
    del xml, filler
    tracemalloc.start()
    try:
        read_all(path)
    except SheetRefused as refused:
        assert refused.code in ("corrupt", "too_large")
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 64 << 20


def test_a_cell_beyond_the_cap_of_characters_is_refused_in_both_kinds_of_strings(tmp_path: Path) -> None:
    long = "x" * 32_768
    inlined = write_parts(tmp_path / "a.xlsx", parts(text_xml(inline("A4", long) + inline("B4", "y"))))
    shared = write_parts(
        tmp_path / "b.xlsx", parts(text_xml('<c r="A4" t="s"><v>0</v></c>'), strings=f"<si><t>{long}</t></si>")
    )
    assert [code_of(inlined), code_of(shared)] == ["too_large", "too_large"]


def test_too_many_rows_are_refused_and_just_enough_are_not(tmp_path: Path) -> None:
    path = text_sheet(tmp_path / "a.xlsx", [(f"texto {i}", "a") for i in range(11)])
    assert read_all(path, Limits(max_rows=11)) == 11
    assert code_of(path, Limits(max_rows=10)) == "too_many_rows"


def test_too_many_cells_texts_and_entries_are_refused(tmp_path: Path) -> None:
    path = text_sheet(tmp_path / "a.xlsx")
    assert code_of(path, Limits(max_cells=7)) == "too_large"
    shared = write_parts(tmp_path / "b.xlsx", parts(text_xml(), strings="<si><t>x</t></si>" * 4))
    assert code_of(shared, Limits(max_strings=3)) == "too_large"
    assert code_of(path, Limits(max_entries=3)) == "too_large"
    assert code_of(path, Limits(max_file_bytes=100)) == "too_large"


def test_a_far_cell_costs_nothing(tmp_path: Path) -> None:
    rows = {1: inline("A1", "text") + inline("B1", "label"), 1048576: inline("XFD1048576", "x")}
    assert read_all(write_parts(tmp_path / "a.xlsx", parts(sheet_xml(rows)))) == 0


@pytest.mark.parametrize(
    "cells",
    [
        '<c r="XFE4"><v>1</v></c>',
        '<c r="AAAA4"><v>1</v></c>',
        '<c r="Á4"><v>1</v></c>',
        '<c r="A4" t="s"><v>99</v></c>',
        '<c r="A4" t="s"><v>-1</v></c>',
        '<c r="A4" t="s"><v>x</v></c>',
        '<c r="A4" t="s"><v>99999999999999999999</v></c>',
        '<c r="A4"><v>nan</v></c>',
    ],
)
def test_an_impossible_cell_refuses_the_file_as_damaged(tmp_path: Path, cells: str) -> None:
    assert code_of(write_parts(tmp_path / "a.xlsx", parts(text_xml(cells)))) == "corrupt"


@pytest.mark.parametrize("number", ["3", "2", "0", "1048577", "-5", "x", "99999999999999999999"])
def test_rows_out_of_order_or_range_refuse_the_file(tmp_path: Path, number: str) -> None:
    xml = text_xml(inline("A4", "x") + inline("B4", "y")).replace('<row r="4">', f'<row r="{number}">')
    assert code_of(write_parts(tmp_path / "a.xlsx", parts(xml))) == "corrupt"


@pytest.mark.parametrize("bad", ["&nbsp;", "&", "<b>", "]]>", "\x01", "\x00"])
def test_markup_that_is_not_well_formed_is_refused_wherever_it_stands(tmp_path: Path, bad: str) -> None:
    xml = text_xml(inline("A4", "MARK") + inline("B4", "y")).replace("MARK", bad)
    assert code_of(write_parts(tmp_path / "a.xlsx", parts(xml))) == "corrupt"


def test_bytes_that_are_no_utf_8_are_refused(tmp_path: Path) -> None:
    xml = text_xml(inline("A4", "MARK") + inline("B4", "y")).encode().replace(b"MARK", b"a\xe7\xe3o")
    assert code_of(write_parts(tmp_path / "a.xlsx", parts(xml))) == "corrupt"


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts(text_xml(inline("A4", "abcdef") + inline("B4", "y"))).items():
            archive.writestr(name, content)
    path.write_bytes(path.read_bytes().replace(b"abcdef", b"abcdeg"))
    assert code_of(path) == "corrupt"


def test_an_entry_with_a_password_is_encrypted(tmp_path: Path) -> None:
    path = text_sheet(tmp_path / "a.xlsx")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert code_of(path) == "encrypted"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "empty"),
        (b"text;label\n", "text"),
        (b"%PDF-1.7", "pdf"),
        (b"\n <table>", "html"),
        (b"\x00\x01", "unknown"),
    ],
)
def test_other_files_are_told_apart(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(content)
    with pytest.raises(SheetRefused) as caught:
        read_all(path)
    assert (caught.value.code, caught.value.params["kind"]) == ("not_xlsx", kind)


@pytest.mark.parametrize(
    ("extra", "kind"),
    [("word/document.xml", "docx"), ("xl/workbook.bin", "xlsb"), ("xl/vbaProject.bin", "xlsm")],
)
def test_other_office_files_are_told_apart(tmp_path: Path, extra: str, kind: str) -> None:
    with pytest.raises(SheetRefused) as caught:
        read_all(write_parts(tmp_path / "a.xlsx", parts(text_xml()) | {extra: "x"}))
    assert (caught.value.code, caught.value.params["kind"]) == ("not_xlsx", kind)


def test_links_out_of_the_file_are_not_followed(tmp_path: Path) -> None:
    made = parts(text_xml())
    name = "xl/_rels/workbook.xml.rels"
    made[name] = (
        str(made[name])
        .replace("worksheets/sheet1.xml", "http://127.0.0.1:9/x.xml")
        .replace("/>", ' TargetMode="External"/>')
    )
    assert code_of(write_parts(tmp_path / "a.xlsx", made)) == "sheet_not_found"


@pytest.mark.parametrize("seed", range(150))
def test_damaged_files_raise_nothing_but_sheet_refused(tmp_path: Path, seed: int) -> None:
    """A few bytes changed, or the end cut off; half of the cases with stored parts, so that the XML itself is hit."""
    rng = random.Random(seed)
    made = parts(
        text_xml('<c r="A4" t="s"><v>0</v></c><c r="B4" s="0"><v>45000</v></c>'),
        strings="<si><t>negrito &amp; x</t></si>",
        styles="<cellXfs><xf numFmtId='14'/></cellXfs>",
    )
    path = tmp_path / "a.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if seed % 2 else zipfile.ZIP_DEFLATED) as archive:
        for name, content in made.items():
            archive.writestr(name, content)
    data = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 6)):
        data[rng.randrange(len(data))] = rng.choice(b'\x00\xff<>&"/09PK')
    path.write_bytes(data[: rng.randrange(len(data))] if seed % 5 == 0 else data)
    try:
        read_all(path)
    except SheetRefused as refused:
        assert refused.code
