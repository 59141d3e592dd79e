"""The distribution of token lengths that a run reports."""

from pathlib import Path

import pytest

from tests.worker_client.training_factories import make_spec, text_rows
from worker_client.training.framing import Frame
from worker_client.training.token_lengths import token_lengths

FRAME = Frame(prefix=(2,), suffix=(3,), max_length=32, long_text="truncate", overlap=0)


def told(folder: Path, lengths: list[int]):
    return token_lengths(make_spec(folder, text_rows(6)), lengths, FRAME)


def test_percentiles_are_lengths_of_rows_with_the_special_tokens(tmp_path):
    measured = told(tmp_path, list(range(1, 101)))
    assert [measured[name] for name in ("min", "p50", "p90", "p99", "max")] == [3, 52, 92, 101, 102]
    assert measured["mean"] == 52.5


@pytest.mark.parametrize(("length", "beyond"), [(126, 0), (127, 1), (254, 1), (255, 2), (510, 2), (511, 3)])
def test_a_row_is_beyond_a_length_as_soon_as_the_special_tokens_do_not_fit(tmp_path, length, beyond):
    assert [step["rows"] for step in told(tmp_path, [length])["beyond"]] == [1] * beyond + [0] * (3 - beyond)


def test_shares_are_of_all_rows(tmp_path):
    steps = told(tmp_path, [10, 10, 300])["beyond"]
    assert [(step["max_length"], step["share"]) for step in steps] == [(128, 0.3333), (256, 0.3333), (512, 0.0)]


def test_one_row_is_every_point_of_the_distribution(tmp_path):
    measured = told(tmp_path, [7])
    assert {measured[name] for name in ("min", "p50", "p90", "p99", "max", "mean")} == {9}
