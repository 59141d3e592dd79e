"""What a cell says: the face that Excel shows, as NFC text."""

from datetime import date, time
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from tests.sheet_factories import inline, parts, sheet_xml, text_sheet, text_xml, write_parts
from worker_client.formats import Record, RowFault, SheetRefused, read_records

TEXT = "text_classification"


def read(path: Path, **asked: Any) -> list[Record | RowFault]:
    return list(read_records(path, **{"task_type": TEXT, "sheet": None, "columns": {}, **asked}))


def label_of(path: Path, value: Any, number_format: str = "General") -> Record:
    """The record of a row whose label cell holds `value` in that number format."""
    book = openpyxl.Workbook()
    book.active.append(["text", "label"])
    book.active.append(["um texto", value])
    book.active["B2"].number_format = number_format
    book.save(path)
    (record,) = read(path)
    assert isinstance(record, Record)
    return record


@pytest.mark.parametrize(
    ("value", "number_format", "shown"),
    [
        (1, "General", "1"),
        (1.0, "General", "1"),
        (-3, "General", "-3"),
        (0.1 + 0.2, "General", "0.3"),
        (1.5, "General", "1.5"),
        (123456789012345, "General", "123456789012345"),
        (1.045e19, "General", "1.045E+19"),
        (7, "000", "007"),
        (1, "0.00", "1.00"),
        (0.5, "0%", "50%"),
        (2.5, "0", "3"),
        (True, "General", "TRUE"),
        (False, "General", "FALSE"),
        ("NA", "General", "NA"),
        ("null", "General", "null"),
        ("007", "@", "007"),
        ("1.0", "General", "1.0"),
    ],
)
def test_a_label_keeps_the_face_that_excel_shows(tmp_path: Path, value: Any, number_format: str, shown: str) -> None:
    record = label_of(tmp_path / "a.xlsx", value, number_format)
    assert (record.label, record.dates) == (shown, 0)


@pytest.mark.parametrize(
    ("value", "number_format", "shown"),
    [
        (date(2024, 2, 29), "dd/mm/yyyy", "2024-02-29"),
        (45351.545219907405, "dd/mm/yyyy hh:mm:ss", "2024-02-29T13:05:07"),
        (45351, "yyyy-mm-dd hh:mm:ss", "2024-02-29"),
        (time(13, 5), "hh:mm", "13:05:00"),
        (1.5, "[h]:mm:ss", "36:00:00"),
        (59, "d/m/yyyy", "1900-02-28"),
        (45000, '[$-416]d" de "mmmm" de "yyyy;@', "2023-03-15"),
        (45000, "mmm-yy", "2023-03-15"),
    ],
)
def test_a_date_becomes_iso_text_and_is_noted(tmp_path: Path, value: Any, number_format: str, shown: str) -> None:
    record = label_of(tmp_path / "a.xlsx", value, number_format)
    assert (record.label, record.dates) == (shown, 1)


@pytest.mark.parametrize("number_format", ['"dia" 0', "[Red]0.0", "#,##0", "General", "0.00E+00"])
def test_letters_of_dates_inside_quotes_or_colours_make_no_date(tmp_path: Path, number_format: str) -> None:
    assert label_of(tmp_path / "a.xlsx", 45000, number_format).dates == 0


