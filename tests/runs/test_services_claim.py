"""Claiming: who gets which job, and what a repeated request is answered."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, models
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from runs_app.choices import FailureReason, ReleaseReason, Status
from runs_app.models import Attempt, Job, JobEvent
from runs_app.services import queue, runs
from runs_app.services.errors import LeaseLost, WorkerBusy
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
    lease_end = timezone.now() + timedelta(hours=1) if status == Status.RUNNING else None
    Job.objects.filter(pk=job.pk).update(status=status, lease_expires_at=lease_end)
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


# Expired leases


def expired(worker: Worker | None = None) -> Job:
    """A running job whose lease ran out a second ago; nobody has noticed yet."""
    job = make_running_job(worker)
    Job.objects.filter(pk=job.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    return job


def test_an_expired_job_comes_before_a_younger_one_that_waits(worker: Worker) -> None:
    old, _young = expired(), make_job()
    taken = claim(worker)
    assert taken is not None
    assert (taken.pk, taken.attempt, taken.loss_count) == (old.pk, 2, 1)


def test_an_expired_job_stands_behind_a_more_urgent_one(worker: Worker) -> None:
    old, urgent = expired(), make_job(priority=5)
    taken = claim(worker)
    old.refresh_from_db()
    assert taken is not None
    assert (taken.pk, old.status, old.loss_count) == (urgent.pk, "pending", 1)


def test_a_worker_whose_own_lease_ran_out_claims_its_job_anew(worker: Worker) -> None:
    mine, _urgent = expired(worker), make_job(priority=5)
    taken = claim(worker)
    assert taken is not None
    assert (taken.pk, taken.attempt, taken.loss_count) == (mine.pk, 2, 1)


# What a claim writes, and what it costs


def defaults_of(model: type[models.Model], row: models.Model, given: set[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The columns of `row` beside `given`, and what the ORM would have put there."""
    names = [field.attname for field in model._meta.concrete_fields if field.name not in {"id", *given}]
    return {name: getattr(row, name) for name in names}, {name: getattr(model(), name) for name in names}


def test_a_claim_leaves_the_other_columns_of_attempt_and_event_at_their_defaults(worker: Worker) -> None:
    make_job()
    claim(worker)
    attempt, event = Attempt.objects.get(), JobEvent.objects.get(reason="claimed")
    found, wanted = defaults_of(Attempt, attempt, {"job", "number", "worker", "claim_id", "started_at"})
    assert found == wanted
    given = {"job", "at", "actor", "from_status", "to_status", "attempt", "reason"}
    found, wanted = defaults_of(JobEvent, event, given)
    assert found == wanted


def test_the_job_that_comes_back_is_the_row_as_it_was_written(worker: Worker) -> None:
    make_job()
    taken = claim(worker)
    assert taken is not None
    row = Job.objects.get(pk=taken.pk)
    names = [field.attname for field in Job._meta.concrete_fields]
    assert {name: getattr(taken, name) for name in names} == {name: getattr(row, name) for name in names}


def test_a_claim_is_one_statement_on_postgresql_and_one_short_transaction_on_sqlite(worker: Worker) -> None:
    make_job()
    with CaptureQueriesContext(connection) as queries:
        claim(worker)
    statements = [query["sql"].split()[0] for query in queries]
    short = ["SELECT", "SAVEPOINT", "UPDATE", "WITH", "WITH", "WITH", "RELEASE"]
    assert statements == (["WITH"] if connection.vendor == "postgresql" else short)


@pytest.mark.skipif(connection.vendor == "postgresql", reason="its statement names the UPDATE that finds no row")
def test_a_claim_of_an_idle_worker_writes_nothing(worker: Worker) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert claim(worker) is None
    assert {query["sql"].split()[0] for query in queries} == {"SELECT"}


# What the indexes refuse


@pytest.mark.django_db(transaction=True)
def test_a_job_with_a_live_attempt_is_not_given_out_whatever_its_status_says(worker: Worker) -> None:
    job, (other, _token) = make_job(), make_worker()
    live = {"claim_id": uuid4(), "started_at": timezone.now()}
    Attempt.objects.create(job=job, number=7, worker=other, **live)
    with pytest.raises(IntegrityError):
        claim(worker)
    job.refresh_from_db()
    assert (job.status, job.run.status, job.attempt, job.events.count()) == ("pending", "pending", 0, 1)


@pytest.mark.parametrize("is_the_same", [True, False])
def test_a_claim_that_the_index_refused_is_answered_like_a_second_one(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, is_the_same: bool
) -> None:
    job, mine, take_next = make_job(), uuid4(), queue.take_next

    def overtaken(*, claim_id: Any, **values: Any) -> None:
        take_next(claim_id=mine if is_the_same else uuid4(), **values)
        raise IntegrityError("uq_bert_attempts_live_per_worker")

    monkeypatch.setattr(queue, "take_next", overtaken)
    if is_the_same:
        answer = claim(worker, claim_id=mine)
        assert answer is not None
        assert (answer.pk, answer.attempt) == (job.pk, 1)
    else:
        with pytest.raises(WorkerBusy):
            claim(worker, claim_id=mine)


def test_a_job_is_not_taken_up_again_by_a_worker_that_was_given_another_meanwhile(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = expired(worker)
    queue.requeue_expired(now=timezone.now())
    make_job(priority=5)
    Job.objects.filter(pk=lost.pk).update(not_before=timezone.now() + timedelta(hours=1))
    assert claim(worker) is not None
    monkeypatch.setattr(queue, "live_attempt", lambda worker: None)  # as it was a moment before that claim
    with pytest.raises(LeaseLost):
        queue.renew_lease(job_id=lost.pk, attempt=1, worker=worker, now=timezone.now())
    lost.refresh_from_db()
    assert (lost.status, lost.loss_count) == ("pending", 1)
