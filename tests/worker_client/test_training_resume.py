"""Stopped anywhere, damaged or cancelled: what the next attempt does, in this process and step by step."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from tests.worker_client.training_factories import (
    QUICK,
    TAGS,
    calm_base,
    figures_of,
    log_of,
    make_spec,
    make_workspace,
    text_rows,
    token_rows,
)
from worker_client.errors import ChildExit
from worker_client.spool import Spool
from worker_client.training import checkpoints
from worker_client.training.__main__ import main
from worker_client.training.batches import Padded
from worker_client.training.ordering import RowOrder
from worker_client.training.trainer import EncoderTrainer
from worker_client.workspace import Workspace

pytestmark = pytest.mark.slow

ROWS = text_rows(90)  # 72 train: 9 steps an epoch
LIKE = {"epochs": 3, "batch_size": 8}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def stop_at(monkeypatch):
    """Make the stop file appear in the first attempt, when the Trainer looks for it after so many steps."""

    def arrange(step, reason="shutdown"):
        from worker_client.training.callbacks import StopOnRequest

        ask = StopOnRequest.on_step_end

        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == step and self.stopping.workspace.root.name == "attempt-1":
                self.stopping.workspace.request_stop(reason)
            return ask(self, args, state, control, **kwargs)

        monkeypatch.setattr(StopOnRequest, "on_step_end", on_step_end)

    return arrange


def attempt(folder, spec, number) -> tuple[int, Workspace]:
    workspace = make_workspace(folder, spec, number)
    return main([str(workspace.root)]), workspace


def events_of(workspace):
    spool = Spool(workspace.spool_path)
    told = [(event["kind"], event["details"]) for event in spool.next_events()]
    spool.close()
    return told


def checkpoints_of(spec):
    return sorted(int(path.name[11:]) for path in Path(spec.checkpoints_dir).glob("checkpoint-*"))


def whole_run(folder, **changes):
    code, workspace = attempt(folder, make_spec(folder, ROWS, hyperparameters={**LIKE, **changes}), 1)
    assert code == ChildExit.COMPLETED, workspace.read_outcome().traceback
    return workspace.read_outcome(), workspace


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    hashes = []
    for name, seed in (("once", 42), ("again", 42), ("other", 43)):
        spec = make_spec(tmp_path / name, ROWS, hyperparameters={**LIKE, "epochs": 1}, seed=seed)
        _, workspace = attempt(tmp_path / name, spec, 1)
        hashes.append(workspace.read_outcome().model_sha256)
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("step", [4, 9, 13, 18])
def test_resumed_in_mid_epoch_or_at_its_end_the_weights_are_the_same(tmp_path, stop_at, step):
    reference, _ = whole_run(tmp_path / "whole")
    spec = make_spec(tmp_path, ROWS, hyperparameters=LIKE)
    stop_at(step)
    code, _ = attempt(tmp_path, spec, 1)
    assert (code, checkpoints_of(spec)[-1]) == (ChildExit.STOPPED, step)
    code, workspace = attempt(tmp_path, spec, 2)
    assert code == ChildExit.COMPLETED
    assert workspace.read_outcome().model_sha256 == reference.model_sha256
    assert [point["step"] for point in figures_of(workspace) if point["split"] == "validation"] == [9, 18, 27]


def test_a_resumed_attempt_tells_the_epoch_of_its_checkpoint_at_once(tmp_path, stop_at, monkeypatch):
    spec = make_spec(tmp_path, ROWS, hyperparameters={**LIKE, "epochs": 2})
    stop_at(13)
    attempt(tmp_path, spec, 1)
    told = []
    monkeypatch.setattr(Spool, "put_progress", lambda spool, **progress: told.append(progress))
    attempt(tmp_path, spec, 2)
    first = next(progress for progress in told if progress["total_steps"])
    assert (first["step"], first["epoch"]) == (13, pytest.approx(13 / 9, abs=1e-4))


def test_a_run_with_a_rate_for_each_layer_and_smoothed_labels_resumes_alike(tmp_path, stop_at):
    like = {**LIKE, "epochs": 2, "layer_lr_decay": 0.8, "label_smoothing": 0.1}
    reference, _ = whole_run(tmp_path / "whole", **like)
    spec = make_spec(tmp_path, ROWS, hyperparameters=like)
    stop_at(4)
    attempt(tmp_path, spec, 1)
    code, workspace = attempt(tmp_path, spec, 2)
    assert code == ChildExit.COMPLETED
    assert events_of(workspace) == [("resumed", {"step": 4})]
    assert workspace.read_outcome().model_sha256 == reference.model_sha256


def test_entities_with_accumulation_resume_alike(tmp_path, stop_at):
    changes = {"task": "token_classification", "device_batch_size": 2, "hyperparameters": {"epochs": 2}}
    rows = token_rows(60)
    spec = make_spec(tmp_path / "whole", rows, **{**changes, "labels": TAGS})
    _, reference = attempt(tmp_path / "whole", spec, 1)
    spec = make_spec(tmp_path, rows, **changes)
    stop_at(8)
    attempt(tmp_path, spec, 1)
    code, workspace = attempt(tmp_path, spec, 2)
    assert code == ChildExit.COMPLETED
    assert workspace.read_outcome().model_sha256 == reference.read_outcome().model_sha256


def test_resumed_with_a_batch_split_for_want_of_memory_the_weights_are_the_same_but_for_rounding(tmp_path, stop_at):
    calm = {"base_model": "org/calm", "base_model_dir": calm_base(tmp_path, ROWS), "hyperparameters": LIKE}
    weights = []
    for name, step in (("whole", None), ("split", 13)):
        spec = make_spec(tmp_path / name, ROWS, **calm)
        if step:
            stop_at(step)
            attempt(tmp_path / name, spec, 1)
            spec = replace(spec, device_batch_size=2)
        code, workspace = attempt(tmp_path / name, spec, 2)
        assert code == ChildExit.COMPLETED
        weights.append(load_file(Path(spec.model_dir) / "model.safetensors"))
    assert events_of(workspace) == [("resumed", {"step": 13})]
    assert workspace.read_outcome().environment["gradient_accumulation"] == 4
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, atol=1e-4, rtol=0, msg=name)


def test_the_order_of_rows_is_that_of_the_epoch_in_which_a_run_goes_on():
    from worker_client.training.trainer import OrderOfEpoch

    order = RowOrder([5] * 9, batch_size=2, seed=1, grouped=False)
    OrderOfEpoch(order).on_epoch_begin(None, SimpleNamespace(epoch=1.5), None)
    assert order.epoch == 1


def test_the_train_loss_of_a_resumed_epoch_is_that_of_the_whole_epoch(tmp_path, stop_at):
    _, reference = whole_run(tmp_path / "whole")
    spec = make_spec(tmp_path, ROWS, hyperparameters=LIKE)
    stop_at(13)
    attempt(tmp_path, spec, 1)
    _, workspace = attempt(tmp_path, spec, 2)
    for ours, theirs in zip(figures_of(workspace), figures_of(reference), strict=True):
        assert ours["values"] == pytest.approx(theirs["values"], abs=1e-6)


def test_a_damaged_checkpoint_is_skipped_and_the_one_before_gives_the_same_weights(tmp_path, stop_at):
    reference, _ = whole_run(tmp_path / "whole")
    spec = make_spec(tmp_path, ROWS, hyperparameters=LIKE)
    stop_at(13)
    attempt(tmp_path, spec, 1)
    optimizer = Path(spec.checkpoints_dir) / "checkpoint-13" / "optimizer.pt"
    optimizer.write_bytes(optimizer.read_bytes()[:1000])
    code, workspace = attempt(tmp_path, spec, 2)
    assert code == ChildExit.COMPLETED
    assert "checkpoint of step 9" in log_of(workspace)
    assert "checkpoint-13" in log_of(workspace)
    assert events_of(workspace) == [("checkpoint_damaged", {"steps": "13"}), ("resumed", {"step": 9})]
    assert workspace.read_outcome().model_sha256 == reference.model_sha256


def test_a_resumed_epoch_keeps_its_order_of_rows_where_batches_are_padded_now(tmp_path, stop_at, monkeypatch):
    from worker_client.training import attempt as engine

    drawn, rows_of = set(), RowOrder.rows_of

    def noted(self, epoch):
        rows = rows_of(self, epoch)
        drawn.add((epoch, *rows.tolist()))
        return rows

    monkeypatch.setattr(RowOrder, "rows_of", noted)
    spec = make_spec(tmp_path, ROWS, hyperparameters=LIKE)
    stop_at(13)
    attempt(tmp_path, spec, 1)
    packed = {order for order in drawn if order[0] == 1}
    drawn.clear()
    monkeypatch.setattr(engine, "layout_for", lambda *_, pad_id, **__: Padded(pad_id))
    code, workspace = attempt(tmp_path, spec, 2)
    assert code == ChildExit.COMPLETED
    assert "padded batches" in log_of(workspace)
    assert {order for order in drawn if order[0] == 1} == packed


@pytest.mark.parametrize(
    "change",
    [{"seed": 43}, {"hyperparameters": {**QUICK, **LIKE, "learning_rate": 1e-3}}],
    ids=lambda made: next(iter(made)),
)
def test_a_checkpoint_of_other_settings_is_not_gone_on_from(tmp_path, stop_at, change):
    spec = make_spec(tmp_path, ROWS, hyperparameters=LIKE)
    stop_at(13)
    attempt(tmp_path, spec, 1)
    _, workspace = attempt(tmp_path, replace(spec, **change), 2)
    assert "Going on" not in log_of(workspace)
    assert "dropped" in log_of(workspace)


def test_a_cancelled_run_ends_at_once_without_a_checkpoint(tmp_path, stop_at):
    spec = make_spec(tmp_path, ROWS, hyperparameters=LIKE)
    stop_at(4, "cancelled")
    code, workspace = attempt(tmp_path, spec, 1)
    assert (code, workspace.read_outcome().reason) == (ChildExit.STOPPED, "cancelled")
    assert checkpoints_of(spec) == []


def test_a_run_that_is_cancelled_while_it_is_evaluated_ends_without_its_figures(tmp_path, monkeypatch):
    from worker_client.training.callbacks import Telemetry

    spec = make_spec(tmp_path, ROWS, hyperparameters=LIKE)
    workspace = make_workspace(tmp_path, spec)
    monkeypatch.setattr(Telemetry, "on_prediction_step", lambda *_, **__: workspace.request_stop("cancelled"))
    assert main([str(workspace.root)]) == ChildExit.STOPPED
    assert (workspace.read_outcome().reason, figures_of(workspace)) == ("cancelled", [])
    assert checkpoints_of(spec) == []


def test_a_child_whose_parent_is_gone_saves_and_stops(tmp_path, monkeypatch):
    spec = make_spec(tmp_path, ROWS, hyperparameters=LIKE)
    from worker_client.training.callbacks import Telemetry

    step_end = Telemetry.on_step_end

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 4:
            monkeypatch.setattr("worker_client.training.stopping.os.getppid", lambda: -1)
        return step_end(self, args, state, control, **kwargs)

    monkeypatch.setattr(Telemetry, "on_step_end", on_step_end)
    code, workspace = attempt(tmp_path, spec, 1)
    assert (code, workspace.read_outcome().reason) == (ChildExit.STOPPED, "crashed")
    assert checkpoints_of(spec) == [4]


def test_an_early_stopped_training_is_not_gone_on_with_after_a_crash_in_the_export(tmp_path, monkeypatch):
    from worker_client.training import attempt as engine

    hopeless = {"epochs": 6, "learning_rate": 1e-9, "early_stopping_patience": 2}
    spec = make_spec(tmp_path, ROWS, hyperparameters=hopeless)
    with monkeypatch.context() as broken:
        broken.setattr(engine, "export_model", lambda **_: 1 / 0)
        code, _ = attempt(tmp_path, spec, 1)
    assert code == ChildExit.INTERNAL_ERROR
    assert checkpoints_of(spec)[-1] == 27  # epoch 1, then two without a better figure
    code, _ = attempt(tmp_path, spec, 2)
    assert (code, checkpoints_of(spec)[-1]) == (ChildExit.COMPLETED, 27)


def test_epochs_without_a_better_figure_are_counted_on_after_a_resume(tmp_path, stop_at):
    hopeless = {"epochs": 6, "learning_rate": 1e-9, "early_stopping_patience": 2}
    spec = make_spec(tmp_path, ROWS, hyperparameters=hopeless)
    stop_at(22)  # epoch 2 was the first without a better one
    attempt(tmp_path, spec, 1)
    code, _ = attempt(tmp_path, spec, 2)
    assert (code, checkpoints_of(spec)[-1]) == (ChildExit.COMPLETED, 27)


def test_a_training_that_was_over_before_the_export_crashed_gives_the_model_that_it_would_have_given(
    tmp_path, monkeypatch
):
    from worker_client.training import attempt as engine

    judged = EncoderTrainer._determine_best_metric

    def worse_each_time(self, metrics, trial):
        return judged(self, {**metrics, f"eval_{self.args.metric_for_best_model}": -self.state.epoch}, trial)

    monkeypatch.setattr(EncoderTrainer, "_determine_best_metric", worse_each_time)
    reference, _ = whole_run(tmp_path / "whole", early_stopping_patience=0)
    spec = make_spec(tmp_path, ROWS, hyperparameters={**LIKE, "early_stopping_patience": 0})
    with monkeypatch.context() as broken:
        broken.setattr(engine, "export_model", lambda **_: 1 / 0)
        attempt(tmp_path, spec, 1)
    _, workspace = attempt(tmp_path, spec, 2)
    outcome = workspace.read_outcome()
    assert (outcome.best_epoch, outcome.model_sha256) == (reference.best_epoch, reference.model_sha256)
    assert outcome.best_epoch == 1


def test_each_epoch_has_an_order_of_rows_of_its_own(tmp_path, monkeypatch):
    drawn = []
    iterate = RowOrder.__iter__

    def noted(self):
        drawn.append(tuple(iterate(self)))
        return iter(drawn[-1])

    monkeypatch.setattr(RowOrder, "__iter__", noted)
    whole_run(tmp_path)
    assert len(drawn) == len(set(drawn)) == 3


def test_checkpoints_by_the_clock_do_not_change_the_weights(tmp_path):
    reference, _ = whole_run(tmp_path / "whole")
    often, workspace = whole_run(tmp_path / "often", save_every_minutes=1e-6)
    assert log_of(workspace).count("Checkpoint saved") == 27
    assert often.model_sha256 == reference.model_sha256
    assert checkpoints_of(workspace.read_spec()) == sorted({int(often.best_epoch) * 9, 26, 27})


@pytest.fixture
def full_disk_at(monkeypatch):
    """No room for the checkpoint of one step."""

    def arrange(step):
        seal = checkpoints.seal

        def sealing(folder, fingerprint):
            if folder.name == f"checkpoint-{step}":
                raise OSError(28, "No space left on device")
            seal(folder, fingerprint)

        monkeypatch.setattr(checkpoints, "seal", sealing)

    return arrange


def test_a_checkpoint_by_the_clock_that_finds_no_room_does_not_stop_the_training(tmp_path, full_disk_at):
    reference, _ = whole_run(tmp_path / "whole")
    full_disk_at(4)
    often, workspace = whole_run(tmp_path / "often", save_every_minutes=1e-6)
    assert events_of(workspace) == [("checkpoint_failed", {"step": 4})]
    assert "Checkpoint saved at step 4" not in log_of(workspace).splitlines()
    assert log_of(workspace).count("Checkpoint saved") == 26
    assert often.model_sha256 == reference.model_sha256


def test_a_full_disk_at_the_end_of_an_epoch_fails_and_keeps_the_checkpoint_before(tmp_path, full_disk_at):
    full_disk_at(18)
    spec = make_spec(tmp_path, ROWS, hyperparameters=LIKE)
    code, workspace = attempt(tmp_path, spec, 1)
    assert (code, workspace.read_outcome().reason) == (ChildExit.DISK_FULL, "disk_full")
    assert checkpoints_of(spec) == [9]


def test_the_newest_checkpoint_is_told_with_the_progress(tmp_path, stop_at):
    spec = make_spec(tmp_path, ROWS, hyperparameters=LIKE)
    stop_at(13)
    _, workspace = attempt(tmp_path, spec, 1)
    spool = Spool(workspace.spool_path)
    assert spool.progress()["checkpoint_step"] == 13
    spool.close()


def test_a_finished_model_is_replaced_whole_by_the_next_attempt(tmp_path):
    spec = make_spec(tmp_path, ROWS, hyperparameters={"epochs": 1})
    for number in (1, 2):
        code, _ = attempt(tmp_path, spec, number)
        assert code == ChildExit.COMPLETED
    assert [path.name for path in Path(spec.model_dir).parent.iterdir()] == ["run-7"]
