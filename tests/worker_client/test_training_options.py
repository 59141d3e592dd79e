"""What a person asks for happens in the training, and is not only written down."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.worker_client.training_factories import SIGNS, make_spec, make_workspace, text_rows
from worker_client.errors import ChildExit
from worker_client.formats import Record
from worker_client.training import packing, trainer
from worker_client.training.__main__ import main
from worker_client.training.base_models import TINY_BERT, load_base_model
from worker_client.training.tasks import task_for
from worker_client.workspace import Workspace

pytestmark = pytest.mark.slow

ROWS = [row for at, row in enumerate(text_rows(90)) if at % 3 or at < 30]  # a third as many of the first label
STEPS = 7  # of an epoch: 56 rows to train, 8 at once


def train(folder: Path, **hyperparameters) -> Workspace:
    """A run that went through."""
    changes = {name: hyperparameters.pop(name) for name in ("base_model", "base_model_dir") if name in hyperparameters}
    spec = make_spec(folder, ROWS, hyperparameters={"epochs": 1, **hyperparameters}, **changes)
    workspace = make_workspace(folder, spec)
    assert main([str(workspace.root)]) == ChildExit.COMPLETED, workspace.read_outcome().traceback
    return workspace


def weights_of(workspace: Workspace):
    return load_file(Path(workspace.read_spec().model_dir) / "model.safetensors")


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """Nothing asked for."""
    return train(tmp_path_factory.mktemp("usual"))


@pytest.mark.parametrize(
    "option",
    [
        {"class_weights": "balanced"},
        {"label_smoothing": 0.1},
        {"layer_lr_decay": 0.5},
        {"weight_decay": 0.5},
        {"warmup_ratio": 0.5},
        {"lr_scheduler": "cosine"},
        {"precision": "bf16"},
    ],
    ids=lambda option: next(iter(option)),
)
def test_an_option_changes_what_is_learned(usual, tmp_path, option):
    assert train(tmp_path, **option).read_outcome().model_sha256 != usual.read_outcome().model_sha256


@pytest.fixture
def attention(monkeypatch):
    """(while training, number type) of each attention over packed texts, behind the trial that decides for them."""
    seen = []
    plain, build = packing._text_by_text, trainer.build_trainer

    def noted(query, *rest):
        seen.append((torch.is_grad_enabled(), query.dtype))
        return plain(query, *rest)

    def built(**parts):
        seen.clear()
        return build(**parts)

    monkeypatch.setattr(packing, "_text_by_text", noted)
    monkeypatch.setattr(trainer, "build_trainer", built)
    return seen


def test_half_precision_holds_in_the_training_and_in_scoring(tmp_path, attention):
    train(tmp_path, precision="bf16")
    assert set(attention) == {(True, torch.bfloat16), (False, torch.bfloat16)}


def test_gradient_checkpointing_computes_each_layer_twice_and_learns_the_same(usual, tmp_path, attention):
    train(tmp_path / "plain")
    once = len(attention)
    again = train(tmp_path / "again", gradient_checkpointing=True)
    assert len(attention) == once + STEPS * TINY_BERT["num_hidden_layers"]
    assert again.read_outcome().model_sha256 == usual.read_outcome().model_sha256


def test_a_rate_that_vanishes_below_the_head_leaves_the_base_model_as_it_was(tmp_path):
    records = [Record(row, text=text, label=label) for row, (text, label) in enumerate(ROWS, start=2)]
    base = load_base_model(make_spec(tmp_path, []), task_for("text_classification", list(SIGNS)), records)
    base.model.save_pretrained(tmp_path / "base")
    base.tokenizer.save_pretrained(tmp_path / "base")
    workspace = train(tmp_path, layer_lr_decay=1e-9, base_model="some/base", base_model_dir=str(tmp_path / "base"))
    before, after = base.model.state_dict(), weights_of(workspace)
    moved = {name for name, weight in after.items() if not torch.allclose(weight, before[name], atol=1e-6)}
    assert moved == {"classifier.weight", "classifier.bias", "bert.pooler.dense.weight", "bert.pooler.dense.bias"}


@pytest.mark.parametrize(
    ("metric", "best"), [("f1", 2), ("accuracy", 1), ("loss", 3)], ids=["f1", "accuracy", "the smallest loss"]
)
def test_the_exported_weights_are_those_of_the_best_epoch_by_the_metric_that_was_named(
    tmp_path, monkeypatch, metric, best
):
    said = iter([(0.5, 0.9, 0.7), (0.9, 0.5, 0.8), (0.7, 0.7, 0.6), (0.6, 0.6, 0.9), (0.0, 0.0, 0.0)])
    score = trainer.EncoderTrainer.score

    def scored(self, records, encoded):
        f1, accuracy, loss = next(said)
        monkeypatch.setattr(self.task, "figures", lambda *_: {"f1": f1, "accuracy": accuracy})
        return replace(score(self, records, encoded), loss=loss)

    monkeypatch.setattr(trainer.EncoderTrainer, "score", scored)
    monkeypatch.setattr("worker_client.training.attempt.export_model", lambda **parts: kept.update(parts) or "")
    monkeypatch.setattr("worker_client.training.narration.result", lambda *_: None)
    kept: dict = {}
    workspace = train(tmp_path, epochs=4, metric_for_best=metric, early_stopping_patience=0)
    assert workspace.read_outcome().best_epoch == best
    folder = Path(workspace.read_spec().checkpoints_dir) / f"checkpoint-{STEPS * best}"
    saved = load_file(folder / "model.safetensors")
    assert all(torch.equal(weight, saved[name]) for name, weight in kept["model"].state_dict().items() if name in saved)
