"""Long documents for real: what stands behind token 1,500 is learned with windows and by nobody who cuts."""

import random

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

from tests.worker_client.training_factories import SIGNS, WORDS, make_spec, make_workspace
from worker_client.errors import ChildExit
from worker_client.formats import Record
from worker_client.training.__main__ import main
from worker_client.training.base_models import _tiny_tokenizer
from worker_client.training.tasks import task_for

pytestmark = pytest.mark.slow

BEFORE = 1_500  # tokens that say nothing
ONE_LAYER = {
    "hidden_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 96,
    "max_position_embeddings": 512,
    "initializer_range": 0.1,  # wider than usual: so small a model learns in a few dozen steps
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def late_signs(count):
    """Documents of random words, whose label shows in the hundred after them."""
    dice = random.Random(3)
    rows = []
    for number in range(count):
        label = list(SIGNS)[number % 3]
        rows.append((" ".join(dice.choices(WORDS, k=BEFORE) + dice.choices(SIGNS[label], k=100)), label))
    return rows


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """The sheet and a base model of one layer: the two trainings take half a minute of a processor together."""
    torch.manual_seed(0)
    folder, rows = tmp_path_factory.mktemp("base"), late_signs(240)
    records = [Record(row, text=text, label=label) for row, (text, label) in enumerate(rows, start=2)]
    tokenizer = _tiny_tokenizer(task_for("text_classification", list(SIGNS)), records)
    assert min(len(tokenizer(text)["input_ids"]) for text, _ in rows) > BEFORE
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **ONE_LAYER)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return rows, str(folder)


def outcome_with(long_text, job, folder):
    rows, base = job
    like = {"long_text": long_text, "max_length": 512, "window_stride": 16, "epochs": 5, "learning_rate": 5e-3}
    like["early_stopping_patience"] = 0
    spec = make_spec(folder, rows, hyperparameters=like, base_model="org/one-layer", base_model_dir=base)
    workspace = make_workspace(folder, spec)
    assert main([str(workspace.root)]) == ChildExit.COMPLETED, workspace.read_outcome().traceback
    return workspace.read_outcome()


def test_a_signal_behind_token_1500_is_near_chance_when_cut(job, tmp_path):
    outcome = outcome_with("truncate", job, tmp_path)
    assert outcome.metrics["f1"] < 0.55  # chance: 0.33
    assert set(outcome.report["truncated_share"].values()) == {1.0}
    assert [(row["rows"], row["cut"]) for row in outcome.report["truncated_by_label"]] == [(80, 80)] * 3


def test_a_signal_behind_token_1500_is_found_with_windows(job, tmp_path):
    outcome = outcome_with("windows", job, tmp_path)
    assert outcome.metrics["f1"] >= 0.95
    assert outcome.environment["gradient_accumulation"] > 1  # a document is many windows: fewer of them at once
    assert set(outcome.report["truncated_share"].values()) == {0.0}
