"""Which sheet, which columns."""

from pathlib import Path
from typing import Any

import openpyxl
import pytest

from tests.sheet_factories import token_sheet, write_sheet
from worker_client.formats import Record, RowFault, Sheet, SheetRefused, SheetRequest, open_sheet, read_records

ROW = ("um texto", "classe a")


def opened(tmp_path: Path, header: list[Any], **asked: Any) -> Sheet:
    path = write_sheet(tmp_path / "a.xlsx", [header, ["x"] * len(header)])
    return open_sheet(path, SheetRequest(**asked))


def refusal(tmp_path: Path, header: list[Any], **asked: Any) -> SheetRefused:
    with pytest.raises(SheetRefused) as caught:
        opened(tmp_path, header, **asked)
    return caught.value


@pytest.mark.parametrize(
    "header",
    [
        ["text", "label"],
        ["  TEXT ", "Label\n"],
        ["\ufefftext", "la bel"],
        ["Conteúdo", "RÓTULO"],
        ["documento", "Classe"],
        ["texto", "categoria"],
        ["conteudo", "ro\u0301tulo"],
    ],
)
def test_headers_match_without_case_accents_blanks_and_marks(tmp_path: Path, header: list[str]) -> None:
    sheet = opened(tmp_path, header)
    assert sheet.task_type == "text_classification"
    assert sheet.letters == {"text": "A", "label": "B"}


def test_columns_keep_the_header_as_it_is_written(tmp_path: Path) -> None:
    assert opened(tmp_path, [" Texto ", "Rótulo"]).columns == {"text": "Texto", "label": "Rótulo"}


def test_tokens_and_tags_make_a_token_task(tmp_path: Path) -> None:
    assert opened(tmp_path, ["Tokens", "TAGS"]).task_type == "token_classification"


def test_named_columns_play_their_roles_and_tell_the_task(tmp_path: Path) -> None:
    sheet = opened(tmp_path, ["id", "palavras", "marcas"], columns={"tokens": "palavras", "tags": "Marcas"})
    assert (sheet.task_type, sheet.letters) == ("token_classification", {"tokens": "B", "tags": "C", "id": "A"})


def test_an_exact_name_wins_over_a_similar_one(tmp_path: Path) -> None:
    sheet = opened(tmp_path, ["TEXTO", "texto", "label"], columns={"text": "texto"})
    assert sheet.letters["text"] == "B"


def test_the_first_synonym_plays_the_role_and_the_others_are_extra(tmp_path: Path) -> None:
    sheet = opened(tmp_path, ["documento", "texto", "label"])
    assert (sheet.columns["text"], sheet.extra_columns) == ("texto", ["documento"])


def test_missing_columns_lists_what_was_found_and_what_is_missing(tmp_path: Path) -> None:
    refused = refusal(tmp_path, ["texto", "situação"])
    assert (refused.code, refused.params["missing"], refused.params["found"]) == (
        "missing_columns",
        ["label"],
        ["texto", "situação"],
    )


def test_a_named_column_that_is_not_there_is_missing_even_if_a_default_is(tmp_path: Path) -> None:
    assert refusal(tmp_path, ["text", "label"], columns={"label": "classe final"}).params["missing"] == ["classe final"]


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    refused = refusal(tmp_path, ["text", "label", "Label"])
    assert (refused.code, refused.params["letters"]) == ("duplicate_column", ["B", "C"])


def test_one_column_cannot_play_two_roles(tmp_path: Path) -> None:
    refused = refusal(tmp_path, ["text", "label"], columns={"text": "label"})
    assert (refused.code, refused.params["roles"]) == ("duplicate_column", ["text", "label"])


def test_a_repeated_column_that_nothing_uses_does_no_harm(tmp_path: Path) -> None:
    assert opened(tmp_path, ["text", "label", "nota", "nota"]).extra_columns == ["nota", "nota"]


