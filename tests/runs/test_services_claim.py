"""Claiming: who gets which job, and what a repeated request is answered."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from runs_app.choices import FailureReason, ReleaseReason, Status
from runs_app.models import Attempt, Job
from runs_app.services import queue, runs
from runs_app.services.errors import WorkerBusy
from tests.factories import after_lease, claim, make_job, make_run, make_running_job, make_worker
from workers_app.models import Worker

pytestmark = pytest.mark.django_db


def test_an_empty_queue_yields_nothing(worker: Worker) -> None:
    assert claim(worker) is None


def test_a_claim_starts_the_first_attempt_under_a_lease(worker: Worker, settings: object) -> None:
    run, now = make_run(), timezone.now()
    job = claim(worker, now=now)
    assert job is not None
    assert (job.pk, job.status, job.attempt, job.worker, job.loss_count) == (run.job.pk, "running", 1, worker, 0)
    assert job.lease_expires_at == now + timedelta(seconds=600)
    run.refresh_from_db()
    assert (run.status, run.started_at, run.finished_at) == ("running", now, None)


def test_a_claim_opens_an_attempt_row(worker: Worker) -> None:
    claim_id, now = uuid4(), timezone.now()
    make_job()
    claim(worker, claim_id=claim_id, now=now)
    attempt = Attempt.objects.get()
    assert (attempt.number, attempt.worker, attempt.claim_id) == (1, worker, claim_id)
    assert (attempt.started_at, attempt.ended_at, attempt.outcome) == (now, None, "")


def test_the_same_claim_id_again_returns_the_same_job(worker: Worker) -> None:
    make_job()
    make_job()
    claim_id = uuid4()
    first, again = claim(worker, claim_id=claim_id), claim(worker, claim_id=claim_id)
    assert first is not None
    assert again is not None
    assert (again.pk, again.attempt) == (first.pk, first.attempt)
    assert Attempt.objects.count() == 1


def test_a_repeated_claim_does_not_renew_the_lease(worker: Worker) -> None:
    make_job()
    claim_id, now = uuid4(), timezone.now()
    first = claim(worker, claim_id=claim_id, now=now)
    again = claim(worker, claim_id=claim_id, now=now + timedelta(seconds=60))
    assert first is not None
    assert again is not None
    assert again.lease_expires_at == first.lease_expires_at


def test_a_worker_with_a_live_job_is_busy_for_another_claim(worker: Worker) -> None:
    make_job()
    make_running_job_of = make_job()
    claim(worker)
    with pytest.raises(WorkerBusy):
        claim(worker)
    make_running_job_of.refresh_from_db()
    assert make_running_job_of.status == Status.PENDING


def test_a_claim_id_of_an_ended_attempt_never_yields_that_job_again(worker: Worker) -> None:
    job, claim_id = make_job(), uuid4()
    claim(worker, claim_id=claim_id)
    queue.release_job(job_id=job.pk, attempt=1, worker=worker, reason=ReleaseReason.SHUTDOWN, now=timezone.now())
    assert claim(worker, claim_id=claim_id) is None
    fresh = claim(worker)
    assert fresh is not None
    assert (fresh.pk, fresh.attempt) == (job.pk, 2)


def test_a_claim_id_of_an_ended_attempt_may_yield_another_job(worker: Worker) -> None:
    job, claim_id = make_job(), uuid4()
    claim(worker, claim_id=claim_id)
    queue.release_job(job_id=job.pk, attempt=1, worker=worker, reason=ReleaseReason.SHUTDOWN, now=timezone.now())
    other = make_job()
    taken = claim(worker, claim_id=claim_id)
    assert taken is not None
    assert taken.pk == other.pk


def test_a_claim_id_of_another_worker_never_yields_its_job(worker: Worker) -> None:
    claim_id = uuid4()
    make_job()
    claim(worker, claim_id=claim_id)
    other, _token = make_worker()
    assert claim(other, claim_id=claim_id) is None


def test_a_claim_id_of_another_worker_does_not_yield_the_job_that_worker_gave_back(worker: Worker) -> None:
    job, claim_id = make_job(), uuid4()
    claim(worker, claim_id=claim_id)
    queue.release_job(job_id=job.pk, attempt=1, worker=worker, reason=ReleaseReason.SHUTDOWN, now=timezone.now())
    other, _token = make_worker()
    assert claim(other, claim_id=claim_id) is None
    assert claim(other) is not None


def test_the_higher_priority_is_taken_first_then_the_older_job(worker: Worker) -> None:
    old, young, urgent = make_job(), make_job(), make_job(priority=5)
    taken = []
    for _ in range(3):
        job = claim(worker)
        assert job is not None
        taken.append(job.pk)
        queue.complete_job(
            job_id=job.pk,
            attempt=job.attempt,
            worker=worker,
            result=queue.Result(model_path="run"),
            now=timezone.now(),
        )
    assert taken == [urgent.pk, old.pk, young.pk]


def test_a_job_that_the_worker_held_last_is_offered_to_it_first(worker: Worker) -> None:
    mine = make_running_job(worker)
    urgent = make_job(priority=100)
    queue.release_job(job_id=mine.pk, attempt=1, worker=worker, reason=ReleaseReason.CRASHED, now=timezone.now())
    job = claim(worker)
    assert job is not None
    assert (job.pk, job.attempt) == (mine.pk, 2)
    assert urgent.pk != job.pk


def test_another_worker_takes_the_job_that_its_old_worker_has_not_claimed_again(worker: Worker) -> None:
    mine = make_running_job(worker)
    other, _token = make_worker()
    job = claim(other, now=after_lease(mine))
    assert job is not None
    assert (job.pk, job.attempt, job.worker) == (mine.pk, 2, other)


@pytest.mark.parametrize("status", [s for s in Status.values if s != Status.PENDING])
def test_only_a_pending_job_can_be_claimed(worker: Worker, status: str) -> None:
    job = make_job()
    Job.objects.filter(pk=job.pk).update(status=status, lease_expires_at=timezone.now() + timedelta(hours=1))
    assert claim(worker) is None


def test_a_draining_worker_gets_no_new_job() -> None:
    make_job()
    worker, _token = make_worker(draining=True)
    assert claim(worker) is None


def test_a_draining_worker_is_answered_with_the_job_that_it_holds(worker: Worker) -> None:
    make_job()
    claim_id = uuid4()
    claim(worker, claim_id=claim_id)
    worker.draining = True
    worker.save()
    again = claim(worker, claim_id=claim_id)
    assert again is not None
    assert again.attempt == 1


def test_a_second_claim_keeps_the_moment_when_the_run_first_started(worker: Worker) -> None:
    job = make_running_job(worker)
    started = job.run.started_at
    claim(worker, now=after_lease(job))
    job.run.refresh_from_db()
    assert job.run.started_at == started


def test_the_progress_of_the_attempt_before_is_not_shown_as_the_phase_of_the_next(worker: Worker) -> None:
    job = make_running_job(worker)
    Job.objects.filter(pk=job.pk).update(phase="training", progress_message="epoch 3")
    again = claim(worker, now=after_lease(job))
    assert again is not None
    assert (again.phase, again.progress_message) == ("", "")


def test_a_claim_first_ends_what_ran_out_elsewhere(worker: Worker) -> None:
    job = make_running_job()
    taken = claim(worker, now=after_lease(job))
    assert taken is not None
    assert (taken.pk, taken.attempt, taken.loss_count) == (job.pk, 2, 1)


def test_a_resumed_job_is_claimed_as_the_next_attempt(worker: Worker) -> None:
    run = make_run()
    runs.request_pause(run=run, user=None, now=timezone.now())
    assert claim(worker) is None
    runs.resume_run(run=run, user=None, now=timezone.now())
    job = claim(worker)
    assert job is not None
    assert job.attempt == 1


def test_a_job_retried_after_a_failure_may_go_to_another_worker(worker: Worker) -> None:
    job = make_running_job(worker)
    queue.fail_job(
        job_id=job.pk,
        attempt=1,
        worker=worker,
        reason=FailureReason.BASE_MODEL_UNAVAILABLE,
        message="not cached",
        now=timezone.now(),
    )
    other, _token = make_worker()
    taken = claim(other)
    assert taken is not None
    assert (taken.pk, taken.attempt, taken.worker) == (job.pk, 2, other)


@pytest.mark.parametrize(
    ("reason", "again"), [("base_model_unavailable", False), ("disk_full", False), ("killed", True)]
)
def test_a_job_that_failed_for_what_a_machine_lacks_waits_behind_the_others(
    worker: Worker, reason: str, again: bool
) -> None:
    job = make_running_job(worker)
    other = make_job()
    failure = {"reason": FailureReason(reason), "message": "", "now": timezone.now()}
    queue.fail_job(job_id=job.pk, attempt=1, worker=worker, **failure)
    taken = claim(worker)
    assert taken is not None
    assert taken.pk == (job.pk if again else other.pk)


def test_a_job_that_failed_for_what_a_machine_lacks_is_tried_again_where_nothing_else_waits(worker: Worker) -> None:
    job = make_running_job(worker)
    failure = {"reason": FailureReason.DISK_FULL, "message": "", "now": timezone.now()}
    queue.fail_job(job_id=job.pk, attempt=1, worker=worker, **failure)
    taken = claim(worker)
    assert taken is not None
    assert (taken.pk, taken.attempt) == (job.pk, 2)
