"""Sub-tokens are made once per job, and again whenever anything that they are made of is another."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.worker_client.training_factories import make_spec, text_rows, token_rows
from worker_client.training.base_models import load_base_model
from worker_client.training.data import load_records
from worker_client.training.tasks import task_for
from worker_client.training.token_cache import tokens_of

ROWS = {"text_classification": [*text_rows(30), ("?", "Ativo")], "token_classification": [*token_rows(30), ("só", "O")]}


class Counting:
    """A tokenizer that knows whether it was used."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.backend_tokenizer = tokenizer.backend_tokenizer
        self.calls = 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return self.tokenizer(*args, **kwargs)


class Job:
    """A sheet, and what reads it."""

    def __init__(self, folder, task_type):
        self.spec = make_spec(folder, ROWS[task_type], task=task_type)
        self.task = task_for(task_type, self.spec.labels)
        self.records = load_records(self.spec)
        self.tokenizer = Counting(load_base_model(self.spec, self.task, self.records).tokenizer)

    def tokens(self, **changes):
        """And how often the tokenizer was asked for them."""
        before = self.tokenizer.calls
        found = tokens_of(replace(self.spec, **changes), self.task, self.records, self.tokenizer)
        return found, self.tokenizer.calls - before

    @property
    def files(self):
        return list(Path(self.spec.checkpoints_dir).parent.iterdir())


@pytest.fixture(params=ROWS)
def job(tmp_path, request):
    return Job(tmp_path, request.param)


def test_the_second_attempt_has_the_same_sub_tokens_without_a_tokenizer(job):
    first, made = job.tokens()
    second, made_again = job.tokens(attempt=2, seed=7, hyperparameters={"max_length": 9})
    assert (made, made_again) == (1, 0)
    assert list(second) == list(first) == [record.row for record in job.records]
    for row, pieces in first.items():
        np.testing.assert_array_equal(second[row], pieces)


@pytest.mark.parametrize(
    "change",
    [
        {"dataset_sha256": "0" * 64},
        {"columns": {"text": "other"}},
        {"sheet": "other"},
        {"repair_bio": True},
        {"task_type": "other"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_sheet_or_reading_of_it_is_tokenized_anew(job, change):
    job.tokens()
    assert job.tokens(**change)[1] == 1


def test_another_tokenizer_is_not_taken_for_the_first(job):
    job.tokens()
    job.tokenizer.tokenizer.add_tokens(["inédita"])
    assert job.tokens()[1] == 1


def of_an_unknown_compression(whole):
    at = whole.index(b"PK\x01\x02") + 10  # where the zip file's directory names it
    return whole[:at] + b"c" + whole[at + 1 :]


def of_an_encrypted_file(whole):
    at = whole.index(b"PK\x01\x02") + 8  # the flags of its first entry
    return whole[:at] + b"\x01" + whole[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:-100],
        lambda whole: whole[:300] + b"x" + whole[301:],
        lambda whole: b"",
        of_an_unknown_compression,
        of_an_encrypted_file,
    ],
)
def test_a_damaged_file_is_made_again(job, damage):
    first, _ = job.tokens()
    (path,) = job.files
    path.write_bytes(damage(path.read_bytes()))
    again, made = job.tokens()
    assert made == 1
    assert all((again[row] == pieces).all() for row, pieces in first.items())


def test_a_full_disk_costs_the_file_and_not_the_run(job, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert len(job.tokens()[0]) == len(job.records)
    assert job.files == []


def test_records_without_sub_tokens_keep_their_place(tmp_path):
    job = Job(tmp_path, "text_classification")
    job.records[3] = replace(job.records[3], text="")
    first, _ = job.tokens()
    second, made = job.tokens()
    assert made == 0
    assert second[job.records[3].row].shape == first[job.records[3].row].shape == (0, 1)
