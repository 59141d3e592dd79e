"""Estimates of a new run: medians of finished runs like it, or nothing."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from datasets_app.models import Dataset
from runs_app.models import BUILTIN_TINY_BERT, BaseModel, Run
from runs_app.services import queue, telemetry
from runs_app.services.estimates import memory_needed, time_needed, tokens_per_epoch
from tests.factories import make_dataset, make_run, make_running_job

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]

GB = 2**30


def sheet(rows: int = 1000, words: float = 40) -> Dataset:
    return make_dataset(num_rows=rows, report={"quality": {"words": {"mean": words}}})


def finished(dataset: Dataset, minutes: float, epochs: float = 10, peak: Any = None, **values: Any) -> Run:
    """A completed run that took `minutes` and reported the figures of its last epoch."""
    job = make_running_job(dataset=dataset, **values)
    point = {"epoch": epochs, "step": 100, "split": "validation", "values": {}}
    telemetry.record_metrics(job=job, points=[point])
    result = queue.Result(model_path="m", environment={"gpu_memory_peak_bytes": peak})
    now = timezone.now()
    queue.complete_job(job_id=job.pk, attempt=1, worker=job.worker, result=result, now=now)
    Run.objects.filter(pk=job.run_id).update(started_at=now - timedelta(minutes=minutes), finished_at=now)
    return job.run


def test_the_time_is_the_median_of_finished_runs() -> None:
    dataset = sheet()
    for minutes in (10, 12, 60):
        finished(dataset, minutes)
    estimate = time_needed(make_run(dataset))
    assert estimate is not None
    assert (round(estimate.value), estimate.runs) == (12 * 60, 3)


def test_the_time_grows_with_epochs_and_tokens() -> None:
    finished(sheet(rows=1000), minutes=10, epochs=5)
    estimate = time_needed(make_run(sheet(rows=1500), given={"epochs": 10}))
    assert estimate is not None
    assert round(estimate.value) == 10 * 60 * 2 * 1.5


def test_a_run_that_reads_much_more_or_less_is_no_basis() -> None:
    finished(sheet(rows=1000), minutes=10)
    assert time_needed(make_run(sheet(rows=2001))) is None
    assert time_needed(make_run(sheet(rows=499))) is None


def test_a_run_of_another_base_model_is_no_basis() -> None:
    BaseModel.objects.get_or_create(model_id="other/model")
    finished(sheet(), minutes=10, peak=2 * GB)
    other = make_run(sheet(), base_model="other/model")
    assert (time_needed(other), memory_needed(other)) == (None, None)


def test_a_run_that_was_interrupted_is_no_basis_for_the_time() -> None:
    run = finished(sheet(), minutes=300)
    run.job.__class__.objects.filter(run=run).update(attempt=2)
    assert time_needed(make_run(sheet())) is None


def test_without_a_measure_of_the_texts_there_is_no_time() -> None:
    finished(sheet(), minutes=10)
    assert time_needed(make_run(make_dataset())) is None


def test_measured_tokens_come_before_the_estimate_from_words() -> None:
    dataset = sheet(rows=100, words=40)
    run = make_run(dataset, given={"train_split": 0.5, "max_length": 256})
    assert tokens_per_epoch(run) == 100 * 0.5 * 60
    dataset.token_lengths = {BUILTIN_TINY_BERT: {"mean": 90.0}}
    assert tokens_per_epoch(run) == 100 * 0.5 * 90


def test_the_maximum_length_bounds_what_is_read_but_for_windows() -> None:
    dataset = sheet(rows=100, words=400)
    cut = make_run(dataset, given={"max_length": 128})
    windows = make_run(dataset, given={"max_length": 128, "long_text": "windows", "window_stride": 16})
    assert tokens_per_epoch(cut) == pytest.approx(100 * 0.8 * 128)
    assert tokens_per_epoch(windows) == pytest.approx(100 * 0.8 * 600)


def test_the_memory_is_the_median_peak_of_runs_with_the_same_length_and_batch() -> None:
    dataset = sheet()
    for peak in (3 * GB, 4 * GB, 9 * GB):
        finished(dataset, 10, peak=peak)
    finished(dataset, 10, peak=20 * GB, given={"batch_size": 64})
    estimate = memory_needed(make_run(dataset))
    assert estimate is not None
    assert (estimate.value, estimate.runs) == (4 * GB, 3)


@pytest.mark.parametrize("peak", [None, 0, -1, True, "4 GB", [4]])
def test_a_peak_that_no_worker_of_ours_would_tell_is_no_basis(peak: Any) -> None:
    finished(sheet(), 10, peak=peak)
    assert memory_needed(make_run(sheet())) is None
