"""What a worker calls: heartbeat, claim, progress, metrics, logs, complete, fail, release."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone
from rest_framework.test import APIClient
from time_machine import Traveller

from runs_app.choices import FailureReason, ReleaseReason
from runs_app.hyperparameters import as_ordered
from runs_app.models import EpochMetric, GpuSample, Job, LogEntry
from runs_app.services import queue, runs
from tests.conftest import NOON
from tests.factories import client_for, make_dataset, make_job, make_run, make_running_job, make_worker
from workers_app.models import Worker

pytestmark = pytest.mark.django_db

API = "/bert-training/api"


def post(api: APIClient, route: str, body: Any = None, **fields: Any) -> Any:
    text = json.dumps(body if body is not None else fields)
    return api.generic("POST", f"{API}/{route}", text, content_type="application/json")


def line(seq: int, **values: Any) -> dict[str, Any]:
    return {"seq": seq, "timestamp": "2026-03-02T12:00:00Z", "level": "INFO", "message": f"line {seq}", **values}


def point(step: int, **values: Any) -> dict[str, Any]:
    return {"epoch": 1.0, "step": step, "split": "train", "values": {"loss": 0.5}, **values}


# Heartbeat


def test_an_idle_heartbeat_says_the_time_and_that_nothing_is_asked(worker_api: APIClient, clock: Traveller) -> None:
    answer = post(worker_api, "workers/heartbeat", state="idle")
    assert answer.status_code == 200
    assert answer.json() == {
        "server_time": "2026-03-02T12:00:00Z",
        "lease_expires_at": None,
        "cancel_requested": False,
        "pause_requested": False,
        "drain": False,
    }


def test_a_heartbeat_with_a_job_renews_its_lease(worker_api: APIClient, worker: Worker, clock: Traveller) -> None:
    job = make_running_job(worker)
    clock.shift(300)
    answer = post(worker_api, "workers/heartbeat", job=job.pk, attempt=1, state="busy")
    assert answer.json()["lease_expires_at"] == "2026-03-02T12:15:00Z"
    job.refresh_from_db()
    assert job.lease_expires_at == NOON + timedelta(seconds=900)


def test_a_heartbeat_notes_that_the_worker_is_there_and_how_busy_its_gpu_is(
    worker_api: APIClient, worker: Worker, clock: Traveller
) -> None:
    post(worker_api, "workers/heartbeat", state="idle", gpu_utilization=97.5, gpu_memory_bytes=2**40)
    worker.refresh_from_db()
    assert (worker.last_seen_at, worker.gpu_utilization, worker.gpu_memory_bytes) == (NOON, 97.5, 2**40)
    assert not GpuSample.objects.exists(), "it held no job"


def test_a_heartbeat_with_a_job_keeps_what_its_gpu_does(
    worker_api: APIClient, worker: Worker, clock: Traveller
) -> None:
    job = make_running_job(worker)
    for use in ({"gpu_utilization": 97.5, "gpu_memory_bytes": 2**40}, {}):
        post(worker_api, "workers/heartbeat", job=job.pk, attempt=1, state="busy", **use)
    clock.shift(30)
    post(worker_api, "workers/heartbeat", job=job.pk, attempt=7, state="busy", gpu_utilization=1.0)
    kept = GpuSample.objects.values_list("job", "at", "utilization", "memory_bytes")
    assert list(kept) == [(job.pk, NOON, 97.5, 2**40)], "not that of an attempt that does not hold the job"


def test_an_idle_worker_that_asks_each_second_is_noted_every_few_seconds(
    worker_api: APIClient, worker: Worker, clock: Traveller
) -> None:
    noted = []
    for _ in range(6):
        post(worker_api, "jobs/claim", claim_id=str(uuid4()))
        worker.refresh_from_db()
        noted.append(worker.last_seen_at)
        clock.shift(1)
    assert noted == [NOON] * 5 + [NOON + timedelta(seconds=5)]


@pytest.mark.parametrize(
    ("wish", "told"), [(runs.request_cancel, "cancel_requested"), (runs.request_pause, "pause_requested")]
)
def test_a_wish_of_a_person_rides_on_heartbeat_and_progress(
    worker_api: APIClient, worker: Worker, wish: Any, told: str
) -> None:
    job = make_running_job(worker)
    wish(run=job.run, user=None, now=timezone.now())
    assert post(worker_api, "workers/heartbeat", job=job.pk, attempt=1).json()[told] is True
    assert post(worker_api, f"jobs/{job.pk}/progress", attempt=1, phase="training").json()[told] is True


def test_a_draining_worker_is_told_so(worker_api: APIClient, worker: Worker) -> None:
    worker.draining = True
    worker.save()
    assert post(worker_api, "workers/heartbeat", state="idle").json()["drain"] is True


def test_a_job_without_its_attempt_renews_nothing(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    answer = post(worker_api, "workers/heartbeat", job=job.pk)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["attempt"])


def test_a_heartbeat_takes_up_again_what_nobody_claimed(
    worker_api: APIClient, worker: Worker, clock: Traveller
) -> None:
    job = make_running_job(worker)
    clock.shift(601)
    queue.requeue_expired(now=timezone.now())
    assert post(worker_api, f"jobs/{job.pk}/progress", attempt=1, phase="training").status_code == 409
    assert post(worker_api, "workers/heartbeat", job=job.pk, attempt=1).status_code == 200
    assert post(worker_api, f"jobs/{job.pk}/progress", attempt=1, phase="training").status_code == 200


# Claim


def test_a_claim_is_answered_with_all_that_a_worker_needs(
    worker_api: APIClient, worker: Worker, clock: Traveller
) -> None:
    dataset = make_dataset()
    run = make_run(dataset, name="first", seed=7, given={"epochs": 3})
    answer = post(worker_api, "jobs/claim", claim_id=str(uuid4()))
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {"job", "run", "dataset", "resume"}
    assert (
        body["job"].items()
        >= {
            "id": run.job.pk,
            "attempt": 1,
            "lease_expires_at": "2026-03-02T12:10:00Z",
            "lease_seconds": 600,
            "heartbeat_seconds": 30,
        }.items()
    )
    assert body["run"] == {
        "id": run.pk,
        "name": "first",
        "task_type": "text_classification",
        "base_model": "builtin/tiny-bert",
        "base_model_revision": "",
        "seed": 7,
        "hyperparameters": as_ordered(run.hyperparameters),
    }
    expected = {
        "id": dataset.pk,
        "sha256": dataset.sha256_hash,
        "size_bytes": dataset.size_bytes,
        "filename": "decisões.xlsx",
        "sheet": "Sheet",
        "columns": {"text": "texto", "label": "rótulo"},
        "labels": dataset.labels,
        "num_rows": 5,
        "download_url": f"http://testserver{API}/datasets/{dataset.pk}/download",
    }
    assert {key: body["dataset"][key] for key in expected} == expected
    assert body["resume"] == {"same_worker": False, "previous_attempts": 0}


def test_without_a_job_the_answer_is_204(worker_api: APIClient) -> None:
    answer = post(worker_api, "jobs/claim", claim_id=str(uuid4()))
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_claim_whose_answer_was_lost_is_answered_the_same_again(worker_api: APIClient, worker: Worker) -> None:
    make_job()
    claim_id = str(uuid4())
    first, again = (post(worker_api, "jobs/claim", claim_id=claim_id).json() for _ in range(2))
    assert first == again


def test_a_worker_with_a_job_is_busy(worker_api: APIClient, worker: Worker) -> None:
    make_running_job(worker)
    answer = post(worker_api, "jobs/claim", claim_id=str(uuid4()))
    assert (answer.status_code, answer.json()["code"]) == (409, "busy")


def test_a_worker_that_comes_back_is_told_that_its_checkpoint_lies_there(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    post(worker_api, f"jobs/{job.pk}/release", attempt=1, reason="crashed")
    body = post(worker_api, "jobs/claim", claim_id=str(uuid4())).json()
    assert (body["job"]["id"], body["job"]["attempt"]) == (job.pk, 2)
    assert body["resume"] == {"same_worker": True, "previous_attempts": 1}


def test_another_worker_is_told_that_the_checkpoint_lies_elsewhere(worker_api: APIClient, clock: Traveller) -> None:
    make_running_job()
    clock.shift(601)
    body = post(worker_api, "jobs/claim", claim_id=str(uuid4())).json()
    assert body["resume"] == {"same_worker": False, "previous_attempts": 1}


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "x",
        None,
        {"claim_id": None},
        {"claim_id": ""},
        {"claim_id": "x"},
        {"claim_id": 10**40},
        {"claim_id": ["a"]},
        {"claim_id": "\ud800"},
        {"claim_id": str(uuid4()), "wait_seconds": -1},
        {"claim_id": str(uuid4()), "wait_seconds": 31},
        {"claim_id": str(uuid4()), "wait_seconds": True},
        {"claim_id": str(uuid4()), "wait_seconds": "soon"},
        {"claim_id": str(uuid4()), "wait_seconds": None},
        {"claim_id": str(uuid4()), "wait_seconds": 1e999},
    ],
)
def test_a_wrong_claim_is_refused(worker_api: APIClient, body: Any) -> None:
    make_job()
    text = json.dumps(body).replace("Infinity", "1e999")
    answer = worker_api.generic("POST", f"{API}/jobs/claim", text, content_type="application/json")
    assert answer.status_code == 400, answer.content
    assert Job.objects.get().status == "pending"


# Progress


def test_progress_is_kept_and_shown(worker_api: APIClient, worker: Worker, api: APIClient, clock: Traveller) -> None:
    job = make_running_job(worker)
    told = {"epoch": 1.5, "step": 30, "total_steps": 100, "phase": "training", "eta_seconds": 70.0, "message": "ok"}
    assert post(worker_api, f"jobs/{job.pk}/progress", {"attempt": 1, **told}).status_code == 200
    shown = api.get(f"{API}/runs/{job.run_id}").json()["job"]["progress"]
    assert shown == {**told, "updated_at": "2026-03-02T12:00:00Z"}


def test_progress_alone_does_not_renew_the_lease_nor_change_the_status(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    before = job.lease_expires_at
    post(worker_api, f"jobs/{job.pk}/progress", attempt=1, phase="training")
    job.refresh_from_db()
    assert (job.status, job.lease_expires_at) == ("running", before)


# Metrics


def test_metrics_are_taken_once(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    body = {"job": job.pk, "attempt": 1, "metrics": [point(1), point(2), point(1, split="validation")]}
    first, again = post(worker_api, "metrics", body), post(worker_api, "metrics", body)
    assert (first.status_code, first.json()) == (200, {"accepted": 3, "duplicates": 0, "cancel_requested": False})
    assert again.json() == {"accepted": 0, "duplicates": 3, "cancel_requested": False}
    assert EpochMetric.objects.count() == 3


def test_a_repeated_point_with_another_value_changes_nothing(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    for loss in (0.5, 0.1):
        post(worker_api, "metrics", job=job.pk, attempt=1, metrics=[point(1, values={"loss": loss})])
    assert EpochMetric.objects.get().values == {"loss": 0.5}


def test_a_point_twice_in_one_batch_is_taken_once(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    answer = post(worker_api, "metrics", job=job.pk, attempt=1, metrics=[point(1), point(1)])
    assert (answer.json()["accepted"], answer.json()["duplicates"]) == (1, 1)


def test_a_point_of_the_attempt_before_is_not_doubled_by_the_next(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    post(worker_api, "metrics", job=job.pk, attempt=1, metrics=[point(1)])
    post(worker_api, f"jobs/{job.pk}/release", attempt=1, reason="shutdown")
    queue.claim_job(worker=worker, claim_id=uuid4(), now=timezone.now())
    answer = post(worker_api, "metrics", job=job.pk, attempt=2, metrics=[point(1), point(2)])
    assert (answer.json()["accepted"], answer.json()["duplicates"]) == (1, 1)


def test_an_empty_batch_of_metrics_is_fine(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    answer = post(worker_api, "metrics", job=job.pk, attempt=1, metrics=[])
    assert (answer.status_code, answer.json()["accepted"]) == (200, 0)


def test_metrics_tell_of_a_cancel(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    runs.request_cancel(run=job.run, user=None, now=timezone.now())
    assert post(worker_api, "metrics", job=job.pk, attempt=1, metrics=[point(1)]).json()["cancel_requested"] is True


@pytest.mark.parametrize(
    "wrong",
    [
        {"epoch": -1},
        {"epoch": "x"},
        {"epoch": None},
        {"step": -1},
        {"step": 2**31},
        {"step": 1.5},
        {"split": "dev"},
        {"split": "\ud800"},
        {"values": {}},
        {"values": []},
        {"values": {"loss": "low"}},
        {"values": {"loss": True}},
        {"values": {"\x00": 1}},
        {"values": {"é": 1}},
        {"values": {"x" * 101: 1}},
        {"values": {str(n): n for n in range(101)}},
        {"values": {"loss": [1]}},
    ],
)
def test_a_wrong_point_is_refused_by_name_and_nothing_of_its_batch_is_kept(
    worker_api: APIClient, worker: Worker, wrong: dict[str, Any]
) -> None:
    job = make_running_job(worker)
    answer = post(worker_api, "metrics", job=job.pk, attempt=1, metrics=[point(1), {**point(2), **wrong}])
    assert answer.status_code == 400, answer.content
    assert list(answer.json()["errors"]["metrics"]["1"]) == list(wrong)
    assert not EpochMetric.objects.exists()


def test_a_figure_that_is_not_a_number_is_sent_as_null(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    post(worker_api, "metrics", job=job.pk, attempt=1, metrics=[point(1, values={"loss": None})])
    assert EpochMetric.objects.get().values == {"loss": None}


# Logs


def test_log_lines_are_taken_once_and_in_any_order(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)

    def send(*seqs: int) -> dict[str, Any]:
        body: dict[str, Any] = post(
            worker_api, "logs/batch", job=job.pk, attempt=1, lines=[line(seq) for seq in seqs]
        ).json()
        return body

    assert send(1, 2) == {"accepted": 2, "duplicates": 0, "next_seq": 3, "cancel_requested": False}
    assert send(1, 2) == {"accepted": 0, "duplicates": 2, "next_seq": 3, "cancel_requested": False}
    assert send(5, 4)["next_seq"] == 3
    assert send(3)["next_seq"] == 6
    assert send(2, 6, 6) == {"accepted": 1, "duplicates": 2, "next_seq": 7, "cancel_requested": False}
    assert LogEntry.objects.count() == 6


def test_before_any_line_the_first_is_wanted(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    assert post(worker_api, "logs/batch", job=job.pk, attempt=1, lines=[]).json()["next_seq"] == 1
    assert post(worker_api, "logs/batch", job=job.pk, attempt=1, lines=[line(7)]).json()["next_seq"] == 1


def test_a_batch_holds_at_most_a_thousand_lines(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    full = post(worker_api, "logs/batch", job=job.pk, attempt=1, lines=[line(n) for n in range(1, 1001)])
    assert (full.status_code, full.json()["next_seq"]) == (200, 1001)
    over = post(worker_api, "logs/batch", job=job.pk, attempt=1, lines=[line(n) for n in range(1001, 2002)])
    assert (over.status_code, list(over.json()["errors"])) == (400, ["lines"])


def test_each_attempt_counts_its_own_lines(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    post(worker_api, "logs/batch", job=job.pk, attempt=1, lines=[line(1)])
    post(worker_api, f"jobs/{job.pk}/release", attempt=1, reason="shutdown")
    queue.claim_job(worker=worker, claim_id=uuid4(), now=timezone.now())
    assert post(worker_api, "logs/batch", job=job.pk, attempt=2, lines=[line(1)]).json()["accepted"] == 1


def test_late_lines_of_an_ended_attempt_are_taken_from_the_worker_that_held_it(
    worker_api: APIClient, worker: Worker, clock: Traveller
) -> None:
    job = make_running_job(worker)
    clock.shift(601)
    queue.claim_job(worker=make_worker()[0], claim_id=uuid4(), now=timezone.now())
    answer = post(worker_api, "logs/batch", job=job.pk, attempt=1, lines=[line(1)])
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)


def test_lines_of_an_attempt_that_another_worker_holds_are_refused(
    worker_api: APIClient, worker: Worker, clock: Traveller
) -> None:
    job = make_running_job(worker)
    clock.shift(601)
    queue.claim_job(worker=make_worker()[0], claim_id=uuid4(), now=timezone.now())
    answer = post(worker_api, "logs/batch", job=job.pk, attempt=2, lines=[line(1)])
    assert (answer.status_code, answer.json()["code"]) == (409, "lease_lost")


def test_lines_for_a_job_that_was_never_the_workers_are_refused(worker_api: APIClient) -> None:
    job = make_running_job()
    answer = post(worker_api, "logs/batch", job=job.pk, attempt=1, lines=[line(1)])
    assert (answer.status_code, answer.json()["code"]) == (409, "lease_lost")
    assert not LogEntry.objects.exists()


def test_a_level_is_kept_in_upper_case(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    post(worker_api, "logs/batch", job=job.pk, attempt=1, lines=[line(1, level="warning")])
    assert LogEntry.objects.get().level == "WARNING"


def test_what_no_database_can_hold_is_replaced_in_a_message(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    post(worker_api, "logs/batch", job=job.pk, attempt=1, lines=[line(1, message="a\x00b\ud800c  ")])
    assert LogEntry.objects.get().message == "a\N{REPLACEMENT CHARACTER}b?c  "


@pytest.mark.parametrize(
    "wrong",
    [
        {"seq": 0},
        {"seq": -1},
        {"seq": True},
        {"seq": 2**31},
        {"seq": "x"},
        {"timestamp": "yesterday"},
        {"timestamp": "0001-01-01T00:00:00+14:00"},
        {"timestamp": "9999-12-31T23:59:59-14:00"},
        {"timestamp": "1950-01-01T00:00:00Z"},
        {"timestamp": 5},
        {"timestamp": None},
        {"level": ""},
        {"level": "x" * 17},
        {"level": "\x00"},
        {"message": None},
        {"message": True},
        {"message": ["x"]},
        {"message": "x" * 10_001},
    ],
)
def test_a_wrong_line_is_refused_by_name(worker_api: APIClient, worker: Worker, wrong: dict[str, Any]) -> None:
    job = make_running_job(worker)
    answer = post(worker_api, "logs/batch", job=job.pk, attempt=1, lines=[line(1), {**line(2), **wrong}])
    assert answer.status_code == 400, answer.content
    assert list(answer.json()["errors"]["lines"]["1"]) == list(wrong)
    assert not LogEntry.objects.exists()


# Ending


def test_complete_is_taken_and_its_repeat_changes_nothing(
    worker_api: APIClient, worker: Worker, api: APIClient
) -> None:
    job = make_running_job(worker)
    body = {
        "attempt": 1,
        "metrics": {"test_f1": 0.9},
        "best_epoch": 2,
        "model_path": "C:\\models\\run-1",
        "model_sha256": "0" * 64,
        "report": {"classes": []},
        "environment": {"torch": "2.13", "overflow": 1.0},
    }
    for _ in range(2):
        answer = post(worker_api, f"jobs/{job.pk}/complete", body)
        assert (answer.status_code, answer.json()) == (200, {"status": "completed"})
    run = api.get(f"{API}/runs/{job.run_id}").json()
    assert (run["status"], run["metrics"], run["best_epoch"]) == ("completed", {"test_f1": 0.9}, 2.0)
    assert (run["model_path"], run["environment"]["torch"]) == ("C:\\models\\run-1", "2.13")


def test_a_figure_beyond_json_in_a_result_is_kept_as_null(
    worker_api: APIClient, worker: Worker, api: APIClient
) -> None:
    job = make_running_job(worker)
    long = "1" + "0" * 400  # an integer to JSON, infinite to whoever reads it as a float
    text = f'{{"attempt": 1, "metrics": {{"loss": 1e999, "f1": {long}, "a\\u0000": "b\\ud800"}}, "model_path": "m"}}'
    answer = worker_api.generic("POST", f"{API}/jobs/{job.pk}/complete", text, content_type="application/json")
    assert answer.status_code == 200
    assert api.get(f"{API}/runs/{job.run_id}").json()["metrics"] == {
        "loss": None,
        "f1": None,
        "a\N{REPLACEMENT CHARACTER}": "b?",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attempt", 0),
        ("attempt", None),
        ("attempt", "one"),
        ("metrics", []),
        ("metrics", "x"),
        ("metrics", None),
        ("best_epoch", "x"),
        ("best_epoch", -1),
        ("model_path", ""),
        ("model_path", "x" * 1001),
        ("model_path", None),
        ("model_sha256", "x"),
        ("report", [1]),
        ("environment", 5),
    ],
)
def test_a_wrong_field_of_complete_is_refused_by_name(
    worker_api: APIClient, worker: Worker, field: str, value: Any
) -> None:
    job = make_running_job(worker)
    body = {"attempt": 1, "metrics": {}, "model_path": "m", field: value}
    answer = post(worker_api, f"jobs/{job.pk}/complete", body)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    job.refresh_from_db()
    assert job.status == "running"


@pytest.mark.parametrize(
    ("reason", "status"), [(FailureReason.NAN_LOSS, "failed"), (FailureReason.DISK_FULL, "pending")]
)
def test_fail_says_what_becomes_of_the_job_and_repeats_the_same(
    worker_api: APIClient, worker: Worker, reason: str, status: str
) -> None:
    job = make_running_job(worker)
    body = {"attempt": 1, "reason": reason, "message": "m", "traceback": "t", "retryable": True}
    for _ in range(2):
        answer = post(worker_api, f"jobs/{job.pk}/fail", body)
        assert (answer.status_code, answer.json()) == (200, {"status": status})


def test_a_failed_run_tells_people_why(worker_api: APIClient, worker: Worker, api: APIClient) -> None:
    job = make_running_job(worker)
    post(worker_api, f"jobs/{job.pk}/fail", attempt=1, reason="out_of_memory", message="8 GB\x00", retryable=False)
    run = api.get(f"{API}/runs/{job.run_id}").json()
    assert (run["failure_reason"], run["error"]) == ("out_of_memory", "8 GB\N{REPLACEMENT CHARACTER}")


@pytest.mark.parametrize("route", ["fail", "release"])
@pytest.mark.parametrize("reason", ["boredom", "", None, 5, ["crashed"], {}, "\ud800"])
def test_an_unknown_reason_is_refused_by_name(worker_api: APIClient, worker: Worker, route: str, reason: Any) -> None:
    job = make_running_job(worker)
    answer = post(worker_api, f"jobs/{job.pk}/{route}", attempt=1, reason=reason, message="m")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["reason"])


@pytest.mark.parametrize("reason", list(ReleaseReason))
def test_release_gives_the_job_back_and_repeats_the_same(
    worker_api: APIClient, worker: Worker, reason: ReleaseReason
) -> None:
    job = make_running_job(worker)
    for _ in range(2):
        answer = post(worker_api, f"jobs/{job.pk}/release", attempt=1, reason=reason)
        assert (answer.status_code, answer.json()) == (200, {"status": "pending"})


def test_release_after_a_cancel_cancels(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    runs.request_cancel(run=job.run, user=None, now=timezone.now())
    for _ in range(2):
        answer = post(worker_api, f"jobs/{job.pk}/release", attempt=1, reason="cancelled")
        assert (answer.status_code, answer.json()) == (200, {"status": "cancelled"})


# The fence


def writes(job: Job, attempt: int) -> list[tuple[str, dict[str, Any]]]:
    """Every write but log lines, as one attempt would send it."""
    return [
        ("workers/heartbeat", {"job": job.pk, "attempt": attempt, "state": "busy"}),
        (f"jobs/{job.pk}/progress", {"attempt": attempt, "phase": "training"}),
        ("metrics", {"job": job.pk, "attempt": attempt, "metrics": [point(99)]}),
        (f"jobs/{job.pk}/complete", {"attempt": attempt, "metrics": {}, "model_path": "m"}),
        (f"jobs/{job.pk}/fail", {"attempt": attempt, "reason": "killed", "message": ""}),
        (f"jobs/{job.pk}/release", {"attempt": attempt, "reason": "crashed"}),
        (f"jobs/{job.pk}/release", {"attempt": attempt, "reason": "shutdown"}),
    ]


@pytest.mark.parametrize("number", range(7))
def test_no_write_of_an_attempt_that_lost_the_job_is_taken(
    worker_api: APIClient, worker: Worker, clock: Traveller, number: int
) -> None:
    job = make_running_job(worker)
    clock.shift(601)
    queue.claim_job(worker=make_worker()[0], claim_id=uuid4(), now=timezone.now())
    before = Job.objects.values().get()
    route, body = writes(job, 1)[number]
    answer = post(worker_api, route, body)
    assert (answer.status_code, answer.json()["code"]) == (409, "lease_lost")
    assert (Job.objects.values().get(), EpochMetric.objects.exists()) == (before, False)


@pytest.mark.parametrize("number", range(7))
def test_no_write_of_another_worker_is_taken(worker: Worker, number: int) -> None:
    job = make_running_job(worker)
    stranger = client_for(make_worker()[1])
    before = Job.objects.values().get()
    route, body = writes(job, 1)[number]
    answer = post(stranger, route, body)
    assert (answer.status_code, answer.json()["code"]) == (409, "lease_lost")
    assert (Job.objects.values().get(), EpochMetric.objects.exists()) == (before, False)


@pytest.mark.parametrize("number", range(7))
def test_no_write_for_a_job_that_does_not_exist_is_taken(worker_api: APIClient, worker: Worker, number: int) -> None:
    route, body = writes(Job(pk=2**31 - 1), 1)[number]
    assert post(worker_api, route, body).status_code == 409


@pytest.mark.parametrize("route", ["progress", "complete", "fail", "release"])
def test_a_job_number_beyond_all_bounds_is_no_server_error(worker_api: APIClient, route: str) -> None:
    body = {"attempt": 1, "phase": "x", "reason": "crashed", "message": "", "metrics": {}, "model_path": "m"}
    if route == "fail":
        body["reason"] = "killed"
    assert post(worker_api, f"jobs/{10**25}/{route}", body).status_code in (404, 409)
