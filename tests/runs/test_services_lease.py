"""Leases: renewing, running out, and taking up again."""

from datetime import datetime, timedelta

import pytest
from django.conf import LazySettings
from django.utils import timezone

from runs_app.choices import AttemptOutcome, FailureReason, ReleaseReason, Status
from runs_app.models import Attempt, Job
from runs_app.services import queue, runs
from runs_app.services.errors import LeaseLost
from tests.factories import after_lease, claim, make_job, make_running_job, make_worker
from workers_app.models import Worker

pytestmark = pytest.mark.django_db


def heartbeat(job: Job, worker: Worker, now: datetime, attempt: int = 1) -> Job:
    return queue.renew_lease(job_id=job.pk, attempt=attempt, worker=worker, now=now)


def test_a_heartbeat_renews_the_lease(worker: Worker) -> None:
    job = make_running_job(worker)
    later = timezone.now() + timedelta(seconds=300)
    assert heartbeat(job, worker, later).lease_expires_at == later + timedelta(seconds=600)


def test_a_lease_lives_until_its_last_moment(worker: Worker) -> None:
    job = make_running_job(worker)
    assert job.lease_expires_at is not None
    assert queue.requeue_expired(now=job.lease_expires_at - timedelta(milliseconds=1)) == 0
    assert queue.requeue_expired(now=job.lease_expires_at) == 1


def test_a_lease_that_ran_out_puts_the_job_back_with_its_attempt_kept_and_a_loss(worker: Worker) -> None:
    job = make_running_job(worker)
    assert queue.requeue_expired(now=after_lease(job)) == 1
    job.refresh_from_db()
    assert (job.status, job.attempt, job.loss_count, job.lease_expires_at) == ("pending", 1, 1, None)
    job.run.refresh_from_db()
    assert (job.run.status, job.run.finished_at, job.run.failure_reason) == ("pending", None, "")


def test_the_attempt_whose_lease_ran_out_is_kept_as_lost(worker: Worker) -> None:
    job = make_running_job(worker)
    late = after_lease(job)
    queue.requeue_expired(now=late)
    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.reason, attempt.ended_at) == ("lost", "worker_lost", late)


def test_expiring_twice_counts_one_loss(worker: Worker) -> None:
    job = make_running_job(worker)
    late = after_lease(job)
    assert [queue.requeue_expired(now=late), queue.requeue_expired(now=late)] == [1, 0]
    job.refresh_from_db()
    assert job.loss_count == 1


def test_the_last_loss_fails_job_and_run_as_worker_lost(worker: Worker) -> None:
    job = make_running_job(worker)
    for _ in range(2):
        claimed = claim(worker, now=after_lease(job))
        assert claimed is not None
        job = claimed
    assert (job.attempt, job.loss_count) == (3, 2)
    late = after_lease(job)
    queue.requeue_expired(now=late)
    job.refresh_from_db()
    job.run.refresh_from_db()
    assert (job.status, job.loss_count) == ("failed", 3)
    assert (job.run.status, job.run.failure_reason, job.run.finished_at) == ("failed", "worker_lost", late)
    assert job.run.error


def test_with_one_attempt_allowed_the_first_loss_fails_the_run(worker: Worker, settings: LazySettings) -> None:
    settings.JOB_MAX_ATTEMPTS = 1
    job = make_running_job(worker)
    queue.requeue_expired(now=after_lease(job))
    job.refresh_from_db()
    assert job.status == Status.FAILED


def test_a_cancel_asked_for_before_the_lease_ran_out_cancels_the_run(worker: Worker) -> None:
    job = make_running_job(worker)
    runs.request_cancel(run=job.run, user=None, now=timezone.now())
    queue.requeue_expired(now=after_lease(job))
    job.refresh_from_db()
    job.run.refresh_from_db()
    assert (job.status, job.run.status, job.run.failure_reason) == ("cancelled", "cancelled", "")


def test_a_cancel_and_the_last_loss_make_a_cancelled_run(worker: Worker, settings: LazySettings) -> None:
    settings.JOB_MAX_ATTEMPTS = 1
    job = make_running_job(worker)
    runs.request_cancel(run=job.run, user=None, now=timezone.now())
    queue.requeue_expired(now=after_lease(job))
    job.refresh_from_db()
    assert job.status == Status.CANCELLED


def test_a_pause_asked_for_before_the_lease_ran_out_parks_the_run(worker: Worker) -> None:
    job = make_running_job(worker)
    runs.request_pause(run=job.run, user=None, now=timezone.now())
    queue.requeue_expired(now=after_lease(job))
    job.refresh_from_db()
    assert (job.status, job.pause_requested_at) == ("paused", None)


def test_a_worker_takes_its_unclaimed_job_up_again_by_a_heartbeat(worker: Worker) -> None:
    job = make_running_job(worker)
    late = after_lease(job)
    queue.requeue_expired(now=late)
    back = heartbeat(job, worker, late)
    assert (back.status, back.attempt, back.loss_count) == ("running", 1, 0)
    assert back.lease_expires_at == late + timedelta(seconds=600)
    attempt = Attempt.objects.get()
    assert (attempt.ended_at, attempt.outcome, attempt.reason) == (None, "", "")
    job.run.refresh_from_db()
    assert job.run.status == Status.RUNNING


def test_a_heartbeat_that_comes_before_the_expiry_was_noticed_just_renews(worker: Worker) -> None:
    job = make_running_job(worker)
    late = after_lease(job)
    assert heartbeat(job, worker, late).loss_count == 0
    assert queue.requeue_expired(now=late) == 0


