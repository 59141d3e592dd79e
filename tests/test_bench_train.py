"""The training benchmark still runs, in its smallest form. What it finds stands in benchmarks/results/train.md."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.train import speed
from benchmarks.train.models import Shape
from benchmarks.train.report import Results
from benchmarks.train.sheets import draw, load, read_parts, write
from worker_client.training import packing
from worker_client.training.batches import Packed

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


@pytest.mark.parametrize("head", ["SequenceClassification", "TokenClassification"])
def test_the_operations_that_count_are_those_that_a_packed_model_makes(head):
    shape = Shape(hidden=48, layers=3, heads=4, intermediate=96, vocabulary=50)
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96
    )
    model, lengths = getattr(transformers, f"BertFor{head}")(config).eval(), [30, 200, 100]
    packing.teach(model)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(**Packed(0).inputs([np.full(length, 7) for length in lengths]))
    expected = shape.flops(lengths, reads_first=head == "SequenceClassification")
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.01)  # the rest: pooler and head


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


@pytest.mark.parametrize(("gib", "measured"), [(80, False), (139, True)])
def test_batches_of_64_are_measured_where_a_gpu_has_room_for_all_variants_at_once(monkeypatch, gib, measured):
    monkeypatch.setattr(speed, "gpu_gib", lambda: gib)
    assert ("long-512-by-64" in speed.usual("cuda")) is measured
    assert "long-512-by-64" not in speed.usual("cpu")


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
