"""Two requests at the same moment, on two real connections: each race has one winner, and the loser is told."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, connections, transaction
from django.urls import reverse
from django.utils import timezone

from datasets_app.models import Dataset
from runs_app.choices import Status
from runs_app.models import Attempt, Job, Run, TrainedModel
from runs_app.services import queue, runs, telemetry
from runs_app.services.errors import InvalidTransition, LeaseLost, StateError, WorkerBusy
from tests.admin_client import signed_in
from tests.factories import after_lease, client_for, make_dataset, make_job, make_run, make_running_job, make_worker

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run each call in a thread with a connection of its own, all released together; results or refusals in order."""
    barrier = threading.Barrier(len(calls))

    def go(call: Callable[[], Any]) -> Any:
        try:
            connection.ensure_connection()
            barrier.wait(timeout=20)
            return call()
        except StateError as refusal:
            return refusal
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(go, calls))


@pytest.fixture(params=range(3))
def again(request: pytest.FixtureRequest) -> Iterator[int]:
    """A race shows itself by chance: each is run a few times."""
    yield request.param


def test_many_workers_share_few_jobs_each_job_once() -> None:
    dataset = make_dataset()
    jobs = {make_job(dataset).pk for _ in range(5)}
    fleet = [make_worker()[0] for _ in range(8)]

    def claim_of(worker: Any) -> Callable[[], Any]:
        return lambda: queue.claim_job(worker=worker, claim_id=uuid4(), now=timezone.now())

    taken = [job.pk for job in at_once(*[claim_of(worker) for worker in fleet]) if job is not None]
    assert sorted(taken) == sorted(jobs)
    assert Counter(Attempt.objects.values_list("job", flat=True)) == dict.fromkeys(jobs, 1)
    assert set(Job.objects.values_list("status", "attempt")) == {("running", 1)}


def test_few_workers_and_many_jobs_end_with_one_job_each() -> None:
    dataset = make_dataset()
    for _ in range(12):
        make_job(dataset)
    fleet = [make_worker()[0] for _ in range(4)]
    calls = [lambda w=worker: queue.claim_job(worker=w, claim_id=uuid4(), now=timezone.now()) for worker in fleet]
    taken = at_once(*calls)
    assert len({job.pk for job in taken}) == 4
    assert [job.worker for job in taken] == fleet


def test_the_same_claim_sent_several_times_at_once_is_one_attempt(again: int) -> None:
    dataset = make_dataset()
    for _ in range(3):
        make_job(dataset)
    worker, claim_id = make_worker()[0], uuid4()
    answers = at_once(*[lambda: queue.claim_job(worker=worker, claim_id=claim_id, now=timezone.now())] * 4)
    assert len({(job.pk, job.attempt) for job in answers}) == 1
    assert Attempt.objects.count() == 1


def test_the_same_claim_at_once_for_the_only_job_is_answered_alike(again: int) -> None:
    job = make_job()
    worker, claim_id = make_worker()[0], uuid4()
    answers = at_once(*[lambda: queue.claim_job(worker=worker, claim_id=claim_id, now=timezone.now())] * 4)
    assert [(answer.pk, answer.attempt) for answer in answers] == [(job.pk, 1)] * 4


@pytest.mark.parametrize("others", [0, 2])
def test_a_claim_repeated_before_the_first_one_is_written_waits_for_its_job(others: int) -> None:
    dataset, worker, claim_id = make_dataset(), make_worker()[0], uuid4()
    for _ in range(1 + others):
        make_job(dataset)
    begun = threading.Event()

    def claim() -> Any:
        return queue.claim_job(worker=worker, claim_id=claim_id, now=timezone.now())

    def slowly() -> Any:
        with transaction.atomic():
            job = claim()
            begun.set()
            time.sleep(0.5)
        return job

    def repeat() -> Any:
        begun.wait(timeout=20)
        return claim()

    answers = at_once(slowly, *[repeat] * 3)
    assert len({job and (job.pk, job.attempt) for job in answers}) == 1


def test_two_claims_of_one_worker_at_once_yield_one_job_and_a_refusal(again: int) -> None:
    dataset = make_dataset()
    make_job(dataset)
    make_job(dataset)
    worker = make_worker()[0]
    answers = at_once(*[lambda: queue.claim_job(worker=worker, claim_id=uuid4(), now=timezone.now())] * 2)
    assert sorted(isinstance(answer, WorkerBusy) for answer in answers) == [False, True]
    assert Attempt.objects.count() == 1


