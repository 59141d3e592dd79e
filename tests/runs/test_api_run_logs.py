"""/runs/{id}/logs as a JSON page; the live stream is in test_stream.py."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from rest_framework.test import APIClient

from runs_app.models import Job, LogEntry
from tests.factories import make_running_job

pytestmark = pytest.mark.django_db

API = "/bert-training/api"


def write(job: Job, count: int, first: int = 1) -> list[int]:
    """The ids of `count` new lines."""
    at = datetime(2026, 3, 2, 12, tzinfo=UTC)
    rows = [
        LogEntry(job=job, attempt=1, seq=first + n, timestamp=at, level="INFO", message=f"line {first + n}")
        for n in range(count)
    ]
    return [row.pk for row in LogEntry.objects.bulk_create(rows)]


def page(api: APIClient, job: Job, query: str = "format=json", **headers: Any) -> dict[str, Any]:
    answer = api.get(f"{API}/runs/{job.run_id}/logs?{query}", **headers)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    return json.loads(answer.content)  # type: ignore[no-any-return]


def test_the_lines_come_as_a_page(api: APIClient) -> None:
    job = make_running_job()
    first, second = write(job, 2)
    body = page(api, job)
    assert body.keys() == {"results", "next_after"}
    assert body["results"][0] == {
        "id": first,
        "timestamp": "2026-03-02T12:00:00Z",
        "level": "INFO",
        "message": "line 1",
        "attempt": 1,
    }
    assert body["next_after"] == second


def test_a_client_that_accepts_json_gets_the_page(api: APIClient) -> None:
    job = make_running_job()
    write(job, 1)
    assert len(page(api, job, "", HTTP_ACCEPT="application/json")["results"]) == 1


def test_a_browser_that_comes_back_is_not_sent_what_its_address_once_asked_for(api: APIClient) -> None:
    job = make_running_job()
    ids = write(job, 3)
    body = page(api, job, f"format=json&after={ids[0]}", HTTP_LAST_EVENT_ID=str(ids[1]))
    assert [line["id"] for line in body["results"]] == ids[2:]


def test_the_next_page_goes_on_after_the_last_line(api: APIClient) -> None:
    job = make_running_job()
    ids = write(job, 3)
    body = page(api, job, f"format=json&after={ids[0]}")
    assert [line["id"] for line in body["results"]] == ids[1:]
    assert page(api, job, f"format=json&after={ids[2]}") == {"results": [], "next_after": ids[2]}


def test_the_header_of_an_event_source_is_understood_too(api: APIClient) -> None:
    job = make_running_job()
    ids = write(job, 2)
    body = page(api, job, HTTP_LAST_EVENT_ID=str(ids[0]))
    assert [line["id"] for line in body["results"]] == ids[1:]


def test_a_long_log_comes_in_several_pages(api: APIClient) -> None:
    job = make_running_job()
    ids = write(job, 501)
    body = page(api, job)
    assert (len(body["results"]), body["next_after"]) == (500, ids[499])
    assert [line["id"] for line in page(api, job, f"format=json&after={body['next_after']}")["results"]] == [ids[500]]


def test_the_lines_of_another_run_are_not_shown(api: APIClient) -> None:
    job, other = make_running_job(), make_running_job()
    write(other, 1)
    assert page(api, job)["results"] == []


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 30])
def test_a_place_that_is_no_line_number_is_refused_by_name(api: APIClient, after: str) -> None:
    answer = api.get(f"{API}/runs/{make_running_job().run_id}/logs?format=json&after={after}")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["after"])


@pytest.mark.parametrize("accept", ["image/png", "text/plain"])
def test_another_kind_of_answer_cannot_be_had(api: APIClient, accept: str) -> None:
    answer = api.get(f"{API}/runs/{make_running_job().run_id}/logs", HTTP_ACCEPT=accept)
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
