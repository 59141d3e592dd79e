"""The first look at a workbook, the comparison of two, and their sentences; on files, without a database."""

import time
from pathlib import Path
from typing import Any

import pytest

from datasets_app.admin.quality import change_sentences, identifier_sentences, lengths, split_sentences
from datasets_app.comparing import compare_sheets
from datasets_app.looking import look_at
from datasets_app.sheet_child import look_at_file
from tests.sheet_factories import TEXT_ROWS, text_sheet, token_sheet, write_sheet
from worker_client.formats import Limits, SheetRefused, SheetRequest

ANY = SheetRequest()
LEAKS = {"groups": 0, "texts": 37, "near_duplicates": 1}
SIZES = {"train": 800, "validation": 100, "test": 100}


def compare(old: Path, new: Path) -> dict[str, Any]:
    return compare_sheets((old, ANY, False), (new, ANY, False), Limits())


def test_a_look_stops_after_ten_rows_and_shortens_cells(tmp_path: Path) -> None:
    path = text_sheet(tmp_path / "a.xlsx", [("x" * 900, "sim")] * 40)
    look = look_at(path, "", Limits())
    assert len(look["rows"]) == 10
    assert look["rows"][0] == {"number": 2, "cells": ["x" * 160, "sim"]}


def test_a_look_guesses_as_the_reader_reads(tmp_path: Path) -> None:
    path = write_sheet(tmp_path / "a.xlsx", [(), ("Processo", "Conteúdo", "Classe"), ("1", "texto", "a")])
    look = look_at(path, "", Limits())
    assert (look["is_clear"], look["task_type"]) == (True, "text_classification")
    assert look["columns"] == {"text": "Conteúdo", "label": "Classe", "group": "Processo"}


def test_half_of_a_pair_is_guessed_and_the_rest_left_to_the_person(tmp_path: Path) -> None:
    look = look_at(write_sheet(tmp_path / "a.xlsx", [("tokens", "Anotação"), ("a b", "O O")]), "", Limits())
    assert (look["is_clear"], look["task_type"]) == (False, "token_classification")
    assert look["columns"] == {"tokens": "tokens"}


def test_an_empty_workbook_has_no_rows(tmp_path: Path) -> None:
    with pytest.raises(SheetRefused) as refused:
        look_at_file(write_sheet(tmp_path / "a.xlsx", []))
    assert refused.value.code == "no_rows"


def test_a_child_refuses_what_is_no_workbook(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"nada")
    with pytest.raises(SheetRefused) as refused:
        look_at_file(tmp_path / "a.xlsx")
    assert refused.value.code == "not_xlsx"


def test_equal_sheets_differ_in_nothing_whatever_their_order(tmp_path: Path) -> None:
    old, new = text_sheet(tmp_path / "a.xlsx"), text_sheet(tmp_path / "b.xlsx", TEXT_ROWS[::-1])
    told = compare(old, new)
    assert (told["added"], told["removed"], told["relabelled"], told["unchanged"]) == (0, 0, 0, len(TEXT_ROWS))


def test_a_repeated_text_is_relabelled_only_where_no_row_stayed_the_same(tmp_path: Path) -> None:
    old = text_sheet(tmp_path / "a.xlsx", [("x", "a"), ("x", "b"), ("y", "a")])
    new = text_sheet(tmp_path / "b.xlsx", [("x", "c"), ("x", "a"), ("y", "a"), ("y", "a")])
    told = compare(old, new)
    assert (told["relabelled"], told["relabelled_rows"]) == (1, [2])
    assert (told["added"], told["removed"], told["unchanged"]) == (1, 0, 2)


def test_texts_that_are_written_in_another_unicode_form_are_the_same(tmp_path: Path) -> None:
    old = text_sheet(tmp_path / "a.xlsx", [("ação", "a"), ("y", "b")])
    new = text_sheet(tmp_path / "b.xlsx", [(" ac\u0327a\u0303o ", "a"), ("y", "b")])
    assert compare(old, new)["unchanged"] == 2


def test_only_the_first_hundred_relabelled_rows_are_named(tmp_path: Path) -> None:
    old = text_sheet(tmp_path / "a.xlsx", [(f"t{n}", "a") for n in range(150)])
    new = text_sheet(tmp_path / "b.xlsx", [(f"t{n}", "b") for n in range(150)])
    told = compare(old, new)
    assert (told["relabelled"], told["relabelled_rows"]) == (150, list(range(2, 102)))


def test_other_tags_are_another_outcome(tmp_path: Path) -> None:
    old = token_sheet(tmp_path / "a.xlsx", [("Maria veio", "B-PESSOA O"), ("Ela foi", "O O")])
    new = token_sheet(tmp_path / "b.xlsx", [("Maria veio", "B-NOME O"), ("Ela foi", "O O")])
    assert compare(old, new)["relabelled_rows"] == [2]


def test_the_split_says_what_a_random_one_would_have_leaked() -> None:
    none = dict.fromkeys(LEAKS, 0)
    said = split_sentences({"split": {"sizes": SIZES, "leaked_by_random": LEAKS, "leaked_by_ours": none}})
    assert said[1:] == [
        "Uma divisão aleatória teria vazado 37 textos repetidos do treino para o teste; a nossa não vaza nenhum.",
        "Uma divisão aleatória teria vazado 1 texto quase igual do treino para o teste; a nossa não vaza nenhum.",
    ]


def test_the_split_does_not_hide_what_ours_leaks() -> None:
    split = {"sizes": SIZES, "basis": "split", "leaked_by_random": LEAKS, "leaked_by_ours": {"texts": 5}}
    said = split_sentences({"split": split})
    assert "As partes são as da coluna “split”." in said
    assert "37 textos repetidos do treino para o teste; a nossa vaza 5." in said[2]


def test_a_split_that_leaks_nothing_either_way_says_so() -> None:
    none = dict.fromkeys(LEAKS, 0)
    said = split_sentences({"split": {"sizes": SIZES, "leaked_by_random": none, "leaked_by_ours": none}})
    assert said[-1].startswith("Nada vaza do treino para o teste")


def test_identifiers_are_counted_by_kind() -> None:
    told = {"cnj": {"count": 1200, "rows_count": 900}, "cpf": {"count": 0, "rows_count": 0}}
    assert identifier_sentences({"identifiers": told}) == [
        "Números de processo (CNJ, dígitos conferidos): 1.200, linhas: 900"
    ]


def test_an_old_report_without_these_parts_says_nothing_of_them() -> None:
    assert (split_sentences({}), identifier_sentences({}), lengths({}, {}), change_sentences({})) == ([], [], {}, [])


def test_one_text_thousands_of_times_is_compared_in_one_pass(tmp_path: Path) -> None:
    rows = [("o mesmo texto", f"r{n % 2}") for n in range(30_000)]
    old, new = text_sheet(tmp_path / "a.xlsx", rows), text_sheet(tmp_path / "b.xlsx", rows[1:])
    before = time.process_time()
    told = compare(old, new)
    assert (told["unchanged"], told["removed"]) == (29_999, 1)
    assert time.process_time() - before < 5
