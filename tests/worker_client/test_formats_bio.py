"""Token rows: lists in cells, lengths, strict BIO and its repair."""

from pathlib import Path

import pytest

from tests.sheet_factories import token_sheet
from worker_client.formats import Record, RowFault, read_records


def read_one(tmp_path: Path, tokens: str, tags: str, *, repair_bio: bool = False) -> Record | RowFault:
    path = token_sheet(tmp_path / "a.xlsx", [(tokens, tags)])
    (item,) = read_records(path, task_type="token_classification", sheet=None, columns={}, repair_bio=repair_bio)
    return item


@pytest.mark.parametrize(
    ("tokens", "tags"),
    [
        ("O autor X", "O O B-P"),
        ("  O\tautor\u00a0X\n", "O  O\nB-P"),
        ('["O", "autor", "X"]', '["O", "O", "B-P"]'),
        ("['O', 'autor', 'X']", "['O', \"O\", 'B-P',]"),
        ("['O', 'autor', 'X']", "O O B-P"),
    ],
)
def test_lists_and_blanks_between_words_give_the_same_row(tmp_path: Path, tokens: str, tags: str) -> None:
    assert read_one(tmp_path, tokens, tags) == Record(2, tokens=("O", "autor", "X"), tags=("O", "O", "B-P"))


def test_a_list_keeps_blanks_inside_a_token(tmp_path: Path) -> None:
    record = read_one(tmp_path, '["São Paulo", "\\u0061\\u0303"]', "B-L O")
    assert record == Record(2, tokens=("São Paulo", "ã"), tags=("B-L", "O"))


@pytest.mark.parametrize(
    "cell", ["[ x ] y", "[1, 2]", '["a", 1]', "['a' 'b']", "[[]]", "[" * 5000, '["\\ud800"]', "[__import__('os')]"]
)
def test_a_cell_that_is_no_list_of_strings_is_split_at_blanks(tmp_path: Path, cell: str) -> None:
    tags = " ".join("O" for _ in cell.split())
    record = read_one(tmp_path, cell, tags)
    assert isinstance(record, Record)
    assert record.tokens == tuple(cell.split())


def test_different_lengths_are_a_fault_with_both_counts(tmp_path: Path) -> None:
    fault = read_one(tmp_path, "a b c", "O O")
    assert fault == RowFault(2, "B", "length_mismatch", {"tokens": 3, "tags": 2, "header": "tags"}, "O O")


@pytest.mark.parametrize(
    ("tags", "position", "repaired"),
    [
        ("O I-P O", 2, "B-P"),
        ("I-P I-P O", 1, "B-P"),
        ("B-P I-L O", 2, "B-L"),
        ("B-P O I-P", 3, "B-P"),
        ("O b-P O", 2, ""),
        ("O X O", 2, ""),
        ("O B- O", 2, ""),
    ],
)
def test_a_tag_outside_strict_bio_is_a_fault_with_its_place(
    tmp_path: Path, tags: str, position: int, repaired: str
) -> None:
    fault = read_one(tmp_path, "a b c", tags)
    assert isinstance(fault, RowFault)
    assert (fault.code, fault.column) == ("invalid_bio", "B")
    assert (fault.params["position"], fault.params["repaired"]) == (position, repaired)
    assert fault.params["tag"] == tags.split()[position - 1]


def test_i_may_follow_b_or_i_of_its_own_type(tmp_path: Path) -> None:
    assert isinstance(read_one(tmp_path, "a b c d", "B-P I-P I-P B-P"), Record)


def test_repair_turns_orphans_into_beginnings_and_counts_them(tmp_path: Path) -> None:
    record = read_one(tmp_path, "a b c d e", "I-P I-P O I-L I-P", repair_bio=True)
    assert isinstance(record, Record)
    assert (record.tags, record.repaired) == (("B-P", "I-P", "O", "B-L", "B-P"), 3)


def test_repair_does_not_guess_what_an_unknown_tag_means(tmp_path: Path) -> None:
    fault = read_one(tmp_path, "a b", "I-P pessoa", repair_bio=True)
    assert isinstance(fault, RowFault)
    assert (fault.params["tag"], fault.params["position"]) == ("pessoa", 2)


@pytest.mark.parametrize(("tokens", "tags", "code"), [("a", " ", "empty_label"), ("[]", "O", "empty_text")])
def test_a_side_without_words_is_empty(tmp_path: Path, tokens: str, tags: str, code: str) -> None:
    fault = read_one(tmp_path, tokens, tags)
    assert isinstance(fault, RowFault)
    assert fault.code == code
