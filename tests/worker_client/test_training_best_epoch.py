"""Which epoch's weights are kept, in this process and with given figures of validation."""

from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from tests.worker_client.training_factories import log_of, make_spec, make_workspace, text_rows
from worker_client.errors import ChildExit
from worker_client.training import attempt as training_attempt
from worker_client.training.__main__ import main
from worker_client.training.callbacks import StopOnRequest
from worker_client.training.text_classification import TextClassification

pytestmark = pytest.mark.slow

ROWS = text_rows(60)  # 48 train: 6 steps an epoch
PLACES = ("dataset_path", "model_dir", "checkpoints_dir")


def weights(model):
    """Of the head, which every step changes."""
    return model.classifier.weight.detach().clone()


@pytest.fixture
def told(monkeypatch):
    """Give epoch after epoch its F1 and its loss."""

    def arrange(*of_epochs):
        values = iter(of_epochs)
        measured = TextClassification.figures

        def figures(self, records, decoded):
            f1, loss = next(values, (0.0, 0.0))  # the test part comes last
            return {**measured(self, records, decoded), "f1": f1, "loss": loss}

        monkeypatch.setattr(TextClassification, "figures", figures)

    return arrange


def attempt(folder, spec, number):
    workspace = make_workspace(folder, spec, number)
    return main([str(workspace.root)]), workspace


@pytest.mark.parametrize(
    ("of_epochs", "best"),
    [
        ([(0.5, 0.9), (0.6, 0.95), (0.5, 0.1)], 2),
        ([(0.5, 0.9), (0.5, 0.8), (0.4, 0.1)], 2),
        ([(0.5, 0.8), (0.5, 0.9), (0.5, 0.85)], 1),
        ([(0.5, 0.9), (0.5, 0.8), (0.5, 0.85)], 2),
    ],
)
def test_the_best_epoch_has_the_best_figure_and_of_equal_ones_the_lowest_loss(tmp_path, told, of_epochs, best):
    told(*of_epochs)
    code, workspace = attempt(tmp_path, make_spec(tmp_path, ROWS, hyperparameters={"epochs": 3, "batch_size": 8}), 1)
    assert (code, workspace.read_outcome().best_epoch) == (ChildExit.COMPLETED, best)


def test_a_resumed_run_knows_the_loss_of_its_best_epoch(tmp_path, told, monkeypatch):
    told((0.5, 0.9), (0.5, 0.8))
    spec = make_spec(tmp_path, ROWS, hyperparameters={"epochs": 2, "batch_size": 8})
    ask = StopOnRequest.on_step_end

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 8 and self.stopping.workspace.root.name == "attempt-1":
            self.stopping.workspace.request_stop("shutdown")
        return ask(self, args, state, control, **kwargs)

    monkeypatch.setattr(StopOnRequest, "on_step_end", on_step_end)
    assert attempt(tmp_path, spec, 1)[0] == ChildExit.STOPPED
    code, workspace = attempt(tmp_path, spec, 2)
    assert (code, workspace.read_outcome().best_epoch) == (ChildExit.COMPLETED, 2)


def moved(spec, here, there):
    """The same run after the folder was renamed."""
    here.rename(there)
    return replace(spec, **{name: getattr(spec, name).replace(str(here), str(there)) for name in PLACES})


def test_the_best_weights_are_exported_also_where_the_folder_was_moved_after_the_training(tmp_path, told, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    spec = make_spec(here, ROWS, hyperparameters={"epochs": 2, "batch_size": 8, "early_stopping_patience": 0})
    told((0.6, 0.8), (0.5, 0.9))
    exported = []
    with monkeypatch.context() as patched:
        patched.setattr(training_attempt, "export_model", lambda **facts: exported.append(weights(facts["model"])) or 1)
        attempt(here, spec, 1)
    code, workspace = attempt(there, moved(spec, here, there), 2)
    assert (code, workspace.read_outcome().best_epoch) == (ChildExit.COMPLETED, 1)
    assert "Going on from the checkpoint of step 12" in log_of(workspace)
    assert torch.equal(weights(AutoModelForSequenceClassification.from_pretrained(there / "models/run-7")), *exported)
