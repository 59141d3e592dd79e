"""POST /jobs/{id}/events, the counts at the end of an attempt, and what a run's page says of a gap."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient
from time_machine import Traveller

from runs_app.admin.sentences import event_sentence, gap_sentence
from runs_app.models import Job, JobEvent
from runs_app.services import queue
from runs_app.services.telemetry import Gap, gaps
from tests.conftest import NOON
from tests.factories import after_lease, make_running_job, make_worker
from tests.runs.test_api_worker_routes import line, point, post
from workers_app.models import Worker

pytestmark = pytest.mark.django_db


def event(seq: int, kind: str = "batch_halved", **values: Any) -> dict[str, Any]:
    details = {"from": 16, "to": 8, "accumulation": 2}
    return {"seq": seq, "timestamp": "2026-03-02T12:00:00Z", "kind": kind, "details": details, **values}


@pytest.fixture
def job(worker: Worker) -> Job:
    """The first attempt of `gpu-1`."""
    return make_running_job(worker)


def gap(job: Job) -> Gap | None:
    return gaps(job, list(job.attempts.all())).get(job.attempt)


def complete(api: APIClient, job: Job, **counts: int) -> None:
    answer = post(api, f"jobs/{job.pk}/complete", attempt=1, metrics={}, model_path="run-1", counts=counts)
    assert answer.status_code == 200, answer.content


def test_events_are_kept_once_and_in_the_workers_name(worker_api: APIClient, job: Job) -> None:
    for _ in range(2):
        answer = post(worker_api, f"jobs/{job.pk}/events", attempt=1, events=[event(1), event(2, "resumed")])
    assert answer.json() == {"accepted": 0, "duplicates": 2, "next_seq": 3, "cancel_requested": False}
    kept = JobEvent.objects.filter(seq__isnull=False)
    assert list(kept.values_list("actor", "reason", "details__to")) == [
        ("worker:gpu-1", "batch_halved", 8),
        ("worker:gpu-1", "resumed", 8),
    ]


def test_a_worker_that_goes_on_from_a_checkpoint_is_not_told_as_a_person_who_resumes(
    worker_api: APIClient, job: Job
) -> None:
    post(worker_api, f"jobs/{job.pk}/events", attempt=1, events=[event(1, "resumed", details={"step": 20})])
    said = event_sentence(JobEvent.objects.get(seq=1))
    assert said == "A tentativa 1 continua do ponto de salvamento do passo 20."


def test_an_event_out_of_order_leaves_its_number_open(worker_api: APIClient, job: Job) -> None:
    answer = post(worker_api, f"jobs/{job.pk}/events", attempt=1, events=[event(2)])
    assert answer.json()["next_seq"] == 1


def test_events_of_an_ended_attempt_are_still_taken(worker_api: APIClient, job: Job) -> None:
    queue.requeue_expired(now=after_lease(job))
    assert post(worker_api, f"jobs/{job.pk}/events", attempt=1, events=[event(1)]).status_code == 200


def test_events_of_another_workers_attempt_are_refused(worker_api: APIClient, worker: Worker) -> None:
    foreign = make_running_job()
    answer = post(worker_api, f"jobs/{foreign.pk}/events", attempt=1, events=[event(1)])
    assert (answer.status_code, answer.json()["code"]) == (409, "lease_lost")
    assert not JobEvent.objects.filter(seq__isnull=False).exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "Batch halved"},
        {"kind": "x" * 33},
        {"seq": 0},
        {"seq": 10_001},
        {"timestamp": "yesterday"},
        {"details": {"list": [1]}},
        {"details": {"text": "x" * 3_000}},
        {"details": 3},
    ],
    ids=str,
)
def test_a_malformed_event_is_refused(worker_api: APIClient, job: Job, wrong: dict[str, Any]) -> None:
    answer = post(worker_api, f"jobs/{job.pk}/events", attempt=1, events=[{**event(1), **wrong}])
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


def test_a_worker_with_a_wrong_clock_tells_no_event_before_its_attempt_or_in_the_future(
    clock: Traveller, worker_api: APIClient, worker: Worker
) -> None:
    job = make_running_job(worker)
    clock.shift(60)
    early, late = event(1, timestamp="1999-01-01T00:00:00Z"), event(2, timestamp="2031-01-01T00:00:00Z")
    post(worker_api, f"jobs/{job.pk}/events", attempt=1, events=[early, late])
    times = list(JobEvent.objects.filter(seq__isnull=False).values_list("at", flat=True))
    assert times == [NOON, NOON + timedelta(seconds=60)]


def test_an_event_is_told_in_a_sentence(worker_api: APIClient, job: Job) -> None:
    post(worker_api, f"jobs/{job.pk}/events", attempt=1, events=[event(1)])
    sentence = event_sentence(JobEvent.objects.get(seq=1))
    assert "8" in sentence
    assert "16" in sentence


def test_an_event_of_a_newer_worker_shows_its_name(worker_api: APIClient, job: Job) -> None:
    post(worker_api, f"jobs/{job.pk}/events", attempt=1, events=[event(1, "moon_phase", details={"100%": 1})])
    assert event_sentence(JobEvent.objects.get(seq=1)) == "moon_phase"


def test_an_event_without_its_details_is_told_all_the_same(worker_api: APIClient, job: Job) -> None:
    post(worker_api, f"jobs/{job.pk}/events", attempt=1, events=[event(1, details={})])
    assert event_sentence(JobEvent.objects.get(seq=1))


# What should be here


def test_an_attempt_of_which_everything_arrived_has_no_gap(worker_api: APIClient, job: Job) -> None:
    post(worker_api, "logs/batch", job=job.pk, attempt=1, lines=[line(1), line(2)])
    post(worker_api, "metrics", job=job.pk, attempt=1, metrics=[point(1)])
    post(worker_api, f"jobs/{job.pk}/events", attempt=1, events=[event(1)])
    complete(worker_api, job, log_lines=2, metric_points=1, events=1)
    assert gap(job) is None


def test_a_missing_line_figure_and_event_are_counted(worker_api: APIClient, job: Job) -> None:
    post(worker_api, "logs/batch", job=job.pk, attempt=1, lines=[line(1), line(3)])
    complete(worker_api, job, log_lines=3, metric_points=2, events=1)
    assert gap(job) == Gap(lines=1, lines_left_out=0, points=2, events=1)


def test_lines_that_the_worker_left_out_are_told_apart(worker_api: APIClient, job: Job) -> None:
    post(worker_api, "logs/batch", job=job.pk, attempt=1, lines=[line(5)])
    complete(worker_api, job, log_lines=5, left_out=4, metric_points=0)
    found = gap(job)
    assert found == Gap(lines=0, lines_left_out=4, points=0, events=0)
    assert "4" in gap_sentence(found)


def test_a_late_line_closes_the_gap(worker_api: APIClient, job: Job) -> None:
    complete(worker_api, job, log_lines=1)
    assert gap(job)
    post(worker_api, "logs/batch", job=job.pk, attempt=1, lines=[line(1)])
    assert gap(job) is None


def test_a_completion_that_misses_something_is_refused_while_the_worker_can_send_it_again(
    worker_api: APIClient, job: Job
) -> None:
    body = {"attempt": 1, "metrics": {}, "model_path": "run-1", "counts": {"log_lines": 1}, "may_resend": True}
    refused = post(worker_api, f"jobs/{job.pk}/complete", body)
    assert (refused.status_code, refused.json()["code"]) == (409, "telemetry_missing")
    job.refresh_from_db()
    assert job.status == "running"
    post(worker_api, "logs/batch", job=job.pk, attempt=1, lines=[line(1)])
    assert post(worker_api, f"jobs/{job.pk}/complete", body).json() == {"status": "completed"}


def test_lines_that_the_worker_left_out_do_not_hold_a_completion_up(worker_api: APIClient, job: Job) -> None:
    body = {"attempt": 1, "metrics": {}, "model_path": "run-1", "counts": {"log_lines": 4, "left_out": 4}}
    assert post(worker_api, f"jobs/{job.pk}/complete", {**body, "may_resend": True}).status_code == 200


def test_a_worker_that_tells_no_counts_has_no_gap(worker_api: APIClient, job: Job) -> None:
    complete(worker_api, job)
    assert gap(job) is None


@pytest.mark.parametrize("route", ["fail", "release"])
def test_counts_come_with_every_end_of_an_attempt(worker_api: APIClient, job: Job, route: str) -> None:
    reason = {"fail": "nan_loss", "release": "shutdown"}[route]
    body = {"attempt": 1, "reason": reason, "message": "", "retryable": False, "counts": {"log_lines": 2}}
    assert post(worker_api, f"jobs/{job.pk}/{route}", body).status_code == 200
    found = gap(job)
    assert found is not None
    assert found.lines == 2


def test_a_runs_page_shows_the_gap(worker_api: APIClient, job: Job, admin_client: Any) -> None:
    complete(worker_api, job, log_lines=7)
    page = admin_client.get(f"/admin/runs_app/run/{job.run_id}/change/").content.decode()
    assert 'class="gap"' in page


# Other news of the protocol


def test_a_worker_of_a_newer_protocol_is_asked_to_wait_for_the_servers_update(worker_api: APIClient) -> None:
    answer = post(worker_api, "workers/register", protocol=2)
    assert (answer.status_code, answer.json()["code"]) == (426, "worker_too_new")


def test_a_worker_says_whether_it_downloads_base_models(worker_api: APIClient, worker: Worker) -> None:
    post(worker_api, "workers/register", offline=True)
    worker.refresh_from_db()
    assert not worker.may_download


def test_progress_tells_the_step_of_the_newest_checkpoint(worker_api: APIClient, job: Job) -> None:
    post(worker_api, f"jobs/{job.pk}/progress", attempt=1, phase="training", checkpoint_step=40)
    job.refresh_from_db()
    assert job.checkpoint_step == 40


def test_a_heartbeat_ends_the_leases_of_others_that_ran_out(worker_api: APIClient, clock: Traveller) -> None:
    lost = make_running_job(make_worker()[0])
    clock.shift(601)
    post(worker_api, "workers/heartbeat", state="idle")
    lost.refresh_from_db()
    assert lost.status == "pending"


def test_a_heartbeat_after_its_own_lease_ran_out_counts_no_loss(
    worker_api: APIClient, worker: Worker, clock: Traveller
) -> None:
    job = make_running_job(worker)
    clock.shift(601)
    assert post(worker_api, "workers/heartbeat", job=job.pk, attempt=1).status_code == 200
    job.refresh_from_db()
    assert (job.status, job.loss_count) == ("running", 0)
    assert job.lease_expires_at > timezone.now()
