"""The worker's own HTTP client against the real server: what one sends, the other takes."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from django.utils import timezone

from runs_app.hyperparameters import as_ordered
from runs_app.models import Attempt, EpochMetric, JobEvent, LogEntry, Run
from runs_app.services import queue, runs
from tests.factories import after_lease, make_dataset, make_run, make_running_job, make_worker, sheet_bytes
from tests.live_server import running_server
from worker_client.api import ApiClient
from worker_client.errors import Busy, LeaseLost, Rejected, Retryable, Unauthorized
from worker_client.formats import Record, read_records
from worker_client.protocol import PROTOCOL
from worker_client.spool import Spool
from workers_app import services as workers
from workers_app.models import Worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

FACTS = {
    "hostname": "pc-7",
    "platform": "Linux",
    "python": "3.11.9",
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "cuda": None,
    "gpus": [{"name": "RTX 4090", "memory_bytes": 24 * 2**30}],
    "client_version": "0.1.0",
    "base_models": ["builtin/tiny-bert"],
}


@pytest.fixture(scope="module")
def server(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def client(server: str, worker_of_test: tuple[Worker, str]) -> ApiClient:
    return ApiClient(f"{server}/bert-training/api", worker_of_test[1])


@pytest.fixture
def worker_of_test(transactional_db: None) -> tuple[Worker, str]:
    return make_worker("gpu-1")


def test_a_job_from_claim_to_completion(client: ApiClient, worker_of_test: tuple[Worker, str], tmp_path: Path) -> None:
    content = sheet_bytes()
    run = make_run(make_dataset(content), name="first", seed=7, given={"epochs": 2})
    registration = client.register(FACTS)
    assert (registration.name, registration.lease_seconds, registration.held_job) == ("gpu-1", 600, None)

    claim_id = str(uuid4())
    spec = client.claim(claim_id)
    assert spec is not None
    assert client.claim(claim_id) == spec
    assert (spec.run_id, spec.run_name, spec.attempt, spec.seed) == (run.pk, "first", 1, 7)
    assert spec.hyperparameters == as_ordered(run.hyperparameters)
    assert spec.dataset.labels == ["negado", "provido"]
    assert (client.register(FACTS).held_job, client.register(FACTS).held_attempt) == (spec.job_id, 1)

    with client.download_dataset(spec.dataset.id) as chunks:
        received = b"".join(chunks)
    assert (received, hashlib.sha256(received).hexdigest()) == (content, spec.dataset.sha256)
    (tmp_path / "sheet.xlsx").write_bytes(received)
    records = list(
        read_records(
            tmp_path / "sheet.xlsx",
            task_type=spec.task_type,
            sheet=spec.dataset.sheet,
            columns=spec.dataset.columns,
        )
    )
    assert [record.label for record in records if isinstance(record, Record)] == ["provido", "negado"] * 2

    held = {"job_id": spec.job_id, "attempt": 1}
    directives = client.heartbeat(**held, gpu_utilization=50.0, gpu_memory_bytes=2**33)
    assert (directives.cancel_requested, directives.drain) == (False, False)
    client.progress(**held, progress={"phase": "training", "epoch": 0.5, "step": 3, "total_steps": 6})
    point = {"epoch": 1.0, "step": 3, "split": "validation", "values": {"f1": 0.5, "loss": float("nan")}}
    assert client.metrics(**held, metrics=[point])["accepted"] == 1
    line = {"seq": 1, "timestamp": "2026-03-02T12:00:00+00:00", "level": "INFO", "message": "begun \ud800\x00"}
    assert client.logs(**held, lines=[line])["next_seq"] == 2

    result = {
        "metrics": {"test_f1": 0.5, "odd": float("inf")},
        "best_epoch": 1.0,
        "model_path": "/models/run-1",
        "model_sha256": "0" * 64,
        "report": {"labels": ["negado"]},
        "environment": {"torch": "2.13.0"},
    }
    client.complete(**held, result=result)
    client.complete(**held, result=result)
    run = Run.objects.get()
    assert (run.status, run.metrics, run.model_path) == ("completed", {"test_f1": 0.5, "odd": None}, "/models/run-1")
    assert EpochMetric.objects.get().values == {"f1": 0.5, "loss": None}
    assert LogEntry.objects.get().message.startswith("begun ")
    assert client.claim(str(uuid4())) is None


def test_wishes_of_people_reach_the_worker(client: ApiClient, worker_of_test: tuple[Worker, str]) -> None:
    job = make_running_job(worker_of_test[0])
    runs.request_pause(run=job.run, user=None, now=timezone.now())
    held = {"job_id": job.pk, "attempt": 1}
    assert client.heartbeat(**held).pause_requested is True
    runs.request_cancel(run=job.run, user=None, now=timezone.now())
    assert client.progress(**held, progress={"phase": "training"}).cancel_requested is True
    assert client.metrics(**held, metrics=[])["cancel_requested"] is True
    client.release(**held, reason="cancelled")
    client.release(**held, reason="cancelled")
    job.refresh_from_db()
    assert job.status == "cancelled"


def test_what_the_worker_did_by_itself_and_what_there_should_be_are_kept(
    client: ApiClient, worker_of_test: tuple[Worker, str], tmp_path: Path
) -> None:
    job = make_running_job(worker_of_test[0])
    held = {"job_id": job.pk, "attempt": 1}
    spool = Spool(tmp_path / "spool.sqlite3")
    spool.append_event("batch_halved", **{"from": 16, "to": 8, "accumulation": 2})
    spool.append_event("checkpoint_damaged", steps="200, 100")
    spool.append_log("INFO", "begun")
    for _ in range(2):
        assert client.events(**held, events=spool.next_events())["next_seq"] == 3
    client.progress(**held, progress={"phase": "training", "checkpoint_step": 300})
    client.release(**held, reason="shutdown", counts=spool.counts())
    told = JobEvent.objects.filter(job=job, seq__isnull=False).order_by("seq")
    assert [(event.reason, event.details) for event in told] == [
        ("batch_halved", {"from": 16, "to": 8, "accumulation": 2}),
        ("checkpoint_damaged", {"steps": "200, 100"}),
    ]
    job.refresh_from_db()
    assert job.checkpoint_step == 300
    assert Attempt.objects.get(job=job).counts == {"log_lines": 1, "left_out": 0, "metric_points": 0, "events": 2}


def test_a_worker_of_a_later_protocol_is_refused_with_a_sentence(client: ApiClient) -> None:
    with pytest.raises(Rejected, match="worker_too_new") as refused:
        client.register({**FACTS, "protocol": PROTOCOL + 1})
    assert refused.value.status == 426


def test_a_failure_is_told_what_becomes_of_the_job(client: ApiClient, worker_of_test: tuple[Worker, str]) -> None:
    job = make_running_job(worker_of_test[0])
    held = {"job_id": job.pk, "attempt": 1}
    failure = {"reason": "killed", "message": "signal 9", "traceback": "", "retryable": True}
    assert [client.fail(**held, failure=failure) for _ in range(2)] == ["pending", "pending"]
    again = client.claim(str(uuid4()))
    assert again is not None
    assert (again.attempt, again.same_worker, again.previous_attempts) == (2, True, 1)
    final = {**failure, "reason": "invalid_data", "retryable": False}
    assert client.fail(job_id=job.pk, attempt=2, failure=final) == "failed"


def test_a_crashed_worker_gives_the_job_back_and_gets_it_first(
    client: ApiClient, worker_of_test: tuple[Worker, str]
) -> None:
    job = make_running_job(worker_of_test[0])
    make_run(priority=100)
    client.release(job_id=job.pk, attempt=1, reason="crashed")
    spec = client.claim(str(uuid4()))
    assert spec is not None
    assert (spec.job_id, spec.attempt, spec.same_worker) == (job.pk, 2, True)


def test_a_lost_lease_is_a_lost_lease_on_every_write(client: ApiClient, worker_of_test: tuple[Worker, str]) -> None:
    job = make_running_job(worker_of_test[0])
    queue.claim_job(worker=make_worker()[0], claim_id=uuid4(), now=after_lease(job))
    held = {"job_id": job.pk, "attempt": 1}
    failure = {"reason": "killed", "message": "", "retryable": True}
    for write in (
        lambda: client.heartbeat(**held),
        lambda: client.progress(**held, progress={"phase": "training"}),
        lambda: client.metrics(**held, metrics=[]),
        lambda: client.complete(**held, result={"metrics": {}, "model_path": "m"}),
        lambda: client.fail(**held, failure=failure),
        lambda: client.release(**held, reason="crashed"),
    ):
        with pytest.raises(LeaseLost):
            write()
    line = {"seq": 1, "timestamp": "2026-03-02T12:00:00+00:00", "level": "INFO", "message": "late"}
    assert client.logs(**held, lines=[line])["accepted"] == 1


def test_refusals_arrive_as_the_workers_own_errors(
    client: ApiClient, server: str, worker_of_test: tuple[Worker, str]
) -> None:
    job = make_running_job(worker_of_test[0])
    with pytest.raises(Busy):
        client.claim(str(uuid4()))
    with pytest.raises(Rejected):
        client.metrics(job_id=job.pk, attempt=1, metrics=[{"step": "x"}])
    with pytest.raises((Rejected, Unauthorized)), client.download_dataset(make_dataset().pk):
        pass
    with pytest.raises(Unauthorized, match="unknown, revoked or disabled"):
        ApiClient(f"{server}/bert-training/api", "btw_unknown").register(FACTS)
    workers.set_enabled(worker=worker_of_test[0], enabled=False)
    with pytest.raises(Unauthorized):
        client.heartbeat(job_id=job.pk, attempt=1)


def test_a_server_that_is_not_there_is_worth_another_try() -> None:
    with pytest.raises(Retryable):
        ApiClient("http://127.0.0.1:9/bert-training/api", "btw_x", connection_retries=0).register(FACTS)
