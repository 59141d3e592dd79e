"""When a job is tried again, by whom first, and when no more."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.utils import timezone
from time_machine import Traveller

from runs_app.choices import FailureReason, ReleaseReason
from runs_app.models import Job
from runs_app.services import queue, runs, telemetry
from tests.factories import after_lease, claim, make_running_job, make_worker
from workers_app.models import Worker

pytestmark = pytest.mark.django_db


def fail(job: Job, reason: FailureReason, **values: Any) -> Job:
    who = {"job_id": job.pk, "attempt": job.attempt, "worker": job.worker, "now": timezone.now()}
    return queue.fail_job(**{**who, "reason": reason, "message": "what happened", **values})


def crash(job: Job, now: datetime) -> None:
    queue.release_job(job_id=job.pk, attempt=job.attempt, worker=job.worker, reason=ReleaseReason.CRASHED, now=now)


def with_checkpoint(worker: Worker, step: int = 40) -> Job:
    job = make_running_job(worker)
    telemetry.record_progress(job=job, progress={"phase": "training", "checkpoint_step": step}, now=timezone.now())
    return job


# Back-off


def test_after_the_first_failure_the_job_may_be_claimed_at_once(worker: Worker) -> None:
    fail(make_running_job(worker), FailureReason.KILLED)
    assert claim(worker) is not None


def test_after_the_second_failure_the_job_waits_half_a_minute_at_most(worker: Worker, clock: Traveller) -> None:
    fail(make_running_job(worker), FailureReason.DISK_FULL)
    again = claim(worker)
    assert again is not None
    fail(again, FailureReason.DISK_FULL)
    clock.shift(14)
    assert claim(worker) is None
    clock.shift(17)
    assert claim(worker) is not None


def test_each_further_failure_doubles_the_wait_up_to_a_quarter_of_an_hour(
    worker: Worker, settings: LazySettings, clock: Traveller
) -> None:
    settings.JOB_MAX_ATTEMPTS = 10
    job: Job | None = make_running_job(worker)
    waits = []
    for _ in range(9):
        assert job is not None
        after = fail(job, FailureReason.DISK_FULL)
        waits.append((after.not_before - timezone.now()).total_seconds() if after.not_before else 0)
        clock.shift(15 * 60)
        job = claim(worker)
    longest = [0, 30, 60, 120, 240, 480, 900, 900, 900]
    assert all(limit / 2 <= wait <= limit for wait, limit in zip(waits, longest, strict=True))


def test_a_server_of_short_leases_has_short_waits(worker: Worker, settings: LazySettings) -> None:
    settings.JOB_LEASE_SECONDS = 2
    fail(make_running_job(worker), FailureReason.DISK_FULL)
    again = claim(worker)
    assert again is not None
    after = fail(again, FailureReason.DISK_FULL)
    assert after.not_before is not None
    assert after.not_before - timezone.now() <= timedelta(seconds=0.1)


def test_a_lease_that_ran_out_costs_no_further_wait(worker: Worker, clock: Traveller) -> None:
    make_running_job(worker)
    for attempt in (2, 3):
        clock.shift(601)
        taken = claim(make_worker()[0])
        assert taken is not None
        assert taken.attempt == attempt


def test_leases_that_ran_out_do_not_count_as_failures(worker: Worker, settings: LazySettings, clock: Traveller) -> None:
    settings.JOB_MAX_ATTEMPTS = 10
    job: Job | None = make_running_job(worker)
    for _ in range(4):
        clock.shift(601)
        job = claim(worker)
    assert job is not None
    assert fail(job, FailureReason.DISK_FULL).not_before is None


def test_a_person_who_resumes_a_run_ends_its_wait(worker: Worker) -> None:
    fail(make_running_job(worker), FailureReason.DISK_FULL)
    again = claim(worker)
    assert again is not None
    fail(again, FailureReason.DISK_FULL)
    runs.request_pause(run=again.run, user=None, now=timezone.now())
    runs.resume_run(run=again.run, user=None, now=timezone.now())
    assert claim(worker) is not None


# Poison


def test_a_run_that_killed_its_process_twice_is_not_given_out_a_third_time(worker: Worker) -> None:
    assert fail(make_running_job(worker), FailureReason.KILLED).status == "pending"
    again = claim(make_worker()[0])
    assert again is not None
    after = fail(again, FailureReason.KILLED)
    assert (after.status, after.run.failure_reason, after.loss_count) == ("failed", "killed", 2)


def test_a_kill_and_another_loss_are_not_two_kills(worker: Worker) -> None:
    fail(make_running_job(worker), FailureReason.KILLED)
    again = claim(worker)
    assert again is not None
    assert fail(again, FailureReason.DISK_FULL).status == "pending"


# The worker that has the checkpoint


def test_an_expired_job_with_a_checkpoint_is_left_for_its_worker_for_two_minutes(
    worker: Worker, clock: Traveller
) -> None:
    job, (other, _token) = with_checkpoint(worker), make_worker()
    clock.shift(601)
    assert claim(other) is None
    clock.shift(119)
    assert claim(other) is None
    clock.shift(2)
    taken = claim(other)
    assert taken is not None
    assert (taken.pk, taken.checkpoint_step) == (job.pk, None)


def test_the_worker_with_the_checkpoint_gets_its_job_at_once(worker: Worker, clock: Traveller) -> None:
    job = with_checkpoint(worker, step=40)
    clock.shift(601)
    taken = claim(worker)
    assert taken is not None
    assert (taken.pk, taken.attempt, taken.checkpoint_step) == (job.pk, 2, 40)


def test_an_expired_job_without_a_checkpoint_is_anybodys(worker: Worker, clock: Traveller) -> None:
    make_running_job(worker)
    clock.shift(601)
    assert claim(make_worker()[0]) is not None


def test_a_crashed_workers_job_is_left_for_it(worker: Worker) -> None:
    job = with_checkpoint(worker)
    crash(job, timezone.now())
    assert claim(make_worker()[0]) is None
    assert claim(worker) is not None


def test_a_job_is_not_left_for_a_worker_that_was_disabled(worker: Worker, clock: Traveller) -> None:
    with_checkpoint(worker)
    Worker.objects.filter(pk=worker.pk).update(enabled=False)
    clock.shift(601)
    assert claim(make_worker()[0]) is not None


def test_a_paused_run_that_is_resumed_is_left_for_the_worker_that_has_its_checkpoint(worker: Worker) -> None:
    job, now = with_checkpoint(worker), timezone.now()
    runs.request_pause(run=job.run, user=None, now=now)
    queue.release_job(job_id=job.pk, attempt=1, worker=worker, reason=ReleaseReason.PAUSED, now=now)
    runs.resume_run(run=job.run, user=None, now=now)
    assert claim(make_worker()[0]) is None
    assert claim(worker) is not None


def test_a_pause_that_was_withdrawn_too_late_leaves_the_run_to_its_worker(worker: Worker) -> None:
    job, now = with_checkpoint(worker), timezone.now()
    queue.release_job(job_id=job.pk, attempt=1, worker=worker, reason=ReleaseReason.PAUSED, now=now)
    assert claim(make_worker()[0]) is None
    assert claim(worker) is not None


def test_a_job_released_at_shutdown_is_left_for_its_worker_which_may_only_be_started_anew(worker: Worker) -> None:
    job = with_checkpoint(worker)
    queue.release_job(job_id=job.pk, attempt=1, worker=worker, reason=ReleaseReason.SHUTDOWN, now=timezone.now())
    assert claim(make_worker()[0]) is None
    assert claim(worker) is not None


def test_a_job_released_at_shutdown_continues_elsewhere_after_half_a_minute(worker: Worker, clock: Traveller) -> None:
    job = with_checkpoint(worker)
    queue.release_job(job_id=job.pk, attempt=1, worker=worker, reason=ReleaseReason.SHUTDOWN, now=timezone.now())
    clock.shift(31)
    assert claim(make_worker()[0]) is not None


def test_a_job_is_not_left_for_a_worker_that_was_told_to_take_no_other(worker: Worker) -> None:
    job = with_checkpoint(worker)
    Worker.objects.filter(pk=worker.pk).update(draining=True)
    queue.release_job(job_id=job.pk, attempt=1, worker=worker, reason=ReleaseReason.SHUTDOWN, now=timezone.now())
    assert claim(make_worker()[0]) is not None


def test_a_worker_that_returns_while_its_job_is_left_for_it_goes_on_with_the_same_attempt(
    worker: Worker, clock: Traveller
) -> None:
    job = with_checkpoint(worker)
    queue.requeue_expired(now=after_lease(job))
    back = queue.renew_lease(job_id=job.pk, attempt=1, worker=worker, now=after_lease(job))
    assert (back.status, back.attempt, back.loss_count, back.reserved_until) == ("running", 1, 0, None)
