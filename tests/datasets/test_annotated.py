"""The marked copy of a faulty sheet."""

import io
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from datasets_app import annotated
from datasets_app.annotating import annotate_sheet
from datasets_app.downloads import XLSX_TYPE
from datasets_app.services import DatasetInvalid, SheetChoice, check_dataset
from tests.factories import CLASSIFICATION_ROWS, TOKEN_ROWS, sheet_bytes
from tests.sheet_factories import inline, parts, sheet_xml, write_parts
from worker_client.formats import Limits, read_records

FAULTY = [*CLASSIFICATION_ROWS, ("", "provido"), ("Sem rótulo", ""), ("#N/A", "negado")]


def marked(content: bytes, **choice: Any) -> openpyxl.Workbook:
    copy, _name = annotate_sheet(file=ContentFile(content), filename="decisões.xlsx", choice=SheetChoice(**choice))
    return openpyxl.load_workbook(io.BytesIO(copy))


def written(path: Path, target: Path, sheet: str = "dados") -> openpyxl.Workbook:
    words = dict.fromkeys(("sheet", "row", "column", "code", "message", "value", "note"), "x")
    annotated.write_annotated(path, target, sheet, [], {**words, "title": "Erros"}, Limits())
    return openpyxl.load_workbook(target)


def test_faulty_cells_are_coloured_and_say_what_is_wrong() -> None:
    page = marked(sheet_bytes(FAULTY))["Sheet"]
    coloured = {cell.coordinate for row in page for cell in row if cell.fill.fgColor.rgb == annotated.FAULT_FILL}
    assert coloured == {"A6", "B7", "A8"}
    assert page["A6"].comment.text == "Linha 6, coluna A: texto vazio. Preencha ou apague a linha."
    assert page["A2"].comment is None


def test_the_last_sheet_lists_every_error() -> None:
    book = marked(sheet_bytes(FAULTY))
    assert book.sheetnames == ["Sheet", "Erros"]
    rows = [[cell.value for cell in row] for row in book["Erros"]]
    assert rows[0] == ["Aba", "Linha", "Coluna", "Código", "O que há de errado", "Valor"]
    assert rows[1][:4] == ["Sheet", 6, "A", "empty_text"]
    assert [row[1] for row in rows[1:]] == [6, 7, 8]


def test_the_copy_has_the_same_errors_as_the_original() -> None:
    copy, _name = annotate_sheet(file=ContentFile(sheet_bytes(FAULTY)), filename="a.xlsx", choice=SheetChoice())
    with pytest.raises(DatasetInvalid) as refused:
        check_dataset(file=ContentFile(copy), choice=SheetChoice())
    assert [(error["row"], error["code"]) for error in refused.value.errors] == [
        (6, "empty_text"),
        (7, "empty_label"),
        (8, "error_cell"),
    ]


def test_a_sheet_of_tokens_is_marked_at_its_tags() -> None:
    page = marked(sheet_bytes([*TOKEN_ROWS, ("Em Campo Grande", "O I-LOCAL")], header=("tokens", "tags")))["Sheet"]
    assert "3 tokens e 2 etiquetas" in page["B4"].comment.text


@pytest.mark.parametrize("text", ["=1+1", "+55", "-1", "@SUM(A1)", "=HYPERLINK('http://x','y')"])
def test_a_text_that_looks_like_a_formula_stays_text(text: str, tmp_path: Path) -> None:
    cells = {1: inline("A1", "text") + inline("B1", "label"), 2: inline("A2", text) + inline("B2", "sim")}
    path = write_parts(tmp_path / "a.xlsx", parts(sheet_xml(cells)))
    cell = written(path, tmp_path / "b.xlsx")["dados"]["A2"]
    assert (cell.value, cell.data_type, cell.quotePrefix) == (text, "s", True)


def test_a_text_that_looks_like_an_escape_is_kept(tmp_path: Path) -> None:
    row = inline("A2", "a_x0001_b _x005F_x0041_") + inline("B2", "x")
    cells = {1: inline("A1", "text") + inline("B1", "label"), 2: row}
    path = write_parts(tmp_path / "a.xlsx", parts(sheet_xml(cells)))
    written(path, tmp_path / "b.xlsx")
    records = read_records(
        tmp_path / "b.xlsx", task_type="text_classification", sheet="dados", columns={"text": "text", "label": "label"}
    )
    assert [record.text for record in records] == ["a_x0001_b _x0041_"]


def test_a_long_sheet_comes_back_as_the_list_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(sheet_bytes())
    assert written(path, tmp_path / "b.xlsx", "Sheet").sheetnames == ["Sheet", "Erros"]
    monkeypatch.setattr(annotated, "MAX_COPY_ROWS", 3)
    assert written(path, tmp_path / "b.xlsx", "Sheet").sheetnames == ["Erros"]


def test_a_cell_far_away_does_not_blow_the_copy_up(tmp_path: Path) -> None:
    cells = {1: inline("A1", "text") + inline("B1", "label")}
    cells |= {row: inline(f"XFD{row}", "x") for row in range(2, 40)}
    path = write_parts(tmp_path / "a.xlsx", parts(sheet_xml(cells)))
    assert written(path, tmp_path / "b.xlsx").sheetnames == ["Erros"]


def test_a_name_that_excel_would_not_take_is_changed(tmp_path: Path) -> None:
    made = parts(sheet_xml({1: inline("A1", "text"), 2: inline("A2", "x")}))
    made["xl/workbook.xml"] = str(made["xl/workbook.xml"]).replace("dados", "a/b:" + "c" * 40)
    path = write_parts(tmp_path / "a.xlsx", made)
    assert written(path, tmp_path / "b.xlsx", "a/b:" + "c" * 40).sheetnames == ["a_b_" + "c" * 27, "Erros"]


def test_a_sheet_called_errors_does_not_hide_the_list() -> None:
    book = openpyxl.load_workbook(io.BytesIO(sheet_bytes(FAULTY)))
    book.active.title = "erros"
    content = io.BytesIO()
    book.save(content)
    assert marked(content.getvalue()).sheetnames == ["erros", "Erros 2"]


@pytest.mark.django_db
def test_the_api_sends_the_marked_copy(api: APIClient) -> None:
    file = SimpleUploadedFile("minha.xlsx", sheet_bytes(FAULTY))
    answer = api.post("/bert-training/api/datasets/annotate", {"file": file}, HTTP_ACCEPT=XLSX_TYPE)
    assert (answer.status_code, answer["Content-Disposition"]) == (200, 'attachment; filename="minha-erros.xlsx"')
    book = openpyxl.load_workbook(io.BytesIO(answer.content))
    assert book.sheetnames == ["Sheet", "Erros"]


@pytest.mark.django_db
def test_a_file_that_is_no_sheet_is_refused_as_in_validation(api: APIClient) -> None:
    answer = api.post("/bert-training/api/datasets/annotate", {"file": SimpleUploadedFile("a.xlsx", b"nada")})
    assert (answer.status_code, answer.json()["code"]) == (422, "not_xlsx")


@pytest.mark.django_db
def test_a_sheet_without_errors_comes_back_unmarked() -> None:
    book = marked(sheet_bytes())
    assert book["Erros"]["A1"].value == "Nenhum erro foi encontrado nesta planilha."


def test_a_control_character_does_not_break_the_copy() -> None:
    assert annotated.escaped("a\x01b") == "a_x0001_b"
