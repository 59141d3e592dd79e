"""A training that cannot succeed ends with a reason, an exit code and a sentence, and leaves no model."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker_client.training_factories import figures_of, log_of, make_spec, make_workspace, text_rows, token_rows
from worker_client.errors import ChildExit
from worker_client.spool import Spool
from worker_client.training.__main__ import main
from worker_client.training.trainer import EncoderTrainer

ROWS = text_rows(60)
SECRET = "segredo de justiça"


def fail(folder, spec):
    workspace = make_workspace(folder, spec)
    code = main([str(workspace.root)])
    outcome = workspace.read_outcome()
    assert outcome.status == "failed"
    assert code == ChildExit[outcome.reason.upper()]
    assert not Path(spec.model_dir).exists()
    assert outcome.message in log_of(workspace)
    return outcome


def test_an_unknown_hyperparameter_is_invalid_data(tmp_path):
    outcome = fail(tmp_path, make_spec(tmp_path, ROWS, hyperparameters={"lerning_rate": 1}))
    assert outcome.reason == "invalid_data"
    assert "lerning_rate" in outcome.message


def test_a_sheet_with_another_hash_is_dataset_mismatch(tmp_path):
    assert fail(tmp_path, make_spec(tmp_path, ROWS, dataset_sha256="0" * 64)).reason == "dataset_mismatch"


def test_a_missing_sheet_is_dataset_mismatch(tmp_path):
    spec = make_spec(tmp_path, ROWS, dataset_path=str(tmp_path / "gone.xlsx"))
    assert fail(tmp_path, spec).reason == "dataset_mismatch"


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"dataset_sha256": "0" * 64}, ChildExit.DATASET_MISMATCH), ({}, ChildExit.DISK_FULL)],
)
def test_an_outcome_that_finds_no_room_on_the_disk_is_told_by_the_exit_code(tmp_path, monkeypatch, changes, code):
    def full(self, outcome):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("worker_client.workspace.Workspace.write_outcome", full)
    assert main([str(make_workspace(tmp_path, make_spec(tmp_path, ROWS, **changes)).root)]) == code


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_the_exit_code_survives_a_disk_that_takes_no_output_either(tmp_path):
    workspace = make_workspace(tmp_path, make_spec(tmp_path, ROWS, dataset_sha256="0" * 64))
    (workspace.root / "outcome.json.tmp").mkdir()  # no outcome can be written
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "worker_client.training", str(workspace.root)]
        assert subprocess.run(command, stdout=full, stderr=full, timeout=120).returncode == ChildExit.DATASET_MISMATCH


def test_faulty_rows_are_named_without_their_text(tmp_path):
    outcome = fail(tmp_path, make_spec(tmp_path, [*ROWS, (SECRET, "")]))
    assert outcome.reason == "invalid_data"
    assert "row 62" in outcome.message
    assert SECRET not in outcome.message + outcome.traceback


def test_tags_of_another_number_than_tokens_are_invalid_data(tmp_path):
    rows = [*token_rows(30), (SECRET, "O")]
    outcome = fail(tmp_path, make_spec(tmp_path, rows, task="token_classification"))
    assert outcome.reason == "invalid_data"
    assert "length_mismatch" in outcome.message


def test_a_label_that_the_server_did_not_announce_is_invalid_data(tmp_path):
    outcome = fail(tmp_path, make_spec(tmp_path, ROWS, labels=["Ativo", "Arquivado"]))
    assert outcome.reason == "invalid_data"
    assert "not among the 2" in outcome.message


def test_a_column_that_is_not_there_is_invalid_data(tmp_path):
    outcome = fail(tmp_path, make_spec(tmp_path, ROWS, columns={"text": "ementa", "label": "label"}))
    assert outcome.reason == "invalid_data"
    assert "ementa" in outcome.message


def test_too_few_rows_for_three_parts_are_invalid_data(tmp_path):
    outcome = fail(tmp_path, make_spec(tmp_path, ROWS[:2]))
    assert outcome.reason == "invalid_data"
    assert "no row for" in outcome.message


def test_fp16_without_a_gpu_is_refused(tmp_path):
    assert "needs a GPU" in fail(tmp_path, make_spec(tmp_path, ROWS, hyperparameters={"precision": "fp16"})).message


def test_a_base_model_that_is_not_there_is_base_model_unavailable(tmp_path):
    outcome = fail(tmp_path, make_spec(tmp_path, ROWS, base_model="xlm-roberta-base"))
    assert outcome.reason == "base_model_unavailable"


@pytest.mark.slow
def test_a_loss_that_is_not_a_number_is_nan_loss(tmp_path, monkeypatch):
    whole = EncoderTrainer.compute_loss

    def broken(self, *args, **kwargs):
        return whole(self, *args, **kwargs) * float("nan")

    monkeypatch.setattr(EncoderTrainer, "compute_loss", broken)
    outcome = fail(tmp_path, make_spec(tmp_path, ROWS))
    assert outcome.reason == "nan_loss"
    assert "learning rate" in outcome.message


@pytest.mark.slow
def test_weights_that_the_last_step_of_an_epoch_ruined_are_nan_loss_and_no_model(tmp_path, monkeypatch):
    whole = EncoderTrainer.evaluate

    def ruined(self, *args, **kwargs):
        next(self.model.parameters()).data.fill_(float("nan"))
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(EncoderTrainer, "evaluate", ruined)
    outcome = fail(tmp_path, make_spec(tmp_path, ROWS))
    assert outcome.reason == "nan_loss"
    assert "evaluation loss" in outcome.message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
        (OSError(28, "No space left on device"), "disk_full"),
        (ZeroDivisionError("x"), "internal_error"),
    ],
    ids=["memory", "disk", "bug"],
)
def test_an_error_in_a_step_has_its_reason_and_its_traceback(tmp_path, monkeypatch, problem, reason):
    def broken(self, *args, **kwargs):
        raise problem

    monkeypatch.setattr(EncoderTrainer, "compute_loss", broken)
    outcome = fail(tmp_path, make_spec(tmp_path, ROWS, device_batch_size=2))
    assert outcome.reason == reason
    assert type(problem).__name__ in outcome.traceback
    assert reason != "out_of_memory" or "2 rows of up to 32 sub-tokens at once in the training" in outcome.message


@pytest.mark.slow
def test_max_length_beyond_the_model_is_capped_and_said(tmp_path):
    spec = make_spec(tmp_path, ROWS, hyperparameters={"max_length": 4_000, "epochs": 1})
    workspace = make_workspace(tmp_path, spec)
    assert main([str(workspace.root)]) == ChildExit.COMPLETED
    assert "max_length 4000" in log_of(workspace)
    assert figures_of(workspace)


@pytest.mark.slow
@pytest.mark.parametrize(
    "option",
    [
        {"precision": "bf16"},
        {"gradient_checkpointing": True},
        {"class_weights": "balanced", "label_smoothing": 0.1},
        {"layer_lr_decay": 0.9},
        {"lr_scheduler": "cosine_with_restarts", "metric_for_best": "loss"},
        {"early_stopping_patience": 0, "warmup_ratio": 0},
        {"long_text": "windows", "max_length": 12},
        {"long_text": "head_tail", "max_length": 12},
    ],
    ids=lambda option: next(iter(option)),
)
@pytest.mark.parametrize("task", ["text_classification", "token_classification"])
def test_every_option_trains_in_both_tasks(tmp_path, task, option):
    rows = text_rows(40, words=20) if task == "text_classification" else token_rows(40)
    like = {"epochs": 1, "max_length": 32, **option}
    spec = make_spec(tmp_path, rows, task=task, hyperparameters=like, device_batch_size=4)
    workspace = make_workspace(tmp_path, spec)
    assert main([str(workspace.root)]) == ChildExit.COMPLETED, workspace.read_outcome().traceback
    outcome = workspace.read_outcome()
    assert outcome.environment["precision"] == option.get("precision", "fp32")
    assert outcome.environment["device_batch_size"] == 4
    if option.get("long_text") == "windows":
        assert set(outcome.report["truncated_share"].values()) == {0}
        assert set(outcome.report["lost_words"].values()) == {0}


@pytest.mark.slow
@pytest.mark.parametrize(
    "option",
    [{"learning_rate": 1e-7}, {"batch_size": 1024}, {"warmup_ratio": 0.99}],
    ids=lambda option: next(iter(option)),
)
def test_a_polynomial_schedule_trains_with_every_rate_and_number_of_steps(tmp_path, option):
    like = {"epochs": 1, "lr_scheduler": "polynomial", **option}
    workspace = make_workspace(tmp_path, make_spec(tmp_path, ROWS, hyperparameters=like))
    assert main([str(workspace.root)]) == ChildExit.COMPLETED, workspace.read_outcome().traceback


@pytest.mark.slow
def test_a_run_of_one_step_learns_by_its_rate(tmp_path):
    models = set()
    for rate in (1e-3, 1e-4):
        like = {"epochs": 1, "batch_size": 1024, "learning_rate": rate}
        workspace = make_workspace(tmp_path / str(rate), make_spec(tmp_path / str(rate), ROWS, hyperparameters=like))
        assert main([str(workspace.root)]) == ChildExit.COMPLETED
        models.add(workspace.read_outcome().model_sha256)
    assert len(models) == 2


def test_rows_of_which_the_base_model_reads_nothing_are_invalid_data(tmp_path):
    rows = [("\N{REPLACEMENT CHARACTER}" * count, "B-LOCAL" if count % 2 else "O") for count in range(1, 41)]
    outcome = fail(tmp_path, make_spec(tmp_path, rows, task="token_classification"))
    assert (outcome.reason, "reads nothing" in outcome.message) == ("invalid_data", True)


def test_progress_names_the_phases(tmp_path):
    workspace = make_workspace(tmp_path, make_spec(tmp_path, ROWS, base_model="xlm-roberta-base"))
    main([str(workspace.root)])
    spool = Spool(workspace.spool_path)
    assert spool.progress()["phase"] == "loading"
    spool.close()


def test_a_folder_without_a_spec_is_a_usage_error(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "usage:" in capsys.readouterr().err
