"""The history of a job: one event per transition, by whom, from what to what."""

from typing import Any

import pytest
from django.utils import timezone

from runs_app.choices import FailureReason, ReleaseReason
from runs_app.models import Job
from runs_app.services import queue, runs
from tests.factories import after_lease, claim, make_run, make_running_job, make_user, make_worker
from workers_app.models import Worker

pytestmark = pytest.mark.django_db

Line = tuple[str, str, str, str, int]


def history(job: Job, skip: int = 0) -> list[Line]:
    """(actor, from, to, reason, attempt) of each event after the first `skip`."""
    return list(job.events.values_list("actor", "from_status", "to_status", "reason", "attempt"))[skip:]


def held(job: Job) -> dict[str, Any]:
    return {"job_id": job.pk, "attempt": job.attempt, "worker": job.worker, "now": timezone.now()}


def test_creating_and_claiming_name_the_person_and_the_worker(worker: Worker) -> None:
    run = make_run(user=make_user(username="ana"))
    claim(worker)
    assert history(run.job) == [
        ("user:ana", "", "pending", "created", 0),
        ("worker:gpu-1", "pending", "running", "claimed", 1),
    ]


def test_completing_is_written(worker: Worker) -> None:
    job = make_running_job(worker)
    queue.complete_job(**held(job), result=queue.Result(model_path="run"))
    assert history(job, 2) == [("worker:gpu-1", "running", "completed", "completed", 1)]


def test_failing_is_written_with_its_reason(worker: Worker) -> None:
    job = make_running_job(worker)
    queue.fail_job(**held(job), reason=FailureReason.OUT_OF_MEMORY, message="")
    assert history(job, 2) == [("worker:gpu-1", "running", "failed", "out_of_memory", 1)]


def test_a_retry_is_written_with_its_reason(worker: Worker) -> None:
    job = make_running_job(worker)
    queue.fail_job(**held(job), reason=FailureReason.DISK_FULL, message="")
    assert history(job, 2) == [("worker:gpu-1", "running", "pending", "disk_full", 1)]


@pytest.mark.parametrize("reason", [ReleaseReason.SHUTDOWN, ReleaseReason.CRASHED])
def test_a_release_is_written_with_its_reason(worker: Worker, reason: ReleaseReason) -> None:
    job = make_running_job(worker)
    queue.release_job(**held(job), reason=reason)
    assert history(job, 2) == [("worker:gpu-1", "running", "pending", reason, 1)]


def test_a_lease_that_ran_out_and_the_way_back_are_written(worker: Worker) -> None:
    job = make_running_job(worker)
    late = after_lease(job)
    queue.requeue_expired(now=late)
    queue.renew_lease(job_id=job.pk, attempt=1, worker=worker, now=late)
    assert history(job, 2) == [
        ("server", "running", "pending", "lease_expired", 1),
        ("worker:gpu-1", "pending", "running", "reattached", 1),
    ]


def test_the_last_loss_is_written_as_a_failure(worker: Worker, settings: Any) -> None:
    settings.JOB_MAX_ATTEMPTS = 1
    job = make_running_job(worker)
    queue.requeue_expired(now=after_lease(job))
    assert history(job, 2) == [("server", "running", "failed", "lease_expired", 1)]


def test_a_cancel_is_written_as_wish_and_as_deed(worker: Worker) -> None:
    job, ana = make_running_job(worker), make_user(username="ana")
    runs.request_cancel(run=job.run, user=ana, now=timezone.now())
    queue.release_job(**held(job), reason=ReleaseReason.CANCELLED)
    assert history(job, 2) == [
        ("user:ana", "running", "running", "cancel_requested", 1),
        ("worker:gpu-1", "running", "cancelled", "cancelled", 1),
    ]


def test_a_cancel_that_came_too_late_is_written(worker: Worker) -> None:
    job = make_running_job(worker)
    runs.request_cancel(run=job.run, user=None, now=timezone.now())
    queue.complete_job(**held(job), result=queue.Result(model_path="run"))
    assert history(job, 3) == [
        ("worker:gpu-1", "running", "completed", "completed", 1),
        ("worker:gpu-1", "completed", "completed", "cancel_too_late", 1),
    ]


def test_pause_and_resume_of_a_waiting_run_are_written() -> None:
    run, ana = make_run(), make_user(username="ana")
    runs.request_pause(run=run, user=ana, now=timezone.now())
    runs.resume_run(run=run, user=ana, now=timezone.now())
    assert history(run.job, 1) == [
        ("user:ana", "pending", "paused", "paused", 0),
        ("user:ana", "paused", "pending", "resumed", 0),
    ]


def test_pause_of_a_running_run_is_written_as_wish_and_as_deed(worker: Worker) -> None:
    job = make_running_job(worker)
    runs.request_pause(run=job.run, user=None, now=timezone.now())
    runs.resume_run(run=job.run, user=None, now=timezone.now())
    runs.request_pause(run=job.run, user=None, now=timezone.now())
    queue.release_job(**held(job), reason=ReleaseReason.PAUSED)
    assert [line[:4] for line in history(job, 2)] == [
        ("server", "running", "running", "pause_requested"),
        ("server", "running", "running", "pause_withdrawn"),
        ("server", "running", "running", "pause_requested"),
        ("worker:gpu-1", "running", "paused", "paused"),
    ]


def test_heartbeats_and_repeats_write_no_event(worker: Worker) -> None:
    job = make_running_job(worker)
    queue.renew_lease(job_id=job.pk, attempt=1, worker=worker, now=timezone.now())
    queue.complete_job(**held(job), result=queue.Result(model_path="run"))
    queue.complete_job(**held(job), result=queue.Result(model_path="run"))
    assert len(history(job)) == 3


def test_a_job_that_changes_hands_names_both_workers(worker: Worker) -> None:
    job = make_running_job(worker)
    claim(make_worker("gpu-2")[0], now=after_lease(job))
    assert [line[0] for line in history(job)] == ["server", "worker:gpu-1", "server", "worker:gpu-2"]


def test_a_long_name_of_a_worker_or_person_fits_the_event() -> None:
    worker, _token = make_worker("w" * 100)
    job = make_running_job(worker)
    runs.request_cancel(run=job.run, user=make_user(username="p" * 150), now=timezone.now())
    assert history(job, 2)[0][0].startswith("user:ppp")
