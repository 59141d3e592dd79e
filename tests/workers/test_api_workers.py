"""/workers and /workers/register."""

from typing import Any

import pytest
from django.utils.dateparse import parse_datetime
from rest_framework.test import APIClient
from time_machine import Traveller

from tests.conftest import NOON
from tests.factories import client_for, make_running_job, make_worker
from workers_app.models import Worker

pytestmark = pytest.mark.django_db

API = "/bert-training/api/workers"
MACHINE = {
    "hostname": "pc-7",
    "platform": "Windows-11",
    "python": "3.11.9",
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "cuda": "13.0",
    "gpus": [{"name": "RTX 4090", "memory_bytes": 24 * 2**30}],
    "client_version": "0.1.0",
    "base_models": ["neuralmind/bert-base-portuguese-cased"],
}


def register(client: APIClient, body: Any) -> Any:
    return client.post(f"{API}/register", body, format="json")


# A person registers a worker


def test_a_new_worker_is_answered_with_its_token_once(api: APIClient) -> None:
    answer = register(api, {"name": "gpu-7", "description": "Sala 12"})
    assert answer.status_code == 201
    body = answer.json()
    assert body.keys() == {"id", "name", "token"}
    assert answer.headers["Cache-Control"] == "no-store"
    assert client_for(body["token"]).post(f"{API}/heartbeat", {}, format="json").status_code == 200
    assert body["token"] not in str(api.get(API).json())


def test_of_two_who_register_a_name_at_the_same_moment_the_second_is_told_so(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_worker("gpu-7")
    monkeypatch.setattr(Worker, "full_clean", lambda *_args, **_kwargs: None)  # it looked before the first was there
    answer = register(api, {"name": "gpu-7"})
    assert (answer.status_code, set(answer.json()["errors"])) == (400, {"name"})


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "gpu/7"}, "name"),
        ({"name": "<script>"}, "name"),
        ({"name": "gpu\n7"}, "name"),
        ({"name": ["gpu"]}, "name"),
        ({"name": "gpu-7", "description": "x" * 301}, "description"),
    ],
)
def test_a_wrong_name_is_refused(api: APIClient, body: dict[str, Any], named: str) -> None:
    answer = register(api, body)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [named])
    assert not Worker.objects.exists()


def test_a_name_that_is_taken_is_refused(api: APIClient) -> None:
    make_worker("gpu-7")
    answer = register(api, {"name": "gpu-7"})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["name"])


# A worker says what it is


def test_a_worker_reports_its_machine_and_learns_the_paces(
    worker_api: APIClient, worker: Worker, clock: Traveller
) -> None:
    answer = register(worker_api, MACHINE)
    assert answer.status_code == 200
    assert answer.json() == {
        "id": worker.pk,
        "name": "gpu-1",
        "poll_seconds": 30,
        "heartbeat_seconds": 30,
        "lease_seconds": 600,
        "upload_seconds": 2,
        "held_job": None,
    }
    worker.refresh_from_db()
    assert (worker.hostname, worker.last_seen_at) == ("pc-7", NOON)
    assert worker.hardware == {"platform": "Windows-11", "cuda": "13.0", "gpus": MACHINE["gpus"]}
    assert worker.versions == {
        "python": "3.11.9",
        "torch": "2.13.0",
        "transformers": "5.23.0",
        "client_version": "0.1.0",
    }
    assert worker.base_models == MACHINE["base_models"]


def test_a_worker_that_starts_again_is_told_which_job_it_holds(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    answer = register(worker_api, {}).json()
    assert answer["held_job"] == {"job": job.pk, "attempt": 1}
    assert parse_datetime(answer["held_until"]) == job.lease_expires_at


def test_registering_again_replaces_what_was_known(worker_api: APIClient, worker: Worker) -> None:
    register(worker_api, MACHINE)
    register(worker_api, {"hostname": "pc-8", "torch": None, "gpus": []})
    worker.refresh_from_db()
    assert (worker.hostname, worker.versions, worker.hardware) == ("pc-8", {}, {"gpus": []})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hostname", "x" * 256),
        ("hostname", "a\x00"),
        ("gpus", "one"),
        ("gpus", [{"memory_bytes": 1}]),
        ("gpus", [{"name": "x", "memory_bytes": 2**63}]),
        ("gpus", [{"name": "x", "memory_bytes": -1}]),
        ("base_models", "x"),
        ("base_models", [1.5, None]),
        ("base_models", ["x" * 301]),
        ("torch", ["2"]),
    ],
)
def test_a_wrong_fact_is_refused_by_name(worker_api: APIClient, field: str, value: Any) -> None:
    answer = register(worker_api, {field: value})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


# The list


def test_the_list_is_a_page_with_machines_and_states(api: APIClient, worker_api: APIClient, clock: Traveller) -> None:
    register(worker_api, MACHINE)
    page = api.get(API).json()
    assert page.keys() == {"count", "next", "previous", "results"}
    shown = page["results"][0]
    assert shown.keys() >= {"id", "name", "state", "last_seen_at", "current_job", "hardware", "versions"}
    assert (shown["name"], shown["state"], shown["current_job"]) == ("gpu-1", "online", None)
    assert shown["hardware"]["gpus"] == MACHINE["gpus"]
    assert "token" not in shown


def state(api: APIClient) -> str:
    return str(api.get(API).json()["results"][0]["state"])


def test_a_worker_never_heard_of_is_offline(api: APIClient, worker: Worker) -> None:
    assert state(api) == "offline"


def test_a_worker_is_online_for_ninety_seconds_after_it_was_heard(
    api: APIClient, worker_api: APIClient, clock: Traveller
) -> None:
    worker_api.post(f"{API}/heartbeat", {}, format="json")
    clock.shift(90)
    assert state(api) == "online"
    clock.shift(1)
    assert state(api) == "offline"


def test_a_worker_with_a_job_is_busy(api: APIClient, worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    worker_api.post(f"{API}/heartbeat", {"job": job.pk, "attempt": 1}, format="json")
    shown = api.get(API).json()["results"][0]
    assert (shown["state"], shown["current_job"]) == ("busy", {"id": job.pk, "run": job.run_id, "attempt": 1})


def test_a_disabled_worker_is_disabled_although_it_was_just_heard(
    api: APIClient, worker_api: APIClient, worker: Worker
) -> None:
    worker_api.post(f"{API}/heartbeat", {}, format="json")
    Worker.objects.update(enabled=False)
    assert state(api) == "disabled"


def test_the_list_takes_the_same_number_of_queries_for_more_workers(
    api: APIClient, django_assert_max_num_queries: Any
) -> None:
    for _ in range(4):
        make_running_job(make_worker()[0])
    with django_assert_max_num_queries(6):
        api.get(API)
