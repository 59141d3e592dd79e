"""The training benchmark still runs, in its smallest form. What it finds stands in benchmarks/results/train.md."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.train.report import Results
from benchmarks.train.sheets import draw, load, read_parts, write

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_ours_and_the_reference_train_on_the_same_sub_tokens_in_turns(tmp_path):
    command = [sys.executable, "-m", "benchmarks.train", "--quick", "--model", "tiny", "--only", "short-128"]
    command += ["--rounds", "1", "--rows", "16", "--threads", "1", "--out", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    (part,) = json.loads((tmp_path / "train.json").read_text()).values()
    turns = {name: row["turns"][0] for name, row in part["train"].items()}
    assert set(turns) == {"reference, fp32", "ours, fp32"}
    assert turns["ours, fp32"]["real"] == turns["reference, fp32"]["real"] > 0
    assert turns["reference, fp32"]["computed"] == 16 * 128
    assert "### short-128" in (tmp_path / "train.md").read_text()


def test_a_part_that_is_measured_again_leaves_the_others_alone(tmp_path):
    study = {"data": "rows", "rows": {"train": 8}, "max_length": 128, "epochs": 3, "threads": 1}
    for name, ours in (("short", [0.9, 0.9]), ("long", [0.7, 0.6]), ("short", [0.2, 0.1])):
        scores = {"reference": [0.5, 0.6], "ours": ours}
        Results(tmp_path).put("f1", "cpu", "minilm", name, {**study, "f1": scores})
    kept = json.loads((tmp_path / "train.json").read_text())
    assert kept["f1 cpu minilm long"]["f1"]["ours"] == [0.7, 0.6]
    assert kept["f1 cpu minilm short"]["f1"]["ours"] == [0.2, 0.1]
    assert (tmp_path / "train.md").read_text().count("**missed**") == 1


def test_an_equal_f1_is_no_proof_where_the_reference_only_guesses_the_majority_class(tmp_path):
    study = {"data": "rows", "rows": {"train": 8}, "max_length": 128, "epochs": 3, "threads": 1, "majority": 0.226}
    for name, reference in (("long", [0.225, 0.227]), ("short", [0.5, 0.6])):
        scores = {"reference": reference, "ours": reference}
        Results(tmp_path).put("f1", "cpu", "minilm", name, {**study, "f1": scores})
    goals = [line.split("|") for line in (tmp_path / "train.md").read_text().splitlines() if line.startswith("| F1")]
    assert [(goal[1].split(":")[0].strip(), goal[3].strip()) for goal in goals] == [
        ("F1 long", "unclear"),
        ("F1 short", "met"),
    ]


def test_without_the_larger_sheets_long_texts_are_joined_from_the_bundled_ones():
    rows = load("long", None)
    assert min(len(record.text.split()) for record in rows.records) >= 100
    assert len(rows.labels) == 3


def test_distinct_rows_leave_no_text_on_two_sides(tmp_path):
    rows = load("short", None)
    sheet = write(tmp_path / "rows.xlsx", rows.task, draw(rows, (80, 20, 40), distinct=True))
    parts = read_parts(sheet, rows.task)
    assert {name: len(part) for name, part in parts.items()} == {"train": 80, "validation": 20, "test": 40}
    texts = [record.text for part in parts.values() for record in part]
    assert len(set(texts)) == len(texts)
