"""Two processes train one run as one would, and end together. On CPU, with gloo in the place of NCCL."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, RoFormerConfig, RoFormerModel

from tests.worker_client.training_factories import (
    SIGNS,
    figures_of,
    log_of,
    make_spec,
    make_workspace,
    text_rows,
    wait_for_training,
)
from worker_client.child import TRAINING_COMMAND, as_processes, kill_tree
from worker_client.errors import ChildExit
from worker_client.formats import Record
from worker_client.training.base_models import load_base_model
from worker_client.training.tasks import task_for

pytestmark = pytest.mark.slow

ROWS = text_rows(90)  # 72 train: 9 whole steps an epoch
LIKE = {"epochs": 2, "batch_size": 8}
FULL_DISK = (sys.executable, str(Path(__file__).with_name("full_disk_rank.py")))
OLDER_GPU = (sys.executable, str(Path(__file__).with_name("older_gpu_rank.py")))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model without dropout, whose masks would differ between one process and two."""
    folder = tmp_path_factory.mktemp("base")
    records = [Record(row, text=text, label=label) for row, (text, label) in enumerate(ROWS, start=2)]
    made = load_base_model(make_spec(folder, []), task_for("text_classification", list(SIGNS)), records)
    config = BertConfig(
        **{**made.model.config.to_dict(), "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    made.tokenizer.save_pretrained(folder)
    return folder


def start(folder: Path, base: Path, *, processes: int, attempt: int = 1, program=TRAINING_COMMAND, full="", **changes):
    spec = make_spec(
        folder,
        changes.pop("rows", ROWS),
        base_model="neuralmind/bert-base-portuguese-cased",
        base_model_dir=str(base),
        hyperparameters={**LIKE, **changes.pop("hyperparameters", {})},
        processes=processes,
        **changes,
    )
    workspace = make_workspace(folder, spec, attempt)
    command = [*as_processes(program, processes), str(workspace.root)]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1", "FULL": full}), workspace


def finish(process, workspace):
    try:
        code = process.wait(timeout=300)
    finally:
        kill_tree(process.pid)
    assert code == ChildExit.COMPLETED, workspace.read_outcome()
    return workspace


@pytest.fixture(scope="module")
def pair(tmp_path_factory, base):
    return finish(*start(tmp_path_factory.mktemp("two"), base, processes=2))


def test_two_processes_give_the_losses_of_one(pair, base, tmp_path):
    alone = finish(*start(tmp_path, base, processes=1))
    both, one = figures_of(pair), figures_of(alone)
    assert [(point["split"], point["step"]) for point in both] == [(point["split"], point["step"]) for point in one]
    for ours, theirs in zip(both, one, strict=True):
        assert ours["values"] == pytest.approx(theirs["values"], abs=1e-5)
    assert pair.read_outcome().environment["processes"] == 2
    assert "4 rows at once x 1 x 2 processes = 8 rows per step" in log_of(pair)


@pytest.mark.parametrize("count", [85, 81], ids=["four rows left for one", "one row left"])
def test_two_processes_give_the_losses_of_one_where_the_last_batch_is_not_full(base, tmp_path, count):
    like = {"rows": text_rows(count), "hyperparameters": {"batch_size": 8, "class_weights": "balanced"}}
    both, one = (
        figures_of(finish(*start(tmp_path / str(processes), base, processes=processes, **like))) for processes in (2, 1)
    )
    for ours, theirs in zip(both, one, strict=True):
        assert ours["values"] == pytest.approx(theirs["values"], abs=1e-5)


def test_where_one_process_cannot_pack_both_take_padded_batches_in_the_same_order(base, tmp_path):
    workspace = finish(*start(tmp_path, base, processes=2, program=OLDER_GPU))
    assert workspace.read_outcome().environment["batches"] == "padded"


@pytest.fixture
def with_an_unused_part(base, tmp_path):
    """A base model of a family that has a part which no answer comes from: RoFormer's table of positions."""
    folder = tmp_path / "roformer"
    tokenizer = AutoTokenizer.from_pretrained(base)
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    RoFormerModel(RoFormerConfig(vocab_size=len(tokenizer), **small)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_two_processes_train_a_model_of_which_a_part_is_unused(with_an_unused_part, tmp_path):
    finish(*start(tmp_path / "run", with_an_unused_part, processes=2, hyperparameters={"epochs": 1}))


def test_two_processes_find_each_other_on_a_machine_whose_name_nobody_knows(base, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import socket\nsocket.getfqdn = lambda name='': 'pc.invalid'\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    finish(*start(tmp_path, base, processes=2, hyperparameters={"epochs": 1}))


def test_two_processes_stop_together_and_go_on_from_their_checkpoint(pair, base, tmp_path):
    process, first = start(tmp_path, base, processes=2)
    wait_for_training(first)
    first.request_stop("shutdown")
    assert process.wait(timeout=300) != ChildExit.COMPLETED
    assert (first.read_outcome().status, first.read_outcome().reason) == ("stopped", "shutdown")
    second = finish(*start(tmp_path, base, processes=2, attempt=2))
    assert second.read_outcome().model_sha256 == pair.read_outcome().model_sha256


def test_the_first_failure_is_the_one_that_is_told(base, tmp_path):
    spec = make_spec(tmp_path, ROWS, hyperparameters={"lerning_rate": 1}, processes=2)
    workspace = make_workspace(tmp_path, spec)
    command = [*as_processes(TRAINING_COMMAND, 2), str(workspace.root)]
    done = subprocess.run(command, capture_output=True, timeout=300)
    assert done.returncode != 0
    assert workspace.read_outcome().reason == "invalid_data"


@pytest.mark.parametrize("full", ["0:9:save_model", "1:9:_save_rng_state"], ids=["weights", "the other's part"])
def test_a_disk_that_is_full_for_one_process_ends_both_where_the_best_model_must_be_kept(base, tmp_path, full):
    process, workspace = start(tmp_path, base, processes=2, program=FULL_DISK, full=full)
    assert process.wait(timeout=300) != ChildExit.COMPLETED
    assert workspace.read_outcome().reason == "disk_full"


def test_within_an_epoch_both_go_on_without_the_checkpoint_that_one_could_not_write(pair, base, tmp_path):
    often = {"hyperparameters": {"save_every_minutes": 1e-6}}
    full = "1:4:_save_rng_state"
    workspace = finish(*start(tmp_path, base, processes=2, program=FULL_DISK, full=full, **often))
    assert "no room for the checkpoint of step 4" in log_of(workspace)
    assert log_of(workspace).count("Checkpoint saved") == 17
    assert workspace.read_outcome().model_sha256 == pair.read_outcome().model_sha256


def test_both_end_with_a_checkpoint_when_the_worker_is_killed_behind_their_parents_back(base, tmp_path):
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    known = {"worker_pid": worker.pid, "worker_started": psutil.Process(worker.pid).create_time()}
    long = {"hyperparameters": {"epochs": 200, "early_stopping_patience": 0}}
    process, workspace = start(tmp_path, base, processes=2, **known, **long)
    wait_for_training(workspace)
    ranks = psutil.Process(process.pid).children(recursive=True)
    worker.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    worker.wait()
    assert (workspace.read_outcome().status, workspace.read_outcome().reason) == ("stopped", "crashed")
    assert list((tmp_path / "jobs" / "1" / "checkpoints").glob("checkpoint-*/intact.json"))
    assert not [rank for rank in ranks if rank.is_running()]


def test_one_process_is_started_without_torchrun():
    assert as_processes(TRAINING_COMMAND, 1) == [sys.executable, "-m", "worker_client.training"]