def test_a_job_that_somebody_else_claimed_is_not_taken_up_again(worker: Worker) -> None:
    job = make_running_job(worker)
    late = after_lease(job)
    other, _token = make_worker()
    claim(other, now=late)
    with pytest.raises(LeaseLost):
        heartbeat(job, worker, late)
    job.refresh_from_db()
    assert (job.worker, job.attempt) == (other, 2)


def test_a_worker_that_claimed_its_job_anew_cannot_take_up_the_old_attempt(worker: Worker) -> None:
    job = make_running_job(worker)
    late = after_lease(job)
    claim(worker, now=late)
    with pytest.raises(LeaseLost):
        heartbeat(job, worker, late, attempt=1)


def test_a_worker_that_holds_another_job_takes_none_up_again(worker: Worker) -> None:
    job, other = make_running_job(worker), make_job(priority=0)
    late = after_lease(job)
    queue.requeue_expired(now=late)
    Job.objects.filter(pk=job.pk).update(status=Status.PAUSED)
    taken = claim(worker, now=late)
    assert taken is not None
    assert taken.pk == other.pk
    Job.objects.filter(pk=job.pk).update(status=Status.PENDING)
    with pytest.raises(LeaseLost):
        heartbeat(job, worker, late)


@pytest.mark.parametrize("end", ["released", "failed", "crashed"])
def test_an_attempt_that_the_worker_ended_itself_is_not_taken_up_again(worker: Worker, end: str) -> None:
    job, now = make_running_job(worker), timezone.now()
    held = {"job_id": job.pk, "attempt": 1, "worker": worker, "now": now}
    if end == "failed":
        queue.fail_job(**held, reason=FailureReason.KILLED, message="killed")
    else:
        queue.release_job(**held, reason=ReleaseReason.CRASHED if end == "crashed" else ReleaseReason.SHUTDOWN)
    with pytest.raises(LeaseLost):
        heartbeat(job, worker, now)
    job.refresh_from_db()
    assert job.status == Status.PENDING


@pytest.mark.parametrize("wish", [runs.request_cancel, runs.request_pause])
def test_a_job_that_a_person_parked_or_cancelled_is_not_taken_up_again(worker: Worker, wish: object) -> None:
    job = make_running_job(worker)
    late = after_lease(job)
    queue.requeue_expired(now=late)
    wish(run=job.run, user=None, now=late)  # type: ignore[operator]
    with pytest.raises(LeaseLost):
        heartbeat(job, worker, late)


def test_a_lost_job_takes_no_writes_until_it_is_taken_up_again(worker: Worker) -> None:
    job = make_running_job(worker)
    late = after_lease(job)
    held = {"job_id": job.pk, "attempt": 1, "worker": worker, "now": late}
    queue.requeue_expired(now=late)
    with pytest.raises(LeaseLost):
        queue.held_job(**held)
    with pytest.raises(LeaseLost):
        queue.complete_job(**held, result=queue.Result(model_path="run-1"))
    with pytest.raises(LeaseLost):
        queue.fail_job(**held, reason=FailureReason.NAN_LOSS, message="nan")
    with pytest.raises(LeaseLost):
        queue.release_job(**held, reason=ReleaseReason.SHUTDOWN)
    job.refresh_from_db()
    assert (job.status, job.loss_count) == ("pending", 1)
    heartbeat(job, worker, late)
    assert queue.complete_job(**held, result=queue.Result(model_path="run-1")).status == Status.COMPLETED


def test_a_write_after_the_lease_ran_out_is_refused_even_before_anybody_noticed(worker: Worker) -> None:
    job = make_running_job(worker)
    late = after_lease(job)
    with pytest.raises(LeaseLost):
        queue.complete_job(job_id=job.pk, attempt=1, worker=worker, result=queue.Result(model_path="run-1"), now=late)
    with pytest.raises(LeaseLost):
        queue.held_job(job_id=job.pk, attempt=1, worker=worker, now=late)


@pytest.mark.parametrize("attempt", [0, 2, 99])
def test_another_attempt_number_holds_nothing(worker: Worker, attempt: int) -> None:
    job = make_running_job(worker)
    with pytest.raises(LeaseLost):
        heartbeat(job, worker, timezone.now(), attempt=attempt)


def test_another_worker_with_the_right_attempt_holds_nothing(worker: Worker) -> None:
    job = make_running_job(worker)
    other, _token = make_worker()
    with pytest.raises(LeaseLost):
        heartbeat(job, other, timezone.now())


def test_a_heartbeat_does_not_wake_a_finished_job(worker: Worker) -> None:
    job, now = make_running_job(worker), timezone.now()
    held = {"job_id": job.pk, "attempt": 1, "worker": worker, "now": now}
    queue.complete_job(**held, result=queue.Result(model_path="run-1"))
    with pytest.raises(LeaseLost):
        heartbeat(job, worker, now)
    assert Attempt.objects.get().outcome == AttemptOutcome.COMPLETED


def test_jobs_of_several_workers_run_out_together() -> None:
    first, second = make_running_job(), make_running_job()
    assert queue.requeue_expired(now=max(after_lease(first), after_lease(second))) == 2
    assert list(Job.objects.values_list("status", flat=True)) == ["pending", "pending"]


def test_a_short_lease_from_the_settings_is_used(worker: Worker, settings: LazySettings) -> None:
    settings.JOB_LEASE_SECONDS = 0.5
    now = timezone.now()
    make_job()
    job = claim(worker, now=now)
    assert job is not None
    assert job.lease_expires_at == now + timedelta(seconds=0.5)
