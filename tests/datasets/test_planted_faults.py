"""Twenty kinds of fault planted in two sheets: each is found at its row, under its code."""

import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from datasets_app.validation import DatasetReport, check_sheet
from tests.worker_client.test_formats_identifiers import cnj
from tests.worker_client.test_formats_likeness import random_texts
from worker_client.formats import SheetRefused, SheetRequest

HEADER_ROW = 3
TEXTS = random_texts(60, words=20, seed=8)
LONG = "palavra " * 3_000


def numbered(rows: list[tuple[Any, ...]]) -> dict[int, tuple[Any, ...]]:
    return dict(enumerate(rows, start=HEADER_ROW + 1))


def save(path: Path, header: tuple[str, ...], rows: dict[int, tuple[Any, ...]], merged: str = "") -> Path:
    """The header in row 3 below two blank ones, after a hidden sheet that would match too."""
    book = openpyxl.Workbook()
    book.active.title = "rascunho"
    book.active.append(header)
    book.active.append(("oculto", "oculto"))
    book.active.sheet_state = "hidden"
    sheet = book.create_sheet("dados")
    for column, name in enumerate(header, start=1):
        sheet.cell(HEADER_ROW, column, name)
    for number, row in rows.items():
        for column, value in enumerate(row, start=1):
            sheet.cell(number, column, value)
    if merged:
        sheet.merge_cells(merged)
    book.active = 1
    book.save(path)
    return path