@pytest.mark.parametrize("header", ["group", "Grupo", "PROCESSO"])
def test_the_group_column_is_found_by_its_names(tmp_path: Path, header: str) -> None:
    assert opened(tmp_path, ["text", "label", header]).letters["group"] == "C"


def test_optional_columns_reach_the_record(tmp_path: Path) -> None:
    rows = [["id", "text", "label", "processo", "split"], [7, *ROW, "0001-2", "Treino"], ["b", *ROW, None, None]]
    path = write_sheet(tmp_path / "a.xlsx", rows)
    assert list(read_records(path, task_type="text_classification", sheet=None, columns={})) == [
        Record(2, *ROW, id="7", group="0001-2", split="train"),
        Record(3, *ROW, id="b"),
    ]


def test_an_unknown_split_name_is_a_fault_of_its_row(tmp_path: Path) -> None:
    path = write_sheet(tmp_path / "a.xlsx", [["text", "label", "split"], [*ROW, "test"], [*ROW, "holdout"]])
    fault = list(read_records(path, task_type="text_classification", sheet=None, columns={}))[1]
    assert isinstance(fault, RowFault)
    assert (fault.row, fault.column, fault.code, fault.value) == (3, "C", "unknown_split", "holdout")


def test_the_header_may_stand_below_blank_rows(tmp_path: Path) -> None:
    path = write_sheet(tmp_path / "a.xlsx", [[None], [" "], ["text", "label"], ROW])
    assert open_sheet(path).header_row == 3
    assert next(read_records(path, task_type="text_classification", sheet=None, columns={})).row == 4


def two_sheets(path: Path, state: str = "visible") -> Path:
    book = openpyxl.Workbook()
    book.active.title = "Leia-me"
    book.active.append(["instruções"])
    data = book.create_sheet("Dados 1")
    data.append(["text", "label"])
    data.append(ROW)
    data.sheet_state = state
    book.save(path)
    return path


def test_the_first_visible_sheet_whose_header_matches_is_read(tmp_path: Path) -> None:
    assert open_sheet(two_sheets(tmp_path / "a.xlsx")).name == "Dados 1"


def test_a_hidden_sheet_is_read_only_when_named(tmp_path: Path) -> None:
    path = two_sheets(tmp_path / "a.xlsx", state="hidden")
    with pytest.raises(SheetRefused) as caught:
        open_sheet(path)
    assert caught.value.code == "missing_columns"
    assert open_sheet(path, SheetRequest(sheet="dados 1")).name == "Dados 1"


def test_a_sheet_that_is_not_there_is_refused_with_the_names_of_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(SheetRefused) as caught:
        open_sheet(two_sheets(tmp_path / "a.xlsx"), SheetRequest(sheet="Plan1"))
    assert (caught.value.code, caught.value.params["sheets"]) == ("sheet_not_found", ["Leia-me", "Dados 1"])


def test_a_workbook_of_blank_sheets_has_no_rows(tmp_path: Path) -> None:
    with pytest.raises(SheetRefused) as caught:
        open_sheet(write_sheet(tmp_path / "a.xlsx", []))
    assert caught.value.code == "no_rows"


def test_the_columns_of_an_opened_sheet_read_the_same_records_again(tmp_path: Path) -> None:
    path = token_sheet(tmp_path / "a.xlsx", [("o autor", "O B-PESSOA")])
    sheet = open_sheet(path)
    again = list(read_records(path, task_type=sheet.task_type, sheet=sheet.name, columns=sheet.columns))
    assert again == [Record(2, tokens=("o", "autor"), tags=("O", "B-PESSOA"))]


def test_a_column_that_is_named_and_not_there_is_missed_though_the_other_task_would_fit(tmp_path: Path) -> None:
    refused = refusal(tmp_path, ["tokens", "tags", "label"], columns={"text": "ementa"})
    assert (refused.code, refused.params["missing"]) == ("missing_columns", ["ementa"])