def test_dates_of_a_workbook_counted_from_1904_are_right(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904
    book.active.append(["text", "label"])
    book.active.append(["um texto", date(2024, 2, 29)])
    book.save(tmp_path / "a.xlsx")
    (record,) = read(tmp_path / "a.xlsx")
    assert isinstance(record, Record)
    assert record.label == "2024-02-29"


def test_texts_and_labels_are_trimmed_and_composed(tmp_path: Path) -> None:
    path = text_sheet(tmp_path / "a.xlsx", [("\u00a0 peti\u0063\u0327a\u0303o \n", " decisa\u0303o ")])
    assert read(path) == [Record(2, "petição", "decisão")]


def test_what_stands_inside_a_text_is_not_changed(tmp_path: Path) -> None:
    text = 'a  b\t"c" <d> & e\n\n\u200bf \u2014 \U0001f600 ~ ½ ﬁ'
    assert read(text_sheet(tmp_path / "a.xlsx", [(text, "x")])) == [Record(2, text, "x")]


def test_a_formula_counts_by_its_cached_value_and_is_noted(tmp_path: Path) -> None:
    cells = inline("A4", "terceiro") + '<c r="B4" t="str"><f>UPPER("x")</f><v>X</v></c>'
    path = write_parts(tmp_path / "a.xlsx", parts(text_xml(cells)))
    assert read(path)[-1] == Record(4, "terceiro", "X", formulas=1)


def test_a_formula_whose_result_was_never_saved_is_an_empty_cell_that_says_so(tmp_path: Path) -> None:
    path = text_sheet(tmp_path / "a.xlsx", [("texto", "a"), ("outro", '=UPPER("x")')])
    fault = read(path)[-1]
    assert fault == RowFault(3, "B", "empty_label", {"header": "label", "formula": True}, "")


def test_a_row_of_nothing_but_unsaved_formulas_is_not_skipped_as_blank(tmp_path: Path) -> None:
    path = text_sheet(tmp_path / "a.xlsx", [("texto", "a"), ("=A2", "=B2")])
    assert [fault.code for fault in read(path) if isinstance(fault, RowFault)] == ["empty_text", "empty_label"]


def test_an_error_cell_is_a_fault_and_never_a_class(tmp_path: Path) -> None:
    cells = inline("A4", "terceiro") + '<c r="B4" t="e"><v>#DIV/0!</v></c>'
    fault = read(write_parts(tmp_path / "a.xlsx", parts(text_xml(cells))))[-1]
    assert fault == RowFault(4, "B", "error_cell", {"error": "#DIV/0!", "header": "label"}, "#DIV/0!")


def test_an_error_in_a_column_that_nothing_uses_is_ignored(tmp_path: Path) -> None:
    cells = inline("A4", "terceiro") + inline("B4", "x") + '<c r="C4" t="e"><v>#N/A</v></c>'
    assert read(write_parts(tmp_path / "a.xlsx", parts(text_xml(cells))))[-1] == Record(4, "terceiro", "x")


@pytest.mark.parametrize("blank", ["   ", "\u00a0", "\u200b", "\ufeff \u00ad\n"])
def test_a_text_without_anything_to_see_is_empty(tmp_path: Path, blank: str) -> None:
    path = write_parts(tmp_path / "a.xlsx", parts(text_xml(inline("A4", blank) + inline("B4", "x"))))
    assert read(path)[-1] == RowFault(4, "A", "empty_text", {"header": "text"}, "")


def test_fully_blank_rows_are_skipped_and_row_numbers_stay_those_of_the_sheet(tmp_path: Path) -> None:
    path = text_sheet(tmp_path / "a.xlsx", [("um", "a"), (None, None), ("  ", "\u00a0"), ("dois", "b")])
    assert [record.row for record in read(path)] == [2, 5]


def test_a_row_with_a_value_only_in_an_extra_column_is_not_blank(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in [["text", "label", "nota"], ["um", "a", ""], [None, None, "falta"]]:
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    assert [fault.code for fault in read(tmp_path / "a.xlsx")[1:]] == ["empty_text", "empty_label"]  # type: ignore[union-attr]


def test_notes_beside_the_table_are_ignored(tmp_path: Path) -> None:
    path = write_parts(tmp_path / "a.xlsx", parts(text_xml(inline("H4", "feito por Ana"))))
    assert len(read(path)) == 2


def test_rich_text_and_phonetic_hints_give_the_plain_text(tmp_path: Path) -> None:
    strings = (
        "<si><r><rPr><b/></rPr><t>negr</t></r><r><t>ito</t></r><rPh sb='0' eb='1'><t>XX</t></rPh></si><si><t>x</t></si>"
    )
    cells = '<c r="A4" t="s"><v>0</v></c><c r="B4" t="s"><v>1</v></c>'
    path = write_parts(tmp_path / "a.xlsx", parts(text_xml(cells), strings=strings))
    assert read(path)[-1] == Record(4, "negrito", "x")


def test_the_escapes_of_excel_are_undone_for_characters_that_text_may_hold(tmp_path: Path) -> None:
    cells = inline("A4", "a_x000D_b_x005F_x0041_ _x0000_ _xD800_") + inline("B4", "x")
    record = read(write_parts(tmp_path / "a.xlsx", parts(text_xml(cells))))[-1]
    assert isinstance(record, Record)
    assert record.text == "a\rb_x0041_ _x0000_ _xD800_"


def test_cells_and_rows_without_addresses_follow_one_another(tmp_path: Path) -> None:
    def row(*texts: str) -> str:
        return "<row>" + "".join(f'<c t="inlineStr"><is><t>{text}</t></is></c>' for text in texts) + "</row>"

    xml = sheet_xml({}).replace("<sheetData>", "<sheetData>" + row("text", "label") + row("um", "a") + row("dois", "b"))
    assert read(write_parts(tmp_path / "a.xlsx", parts(xml))) == [Record(2, "um", "a"), Record(3, "dois", "b")]


def test_prefixed_namespaces_and_another_encoding_read_the_same(tmp_path: Path) -> None:
    plain = text_xml(inline("A4", "ação & <b>") + inline("B4", "x"))
    expected = read(write_parts(tmp_path / "plain.xlsx", parts(plain)))
    prefixed = plain.replace("</", "</x:").replace("<", "<x:").replace("<x:/x:", "</x:").replace("<x:?", "<?")
    prefixed = prefixed.replace("xmlns=", "xmlns:x=")
    assert read(write_parts(tmp_path / "prefixed.xlsx", parts(prefixed))) == expected
    wide = plain.replace("UTF-8", "UTF-16").encode("utf-16")
    assert read(write_parts(tmp_path / "wide.xlsx", parts(wide))) == expected


def test_comments_and_cdata_hide_nothing_and_add_nothing(tmp_path: Path) -> None:
    odd = '<c r="A4" t="inlineStr"><is><t><![CDATA[</row></sheetData> a & b]]></t></is></c>' + inline("B4", "x")
    xml = text_xml(odd, inline("A5", "fim") + inline("B5", "y")).replace(
        '<row r="3">', '<!-- </row></sheetData> --><row r="3">'
    )
    records = read(write_parts(tmp_path / "a.xlsx", parts(xml)))
    assert [(r.row, r.text) for r in records if isinstance(r, Record)][2:] == [
        (4, "</row></sheetData> a & b"),
        (5, "fim"),
    ]
    assert len(records) == 4


def test_an_unknown_task_is_a_programming_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="task_type"):
        read(text_sheet(tmp_path / "a.xlsx"), task_type="regression")


def test_a_number_cell_without_a_number_refuses_the_file(tmp_path: Path) -> None:
    cells = inline("A4", "terceiro") + '<c r="B4"><v>1_000</v></c>'
    with pytest.raises(SheetRefused) as caught:
        read(write_parts(tmp_path / "a.xlsx", parts(text_xml(cells))))
    assert caught.value.code == "corrupt"