def test_two_claims_at_once_that_find_an_expired_job_and_a_waiting_one_share_them(again: int) -> None:
    job = make_running_job()
    waiting, late = make_job(job.run.dataset), after_lease(job)
    fleet = [make_worker()[0] for _ in range(2)]
    calls = [lambda w=worker: queue.claim_job(worker=w, claim_id=uuid4(), now=late) for worker in fleet]
    taken = at_once(*calls)
    assert sorted(answer.pk for answer in taken) == [job.pk, waiting.pk]
    job.refresh_from_db()
    assert (job.attempt, job.loss_count) == (2, 1)


def test_expiry_and_heartbeat_at_once_leave_the_job_with_its_worker(again: int) -> None:
    job = make_running_job()
    late = after_lease(job)
    at_once(
        lambda: queue.requeue_expired(now=late),
        lambda: queue.renew_lease(job_id=job.pk, attempt=1, worker=job.worker, now=late),
    )
    job.refresh_from_db()
    assert (job.status, job.attempt, job.loss_count) == ("running", 1, 0)
    assert Attempt.objects.get().ended_at is None


def test_two_reapers_count_one_loss(again: int) -> None:
    job = make_running_job()
    late = after_lease(job)
    assert sorted(at_once(*[lambda: queue.requeue_expired(now=late)] * 3)) == [0, 0, 1]
    job.refresh_from_db()
    assert job.loss_count == 1
    assert job.events.filter(reason="lease_expired").count() == 1


def test_expiry_and_complete_at_once_have_one_winner(again: int) -> None:
    job = make_running_job()
    assert job.lease_expires_at is not None
    in_time, late = job.lease_expires_at - timedelta(seconds=1), after_lease(job)
    answers = at_once(
        lambda: queue.requeue_expired(now=late),
        lambda: queue.complete_job(
            job_id=job.pk, attempt=1, worker=job.worker, result=queue.Result(model_path="run"), now=in_time
        ),
    )
    job.refresh_from_db()
    if isinstance(answers[1], LeaseLost):
        assert (job.status, answers[0], TrainedModel.objects.count()) == ("pending", 1, 0)
    else:
        assert (job.status, answers[0], TrainedModel.objects.count()) == ("completed", 0, 1)


def test_cancel_and_complete_at_once_end_in_completed(again: int) -> None:
    job = make_running_job()
    now = timezone.now()
    answers = at_once(
        lambda: runs.request_cancel(run=job.run, user=None, now=now),
        lambda: queue.complete_job(
            job_id=job.pk, attempt=1, worker=job.worker, result=queue.Result(model_path="run"), now=now
        ),
    )
    job.refresh_from_db()
    job.run.refresh_from_db()
    assert (job.status, job.run.status) == ("completed", "completed")
    assert isinstance(answers[0], Job | InvalidTransition)
    requested = job.events.filter(reason="cancel_requested").count()
    assert job.events.filter(reason="cancel_too_late").count() == requested


def test_cancel_and_claim_at_once_have_one_winner(again: int) -> None:
    job, worker, now = make_job(), make_worker()[0], timezone.now()
    _cancelled, claimed = at_once(
        lambda: runs.request_cancel(run=job.run, user=None, now=now),
        lambda: queue.claim_job(worker=worker, claim_id=uuid4(), now=now),
    )
    job.refresh_from_db()
    if claimed is None:
        assert (job.status, Attempt.objects.count()) == ("cancelled", 0)
    else:
        assert (job.status, Attempt.objects.count()) == ("running", 1)


def test_expiry_and_cancel_at_once_end_in_cancelled(again: int) -> None:
    job = make_running_job()
    late = after_lease(job)
    at_once(
        lambda: queue.requeue_expired(now=late),
        lambda: runs.request_cancel(run=job.run, user=None, now=late),
    )
    job.refresh_from_db()
    assert (job.status, job.run.status) == (Status.CANCELLED, Status.CANCELLED)


def test_the_old_worker_and_a_new_one_at_once_never_both_hold_the_job(again: int) -> None:
    job = make_running_job()
    late, other = after_lease(job), make_worker()[0]
    queue.requeue_expired(now=late)
    reattached, claimed = at_once(
        lambda: queue.renew_lease(job_id=job.pk, attempt=1, worker=job.worker, now=late),
        lambda: queue.claim_job(worker=other, claim_id=uuid4(), now=late),
    )
    job.refresh_from_db()
    assert Attempt.objects.filter(ended_at=None).count() == 1
    if isinstance(reattached, LeaseLost):
        assert (claimed.pk, job.worker, job.attempt) == (job.pk, other, 2)
    else:
        assert (claimed, job.attempt, job.loss_count) == (None, 1, 0)


