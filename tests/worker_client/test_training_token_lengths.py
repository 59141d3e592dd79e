"""The distribution of token lengths that a run reports, and whose rows are cut."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.worker_client.training_factories import make_spec, text_rows
from worker_client.formats import Record
from worker_client.training.framing import Frame
from worker_client.training.tasks import task_for
from worker_client.training.token_lengths import cut_by_label, token_lengths

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


@pytest.mark.parametrize(
    ("long_text", "cut"), [("truncate", [1, 1, 0]), ("head_tail", [1, 1, 0]), ("windows", [0] * 3)]
)
def test_rows_that_are_cut_are_counted_for_each_label_once(long_text, cut):
    task = task_for("token_classification", ["O", "B-X", "B-Y"])
    long, short = Record(2, tags=("O", *["B-X"] * 39)), Record(3, tags=("B-X", "B-Y"))
    records = [replace(record, tokens=record.tags) for record in (long, short)]
    tokens = [np.arange(2 * len(record.tags)).reshape(2, -1).T % len(record.tags) for record in records]
    encoded = task.encode(records, tokens, replace(FRAME, long_text=long_text))
    counted = cut_by_label(task, [(records, encoded)])
    assert [row["label"] for row in counted] == ["O", "B-X", "B-Y"]
    assert [(row["rows"], row["cut"]) for row in counted] == list(zip([1, 2, 1], cut, strict=True))