CLEAN = [(text, "sim" if n % 2 else "não", "") for n, text in enumerate(TEXTS[:40])]  # rows 4 to 43
PLANTED: list[tuple[Any, ...]] = [
    (None, "sim", ""),  # 44 blank
    ("\u00a0 \u00a0", "sim", ""),  # 45 blank by NBSP
    ("#REF!", "sim", ""),  # 46 error cell
    (TEXTS[41], "SIM", ""),  # 47 variant of a label
    (TEXTS[0], "sim", ""),  # 48 contradiction of row 4
    (TEXTS[1], "sim", ""),  # 49 duplicate of row 5
    (TEXTS[2].upper() + ".", "não", ""),  # 50 near-duplicate of row 6
    (TEXTS[42], "única", ""),  # 51 class of one
    (TEXTS[43], "mesclado", ""),  # 52 merged with the two below
    (TEXTS[44], None, ""),  # 53
    (TEXTS[45], None, ""),  # 54
    (TEXTS[46], "=A1", ""),  # 55 formula without a value
    (TEXTS[47], "2024-01-31", ""),  # 56 date; set below
    (TEXTS[48], 7, ""),  # 57 number
    (LONG, "não", ""),  # 58 very long
    (f"{TEXTS[49]} autos {cnj(5)}", "sim", ""),  # 59 leaked case number
    (f"{TEXTS[50]} autos {cnj(5)}", "não", ""),  # 60
    (TEXTS[51], "sim", "holdout"),  # 61 unknown split
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> DatasetReport:
    rows = numbered([*CLEAN, *PLANTED])
    rows[56] = (TEXTS[47], datetime.date(2024, 1, 31), "")
    folder = tmp_path_factory.mktemp("planted")
    path = save(folder / "a.xlsx", ("Texto", "Rótulo", "split"), rows, merged="B52:B54")
    return check_sheet(path, SheetRequest())


def error(report: DatasetReport, row: int) -> tuple[str, str]:
    return next((found.column, found.code) for found in report.errors if found.row == row)


def rows_of(report: DatasetReport, code: str) -> list[int]:
    return next((found.rows for found in report.warnings if found.code == code), [])


@pytest.mark.parametrize(
    ("fault", "row", "column", "code"),
    [
        ("a blank text", 44, "A", "empty_text"),
        ("a text of no-break spaces", 45, "A", "empty_text"),
        ("an error cell", 46, "A", "error_cell"),
        ("a label merged with the one above", 53, "B", "empty_label"),
        ("a label merged with the one above", 54, "B", "empty_label"),
        ("a formula without a value", 55, "B", "empty_label"),
        ("an unknown split", 61, "C", "unknown_split"),
    ],
)
def test_a_cell_that_cannot_be_used_is_named(
    report: DatasetReport, fault: str, row: int, column: str, code: str
) -> None:
    assert error(report, row) == (column, code), fault


def test_nothing_else_is_called_an_error(report: DatasetReport) -> None:
    assert [found.row for found in report.errors] == [44, 45, 46, 53, 54, 55, 61]
    assert report.error_count == 7


@pytest.mark.parametrize(
    ("fault", "code", "rows"),
    [
        ("a label that differs by case", "label_variant", [47]),
        ("a contradiction", "contradictory_labels", [4, 48]),
        ("a duplicate", "duplicate_text", [48, 49]),
        ("a near-duplicate", "near_duplicate", [50]),
        ("classes of one row", "rare_class", [47, 51, 52, 56, 57]),
        ("a date as a label", "date_label", [56]),
        ("a number as a label", "number_label", [57]),
        ("a very long text", "long_text", [58]),
        ("one case in two texts", "shared_case", [59, 60]),
    ],
)
def test_a_doubt_is_told_with_its_rows(report: DatasetReport, fault: str, code: str, rows: list[int]) -> None:
    assert rows_of(report, code) == rows, fault


def test_an_empty_cell_that_holds_a_formula_says_so(report: DatasetReport) -> None:
    assert [found.params.get("formula") for found in report.errors if found.row == 55] == [True]


def test_a_label_below_a_merged_one_says_so(report: DatasetReport) -> None:
    assert [found.params.get("merged") for found in report.errors if found.row in (53, 54)] == ["B52:B54"] * 2


def test_a_matching_hidden_sheet_is_passed_over_and_named(report: DatasetReport) -> None:
    assert report.sheet == "dados"
    found = next(found for found in report.warnings if found.code == "hidden_sheet")
    assert (found.count, found.params["sheets"]) == (1, ["rascunho"])


def test_a_header_in_row_three_is_found_and_told(report: DatasetReport) -> None:
    found = next(found for found in report.warnings if found.code == "late_header")
    assert (found.rows, report.columns["text"]) == ([3], "Texto")


TOKEN_ROWS = {
    4: ("o autor pediu prazo", "O B-PESSOA O O"),
    5: ("a ré apelou", "O I-PESSOA O"),  # orphan I-
    6: ("Banco do Brasil pediu", "B-ORG I-LOCAL I-ORG O"),  # wrong type I-
    7: ("um dois três", "O O"),  # lengths
    8: ("o juiz decidiu", "O B-PESSOA O"),
}


def test_token_rows_at_fault_are_named_with_place_and_repair(tmp_path: Path) -> None:
    report = check_sheet(save(tmp_path / "a.xlsx", ("tokens", "tags"), TOKEN_ROWS), SheetRequest())
    assert [(e.row, e.column, e.code) for e in report.errors] == [
        (5, "B", "invalid_bio"),
        (6, "B", "invalid_bio"),
        (7, "B", "length_mismatch"),
    ]
    orphan, wrong, _ = (e.params for e in report.errors)
    assert (orphan["position"], orphan["tag"], orphan["repaired"]) == (2, "I-PESSOA", "B-PESSOA")
    assert (wrong["position"], wrong["tag"], wrong["repaired"]) == (2, "I-LOCAL", "B-LOCAL")


def test_the_repair_of_both_tags_is_told_by_row(tmp_path: Path) -> None:
    rows = {row: cells for row, cells in TOKEN_ROWS.items() if row != 7}
    report = check_sheet(save(tmp_path / "a.xlsx", ("tokens", "tags"), rows), SheetRequest(), repair_bio=True)
    assert rows_of(report, "repaired_bio") == [5, 6]


def test_a_header_below_a_title_is_told_by_its_row(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in [("Levantamento de 2024",), ("Gabinete",), ("texto", "rótulo"), ("um", "a"), ("dois", "b")]:
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(SheetRefused) as caught:
        check_sheet(tmp_path / "a.xlsx", SheetRequest())
    assert (caught.value.code, caught.value.params["header_row"]) == ("missing_columns", 3)