def test_taking_a_job_up_again_and_claiming_at_once_leave_the_worker_with_one_job(again: int) -> None:
    job = make_running_job()
    make_job(job.run.dataset)
    worker, late = job.worker, after_lease(job)
    queue.requeue_expired(now=late)
    reattached, claimed = at_once(
        lambda: queue.renew_lease(job_id=job.pk, attempt=1, worker=worker, now=late),
        lambda: queue.claim_job(worker=worker, claim_id=uuid4(), now=late),
    )
    live = Attempt.objects.get(ended_at=None)
    if isinstance(reattached, LeaseLost):
        assert (claimed.pk, live.job, live.number) == (job.pk, job, 2)
    else:
        assert isinstance(claimed, WorkerBusy)
        assert (live.job, live.number) == (job, 1)


def test_the_same_complete_sent_twice_at_once_is_accepted_twice_and_done_once(again: int) -> None:
    job = make_running_job()
    answers = at_once(
        *[
            lambda: queue.complete_job(
                job_id=job.pk,
                attempt=1,
                worker=job.worker,
                result=queue.Result(model_path="run"),
                now=timezone.now(),
            )
        ]
        * 3
    )
    assert [answer.status for answer in answers] == ["completed"] * 3
    assert TrainedModel.objects.count() == 1
    assert job.events.filter(reason="completed").count() == 1


def test_the_same_failure_sent_twice_at_once_counts_one_loss(again: int) -> None:
    job = make_running_job()
    answers = at_once(
        *[
            lambda: queue.fail_job(
                job_id=job.pk,
                attempt=1,
                worker=job.worker,
                reason="killed",  # type: ignore[arg-type]
                message="killed",
                now=timezone.now(),
            )
        ]
        * 3
    )
    assert [answer.status for answer in answers] == ["pending"] * 3
    job.refresh_from_db()
    assert job.loss_count == 1


def test_the_same_log_lines_sent_twice_at_once_are_counted_once(again: int) -> None:
    job = make_running_job()
    attempt = queue.attempt_of(job_id=job.pk, attempt=1, worker=job.worker)
    lines = [{"seq": seq, "timestamp": timezone.now(), "level": "INFO", "message": "m"} for seq in range(1, 201)]
    answers = at_once(*[lambda: telemetry.record_logs(attempt=attempt, lines=lines)] * 3)
    assert sorted((done.accepted, done.duplicates) for done, _next in answers) == [(0, 200), (0, 200), (200, 0)]


def test_different_figures_sent_at_once_are_each_counted_where_they_came(again: int) -> None:
    job = make_running_job()

    def record(split: str) -> Callable[[], Any]:
        points = [{"epoch": 1, "step": step, "split": split, "values": {"loss": 1}} for step in range(200)]
        return lambda: telemetry.record_metrics(job=job, points=points)

    answers = at_once(record("train"), record("validation"), record("test"))
    assert [(done.accepted, done.duplicates) for done in answers] == [(200, 0)] * 3


def test_a_dataset_deleted_while_a_run_of_it_is_made_stays_with_the_run_or_neither_is_there(again: int) -> None:
    dataset, client = make_dataset(), signed_in()
    url = reverse("admin:datasets_app_dataset_delete", args=[dataset.pk])

    def ask_for_a_run() -> Any:
        try:
            return make_run(dataset)
        except runs.DatasetGone:
            return None

    page, *made = at_once(lambda: client.post(url, {"post": "yes"}), ask_for_a_run, ask_for_a_run)
    assert page.status_code == 302
    assert Run.objects.count() == sum(run is not None for run in made)
    assert Dataset.objects.exists() == Run.objects.exists()


def test_a_worker_that_claims_while_it_is_deleted_stays_or_is_unknown(again: int) -> None:
    make_job()
    worker, token = make_worker()
    url = reverse("admin:workers_app_worker_delete", args=[worker.pk])
    admin, api = signed_in(), client_for(token)
    body = {"claim_id": str(uuid4())}
    page, answer = at_once(
        lambda: admin.post(url, {"post": "yes"}),
        lambda: api.post("/bert-training/api/jobs/claim", body, format="json"),
    )
    assert (page.status_code, answer.status_code) in [(302, 401), (403, 200)]
    assert Attempt.objects.filter(worker=worker, ended_at=None).count() == (answer.status_code == 200)
