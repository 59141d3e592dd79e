"""How an attempt ends: complete, fail, release; each once, and repeats change nothing."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.utils import timezone

from runs_app.choices import RETRIED_REASONS, TERMINAL, FailureReason, ReleaseReason, Status
from runs_app.models import Attempt, Job, Run, TrainedModel
from runs_app.services import queue, runs
from runs_app.services.errors import LeaseLost
from tests.factories import after_lease, claim, make_running_job, make_worker
from workers_app.models import Worker

pytestmark = pytest.mark.django_db

RESULT = queue.Result(
    model_path="/models/run-1",
    model_sha256="a" * 64,
    metrics={"test_f1": 0.9},
    best_epoch=2.0,
    report={"labels": ["a"]},
    environment={"torch": "2.13"},
)


def held(job: Job, attempt: int | None = None) -> dict[str, Any]:
    return {"job_id": job.pk, "attempt": attempt or job.attempt, "worker": job.worker, "now": timezone.now()}


def complete(job: Job, **values: Any) -> Job:
    return queue.complete_job(**{**held(job), "result": RESULT, **values})


def fail(job: Job, reason: FailureReason = FailureReason.NAN_LOSS, **values: Any) -> Job:
    return queue.fail_job(**{**held(job), "reason": reason, "message": "what happened", **values})


def release(job: Job, reason: ReleaseReason = ReleaseReason.SHUTDOWN, **values: Any) -> Job:
    return queue.release_job(**{**held(job), "reason": reason, **values})


# Complete


def test_complete_finishes_job_and_run_with_the_result() -> None:
    job = make_running_job()
    complete(job)
    job.refresh_from_db()
    run = job.run
    run.refresh_from_db()
    assert (job.status, job.lease_expires_at, run.status) == ("completed", None, "completed")
    assert (run.metrics, run.best_epoch) == ({"test_f1": 0.9}, 2.0)
    assert (run.report, run.environment) == ({"labels": ["a"]}, {"torch": "2.13"})
    assert run.finished_at is not None
    assert run.model_path == "/models/run-1"


@pytest.mark.parametrize(
    ("told", "kept"), [(0.9, 0.9), (1, 1.0), (0, 0.0), ("0.9", None), (True, None), (None, None), ([0.9], None)]
)
def test_complete_keeps_an_f1_that_is_a_number_where_lists_sort_by_it(told: Any, kept: float | None) -> None:
    job = complete(make_running_job(), result=replace(RESULT, metrics={"f1": told}))
    assert (job.run.f1, Run.objects.get().f1) == (kept, kept)


def test_complete_records_where_the_model_lies() -> None:
    job = make_running_job()
    complete(job)
    model = TrainedModel.objects.get()
    assert (model.run, model.worker, model.path, model.sha256) == (job.run, job.worker, "/models/run-1", "a" * 64)


def test_complete_again_changes_nothing() -> None:
    job = make_running_job()
    complete(job)
    events = job.events.count()
    again = complete(job, result=queue.Result(model_path="/elsewhere", metrics={"test_f1": 0.1}))
    assert again.status == Status.COMPLETED
    again.run.refresh_from_db()
    assert again.run.metrics == {"test_f1": 0.9}
    assert TrainedModel.objects.get().path == "/models/run-1"
    assert job.events.count() == events


def test_complete_from_an_old_attempt_is_refused() -> None:
    job = make_running_job()
    other, _token = make_worker()
    claim(other, now=after_lease(job))
    with pytest.raises(LeaseLost):
        complete(job)
    job.refresh_from_db()
    assert (job.status, job.worker) == ("running", other)
    assert not TrainedModel.objects.exists()


def test_complete_from_a_worker_that_does_not_hold_the_job_is_refused() -> None:
    job = make_running_job()
    other, _token = make_worker()
    with pytest.raises(LeaseLost):
        complete(job, worker=other)


def test_complete_beats_a_cancel_and_an_event_says_so() -> None:
    job = make_running_job()
    runs.request_cancel(run=job.run, user=None, now=timezone.now())
    assert complete(job).status == Status.COMPLETED
    job.run.refresh_from_db()
    assert job.run.status == Status.COMPLETED
    assert list(job.events.order_by("-id").values_list("reason", flat=True))[:2] == ["cancel_too_late", "completed"]


def test_complete_beats_a_pause() -> None:
    job = make_running_job()
    runs.request_pause(run=job.run, user=None, now=timezone.now())
    assert complete(job).status == Status.COMPLETED


def test_complete_of_a_job_that_does_not_exist_is_refused(worker: Worker) -> None:
    with pytest.raises(LeaseLost):
        queue.complete_job(job_id=999, attempt=1, worker=worker, result=RESULT, now=timezone.now())


# Fail


@pytest.mark.parametrize("reason", [reason for reason in FailureReason if reason not in RETRIED_REASONS])
def test_a_failure_that_would_repeat_itself_ends_the_run_at_once(reason: FailureReason) -> None:
    job = make_running_job()
    assert fail(job, reason, traceback="Traceback …").status == Status.FAILED
    job.run.refresh_from_db()
    run = job.run
    assert (run.status, run.failure_reason, run.error) == ("failed", reason, "what happened")
    assert (run.traceback, run.finished_at is not None) == ("Traceback …", True)


@pytest.mark.parametrize("reason", RETRIED_REASONS)
def test_a_failure_worth_another_try_goes_back_to_the_queue(reason: FailureReason) -> None:
    job = make_running_job()
    after = fail(job, reason)
    assert (after.status, after.attempt, after.loss_count) == ("pending", 1, 1)
    job.run.refresh_from_db()
    assert (job.run.status, job.run.failure_reason, job.run.finished_at) == ("pending", "", None)


@pytest.mark.parametrize("reason", RETRIED_REASONS)
def test_a_failure_is_retried_until_the_attempts_are_spent(reason: FailureReason, settings: LazySettings) -> None:
    settings.JOB_MAX_ATTEMPTS = 2
    job = make_running_job()
    assert job.worker is not None
    fail(job, reason)
    again = claim(job.worker)
    assert again is not None
    assert fail(again, reason).status == Status.FAILED
    job.run.refresh_from_db()
    assert (job.run.status, job.run.failure_reason) == ("failed", reason)


def test_a_failure_that_the_worker_calls_final_is_not_retried() -> None:
    assert fail(make_running_job(), FailureReason.KILLED, retryable=False).status == Status.FAILED


def test_a_failure_called_retryable_is_still_final_when_its_reason_is() -> None:
    assert fail(make_running_job(), FailureReason.INVALID_DATA, retryable=True).status == Status.FAILED


def test_fail_again_is_answered_as_the_first_time_although_the_job_went_on(worker: Worker) -> None:
    job = make_running_job(worker)
    fail(job, FailureReason.KILLED)
    claim(worker)
    assert fail(job, FailureReason.KILLED, attempt=1).status == Status.PENDING
    job.refresh_from_db()
    assert (job.status, job.attempt, job.loss_count) == ("running", 2, 1)


def test_fail_again_after_the_end_changes_nothing() -> None:
    job = make_running_job()
    fail(job)
    assert fail(job, message="another story").status == Status.FAILED
    job.run.refresh_from_db()
    assert job.run.error == "what happened"


def test_fail_after_complete_is_refused() -> None:
    job = make_running_job()
    complete(job)
    with pytest.raises(LeaseLost):
        fail(job)
    job.run.refresh_from_db()
    assert job.run.status == Status.COMPLETED


def test_a_retried_failure_of_a_run_that_is_being_cancelled_cancels_it() -> None:
    job = make_running_job()
    runs.request_cancel(run=job.run, user=None, now=timezone.now())
    assert fail(job, FailureReason.KILLED).status == Status.CANCELLED


def test_a_final_failure_of_a_run_that_is_being_cancelled_is_a_failure() -> None:
    job = make_running_job()
    runs.request_cancel(run=job.run, user=None, now=timezone.now())
    assert fail(job, FailureReason.INVALID_DATA).status == Status.FAILED


def test_a_retried_failure_of_a_run_that_is_being_paused_parks_it() -> None:
    job = make_running_job()
    runs.request_pause(run=job.run, user=None, now=timezone.now())
    assert fail(job, FailureReason.KILLED).status == Status.PAUSED


# Release


@pytest.mark.parametrize("reason", [ReleaseReason.SHUTDOWN, ReleaseReason.PAUSED, ReleaseReason.CANCELLED])
def test_a_release_goes_back_to_the_queue_without_a_loss(reason: ReleaseReason) -> None:
    job = make_running_job()
    after = release(job, reason)
    assert (after.status, after.attempt, after.loss_count) == ("pending", 1, 0)


def test_a_crashed_release_goes_back_to_the_queue_with_a_loss() -> None:
    job = make_running_job()
    after = release(job, ReleaseReason.CRASHED)
    assert (after.status, after.loss_count) == ("pending", 1)


def test_the_last_crashed_release_fails_the_run_as_worker_lost(settings: LazySettings) -> None:
    settings.JOB_MAX_ATTEMPTS = 1
    job = make_running_job()
    assert release(job, ReleaseReason.CRASHED).status == Status.FAILED
    job.run.refresh_from_db()
    assert job.run.failure_reason == FailureReason.WORKER_LOST


def test_many_plain_releases_never_fail_a_run(worker: Worker) -> None:
    job = make_running_job(worker)
    for _ in range(5):
        release(job)
        claimed = claim(worker)
        assert claimed is not None
        job = claimed
    assert (job.status, job.attempt, job.loss_count) == ("running", 6, 0)


def test_a_crashed_release_is_taken_although_the_lease_ran_out_unnoticed() -> None:
    job = make_running_job()
    assert release(job, ReleaseReason.CRASHED, now=after_lease(job)).status == Status.PENDING


@pytest.mark.parametrize("reason", list(ReleaseReason))
def test_a_release_after_a_cancel_cancels_whatever_the_worker_calls_it(reason: ReleaseReason) -> None:
    job = make_running_job()
    runs.request_cancel(run=job.run, user=None, now=timezone.now())
    after = release(job, reason)
    assert (after.status, after.loss_count) == ("cancelled", 0)
    job.run.refresh_from_db()
    assert (job.run.status, job.run.finished_at is not None) == ("cancelled", True)


def test_a_release_after_a_pause_parks_the_job() -> None:
    job = make_running_job()
    runs.request_pause(run=job.run, user=None, now=timezone.now())
    after = release(job, ReleaseReason.PAUSED)
    assert (after.status, after.pause_requested_at) == ("paused", None)
    job.run.refresh_from_db()
    assert (job.run.status, job.run.finished_at) == ("paused", None)


def test_a_release_for_a_pause_withdrawn_meanwhile_is_no_pause_in_the_history() -> None:
    job = make_running_job()
    runs.request_pause(run=job.run, user=None, now=timezone.now())
    runs.resume_run(run=job.run, user=None, now=timezone.now())
    assert release(job, ReleaseReason.PAUSED).status == Status.PENDING
    assert job.events.last().reason == "resumed"


def test_release_again_is_answered_as_the_first_time(worker: Worker) -> None:
    job = make_running_job(worker)
    release(job, ReleaseReason.CRASHED)
    claim(worker)
    assert release(job, ReleaseReason.CRASHED, attempt=1).status == Status.PENDING
    job.refresh_from_db()
    assert (job.status, job.attempt, job.loss_count) == ("running", 2, 1)


def test_release_of_a_lost_attempt_is_refused() -> None:
    job = make_running_job()
    late = after_lease(job)
    queue.requeue_expired(now=late)
    with pytest.raises(LeaseLost):
        release(job, ReleaseReason.CRASHED, now=late)
    job.refresh_from_db()
    assert job.loss_count == 1


# Ended is ended


@pytest.mark.parametrize("end", TERMINAL)
def test_a_terminal_state_never_changes(end: Status) -> None:
    job = make_running_job()
    if end == Status.COMPLETED:
        complete(job)
    elif end == Status.FAILED:
        fail(job)
    else:
        runs.request_cancel(run=job.run, user=None, now=timezone.now())
        release(job, ReleaseReason.CANCELLED)
    before = Job.objects.filter(pk=job.pk).values().get()
    far = timezone.now() + timedelta(days=1)
    queue.requeue_expired(now=far)
    assert claim(make_worker()[0], now=far) is None
    for call in (complete, fail, release):
        try:
            call(job, now=far)
        except LeaseLost:
            continue
    with pytest.raises(LeaseLost):
        queue.renew_lease(job_id=job.pk, attempt=1, worker=job.worker, now=far)
    assert Job.objects.filter(pk=job.pk).values().get() == before
    job.run.refresh_from_db()
    assert job.run.status == end
    assert Attempt.objects.get().ended_at is not None
