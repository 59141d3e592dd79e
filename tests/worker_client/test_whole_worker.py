"""The real program with its real training child, over HTTP: want of memory, a killed tree, a stop."""

import signal
import sys
from pathlib import Path

import psutil
import pytest
from transformers import BertConfig, BertForMaskedLM

from tests.worker_client.fake_server import FakeJob, FakeServer
from tests.worker_client.training_factories import QUICK, SIGNS, make_sheet, text_rows
from worker_client.formats import Record
from worker_client.training.base_models import _tiny_tokenizer
from worker_client.training.tasks import task_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
]

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
TOO_LATE_S = 240


def add_job(server: FakeServer, folder: Path, rows: list[tuple[str, str]], **hyperparameters) -> FakeJob:
    """A run on a real sheet."""
    job = server.add_job(**{**QUICK, **hyperparameters})
    job.sheet = make_sheet(folder / f"sheet-{job.id}.xlsx", ["text", "label"], rows).read_bytes()
    labels = [{"name": name, "count": 1} for name in SIGNS]
    job.dataset = {"sheet": "dados", "columns": {"text": "text", "label": "label"}, "labels": labels}
    return job


def without_dropout(folder: Path, rows: list[tuple[str, str]]) -> None:
    """A small base model whose loss does not depend on how a batch is split."""
    records = [Record(at, text=text, label=label) for at, (text, label) in enumerate(rows, start=2)]
    tokenizer = _tiny_tokenizer(task_for("text_classification", list(SIGNS)), records)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **small, **off)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def losses(job: FakeJob, split: str) -> list[float]:
    return [point["values"]["loss"] for (of, _), point in sorted(job.points.items()) if of == split]


def test_batch_64_where_16_fit_is_trained_as_16_times_4_with_the_same_loss_at_each_step(server, start_worker, tmp_path):
    rows = text_rows(80)  # 64 to train: an epoch is one step, and its train loss the loss of that step
    without_dropout(tmp_path / "base/org/calm", rows)
    like = {"batch_size": 64, "epochs": 8, "early_stopping_patience": 0}
    whole, capped = add_job(server, tmp_path, rows, **like), add_job(server, tmp_path, rows, **like)
    whole.base_model = capped.base_model = "org/calm"
    flags = ("--once", "--base-models-dir", str(tmp_path / "base"))
    assert start_worker(*flags, trains=True, **ONE_THREAD).wait(TOO_LATE_S) == 0
    assert start_worker(*flags, trains=True, BERT_WORKER_TEST_MAX_BATCH="16", **ONE_THREAD).wait(TOO_LATE_S) == 0
    assert capped.told("batch_halved") == [
        {"from": 64, "to": 32, "accumulation": 2},
        {"from": 32, "to": 16, "accumulation": 4},
    ]
    described = capped.result["environment"]
    assert (described["device_batch_size"], described["gradient_accumulation"]) == (16, 4)
    assert whole.result["environment"]["device_batch_size"] == 64
    assert len(losses(whole, "train")) == 8
    assert losses(capped, "train") == pytest.approx(losses(whole, "train"), abs=1e-4)
    assert losses(capped, "validation") == pytest.approx(losses(whole, "validation"), abs=1e-4)


def test_a_worker_killed_with_its_training_goes_on_to_the_same_weights(server, start_worker, tmp_path):
    """builtin/tiny-bert trains with dropout: the random state must come back too."""
    rows = text_rows(300)  # 240 to train: 30 steps an epoch
    like = {"epochs": 3, "batch_size": 8, "save_every_minutes": 0.002}
    whole, killed = add_job(server, tmp_path, rows, **like), add_job(server, tmp_path, rows, **like)
    assert start_worker("--once", trains=True, **ONE_THREAD).wait(TOO_LATE_S) == 0
    worker = start_worker("--once", trains=True, **ONE_THREAD)
    server.wait_for(lambda: 31 <= saved_step(killed) < 60, TOO_LATE_S)
    kill_tree(worker)
    assert not killed.result
    assert start_worker("--once", trains=True, **ONE_THREAD).wait(TOO_LATE_S) == 0
    assert (killed.releases, killed.attempt) == (["crashed"], 2)
    (resumed,) = killed.told("resumed")
    assert resumed["step"] >= 31
    assert killed.result["model_sha256"] == whole.result["model_sha256"]
    assert killed.result["metrics"] == whole.result["metrics"]
    assert killed.points.keys() == whole.points.keys()


def test_a_sigterm_gives_a_training_back_with_a_checkpoint_and_it_goes_on(server, start_worker, tmp_path):
    job = add_job(server, tmp_path, text_rows(300), epochs=40, batch_size=8, early_stopping_patience=0)
    worker = start_worker(trains=True, **ONE_THREAD)
    server.wait_for(lambda: job.progress and job.progress[-1]["step"] >= 5, TOO_LATE_S)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert (job.releases, job.status) == (["shutdown"], "pending")
    saved = saved_step(job)
    assert saved >= 5
    worker = start_worker(trains=True, **ONE_THREAD)
    server.wait_for(lambda: job.told("resumed"), TOO_LATE_S)
    assert job.told("resumed") == [{"step": saved}]
    job.cancel_requested = True
    server.wait_for(lambda: job.releases == ["shutdown", "cancelled"], 45)


def test_a_sigterm_to_the_training_process_alone_saves_and_costs_no_attempt(server, start_worker, tmp_path):
    job = add_job(server, tmp_path, text_rows(300), epochs=40, batch_size=8, early_stopping_patience=0)
    worker = start_worker("--once", trains=True, **ONE_THREAD)
    server.wait_for(lambda: job.progress and job.progress[-1]["step"] >= 5, TOO_LATE_S)
    (child,) = psutil.Process(worker.pid).children()
    child.terminate()
    assert worker.wait(60) == 0
    assert job.releases == ["shutdown"]
    assert saved_step(job) >= 5


def saved_step(job: FakeJob) -> int:
    """The newest checkpoint that the server was told of."""
    return max((progress.get("checkpoint_step", 0) for progress in job.progress), default=0)


def kill_tree(worker) -> None:
    """No process of it gets to do anything any more."""
    family = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
    for member in family:
        member.kill()
    psutil.wait_procs(family[1:], timeout=10)
    worker.wait(10)
