"""The live log of a run, from a real server over HTTP."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from django.utils import timezone

from runs_app.api.live_streams import HEADER
from runs_app.models import Job, LogEntry
from runs_app.services import queue, runs, telemetry
from tests.factories import make_api_token, make_run, make_running_job, make_user
from tests.live_server import running_server, server_process

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

Event = dict[str, Any]


@pytest.fixture(scope="module")
def server(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("server")) as url:
        yield url


def write(job: Job, first: int, count: int = 1) -> None:
    at = datetime(2026, 3, 2, 12, tzinfo=UTC)
    LogEntry.objects.bulk_create(
        LogEntry(job=job, attempt=1, seq=first + n, timestamp=at, level="INFO", message=f"line {first + n}\nçã")
        for n in range(count)
    )


def finish(job: Job) -> None:
    held = {"job_id": job.pk, "attempt": 1, "worker": job.worker, "now": timezone.now()}
    queue.complete_job(**held, result=queue.Result(model_path="run"))


def stream(server: str, token: str, run_id: int, query: str = "", **headers: str) -> requests.Response:
    return requests.get(
        f"{server}/bert-training/api/runs/{run_id}/logs{query}",
        headers={"Authorization": f"Bearer {token}", **headers},
        stream=True,
        timeout=30,
    )


def events(response: requests.Response) -> Iterator[Event]:
    """Each event with its fields; comments as {"comment": …}."""
    fields: Event = {}
    for raw in response.iter_lines(chunk_size=1):
        line = raw.decode()
        if line.startswith(":"):
            yield {"comment": line[1:].strip()}
        elif line:
            name, _colon, value = line.partition(": ")
            fields[name] = json.loads(value) if name == "data" else value
        elif "data" in fields:
            yield fields
            fields = {}
        else:
            fields = {}


def test_a_finished_run_is_told_whole_and_ended(server: str) -> None:
    job = make_running_job()
    write(job, 1, 600)
    telemetry.record_metrics(job=job, points=[{"epoch": 1.0, "step": 5, "split": "validation", "values": {"f1": 0.5}}])
    finish(job)
    response = stream(server, make_api_token(), job.run_id)
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert "no-cache" in response.headers["Cache-Control"]
    told = list(events(response))
    lines = [event for event in told if event["event"] == "log"]
    ids = list(LogEntry.objects.values_list("pk", flat=True))
    assert [int(event["id"]) for event in lines] == [event["data"]["id"] for event in lines] == ids
    assert lines[0]["data"].keys() == {"id", "timestamp", "level", "message", "attempt"}
    assert lines[0]["data"]["message"] == "line 1\nçã"
    assert [event["data"]["values"] for event in told if event["event"] == "metric"] == [{"f1": 0.5}]
    assert {event["event"] for event in told} == {"log", "metric", "progress", "status", "end"}
    assert all("id" not in event for event in told if event["event"] != "log")
    assert (told[-1]["event"], told[-1]["data"]["status"]) == ("end", "completed")


def test_a_viewer_that_comes_back_gets_only_what_it_lacks(server: str) -> None:
    job = make_running_job()
    write(job, 1, 3)
    finish(job)
    ids, token = list(LogEntry.objects.values_list("pk", flat=True)), make_api_token()

    def seen(query: str = "", **headers: str) -> list[int]:
        told = events(stream(server, token, job.run_id, query, **headers))
        return [int(event["id"]) for event in told if event["event"] == "log"]

    assert seen(**{"Last-Event-ID": str(ids[0])}) == ids[1:]
    assert seen(f"?after={ids[1]}") == ids[2:]
    assert seen(f"?after={ids[2]}") == []


def test_what_happens_while_a_viewer_watches_is_told(server: str) -> None:
    job = make_running_job()
    told = events(stream(server, make_api_token(), job.run_id))
    assert next(told)["event"] == "status"
    assert next(told)["event"] == "progress"
    write(job, 1)
    event = next(told)
    assert (event["event"], event["data"]["message"]) == ("log", "line 1\nçã")
    telemetry.record_progress(job=job, progress={"phase": "training", "step": 3}, now=timezone.now())
    event = next(told)
    assert (event["event"], event["data"]["step"]) == ("progress", 3)
    finish(job)
    rest = list(told)
    assert [event["event"] for event in rest if event["event"] != "progress"] == ["status", "end"]
    assert rest[-1]["data"] == {"status": "completed"}


def test_what_a_person_asks_of_a_running_run_is_told(server: str) -> None:
    job = make_running_job()
    told = events(stream(server, make_api_token(), job.run_id))
    first = next(told)["data"]
    assert (first["pause_requested"], first["cancel_requested"]) == (False, False)
    assert next(told)["event"] == "progress"
    runs.request_pause(run=job.run, user=None, now=timezone.now())
    event = next(told)
    assert (event["event"], event["data"]["pause_requested"]) == ("status", True)
    runs.request_cancel(run=job.run, user=None, now=timezone.now())
    assert next(told)["data"]["cancel_requested"] is True


def test_a_cancelled_run_ends_its_stream(server: str) -> None:
    run = make_run()
    runs.request_cancel(run=run, user=None, now=timezone.now())
    assert [event["event"] for event in events(stream(server, make_api_token(), run.pk))][-1] == "end"


def test_any_accept_header_but_json_streams(server: str) -> None:
    run, token = make_run(), make_api_token()
    runs.request_cancel(run=run, user=None, now=timezone.now())
    for accept, kind in [
        ("*/*", "text/event-stream"),
        ("text/event-stream", "text/event-stream"),
        ("application/json", "application/json"),
    ]:
        response = stream(server, token, run.pk, Accept=accept)
        assert response.headers["Content-Type"].partition(";")[0] == kind
    assert stream(server, token, run.pk, "?format=json").json() == {"results": [], "next_after": 0}


def test_five_viewers_of_one_person_at_once_see_the_same_line(server: str) -> None:
    job, token = make_running_job(), make_api_token()
    seen: list[str] = []

    def watch() -> None:
        for event in events(stream(server, token, job.run_id)):
            if event.get("event") == "log":
                seen.append(event["data"]["message"])
                return

    viewers = [threading.Thread(target=watch) for _ in range(6)]
    for viewer in viewers:
        viewer.start()
    write(job, 1)
    for viewer in viewers:
        viewer.join(20)
    assert seen == ["line 1\nçã"] * 6


def test_viewers_who_come_and_go_while_lines_are_written_miss_none(server: str) -> None:
    job, token = make_running_job(), make_api_token()

    def lines_after(last: int) -> list[int]:
        told = events(stream(server, token, job.run_id, f"?after={last}"))
        return [int(event["id"]) for event in told if event.get("event") == "log"]

    with ThreadPoolExecutor(10) as pool:
        viewers = []
        for batch in range(30):
            write(job, 1 + 7 * batch, 7)
            if batch % 3 == 0:
                last = LogEntry.objects.latest("pk").pk - 5
                viewers.append((last, pool.submit(lines_after, last)))
        finish(job)
        ids = list(LogEntry.objects.values_list("pk", flat=True))
        for last, told in viewers:
            assert told.result(30) == [pk for pk in ids if pk > last]


def test_open_pages_hold_no_thread_each(server: str) -> None:
    job, token = make_running_job(), make_api_token()
    opened = [stream(server, token, job.run_id) for _number in range(30)]
    for response in opened:
        next(events(response))
    assert server_process(server).num_threads() < 15
    for response in opened:
        response.close()


def test_a_silent_run_is_kept_open_by_a_comment(server: str) -> None:
    run = make_run()
    started = timezone.now()
    told = events(stream(server, make_api_token(), run.pk))
    assert {next(told)["event"], next(told)["event"]} == {"status", "progress"}
    assert next(told) == {"comment": "alive"}
    assert (timezone.now() - started).total_seconds() < 15


def test_a_run_deleted_while_it_is_watched_ends_the_stream(server: str) -> None:
    run = make_run()
    told = events(stream(server, make_api_token(), run.pk))
    next(told)
    next(told)
    run.delete()
    assert [event["event"] for event in told] == ["end"]


def test_without_permission_there_is_no_stream(server: str) -> None:
    run = make_run()
    response = stream(server, "btp_unknown", run.pk)
    assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")


def test_who_may_not_see_runs_gets_no_stream(server: str) -> None:
    response = stream(server, make_api_token(make_user()), make_run().pk)
    assert (response.status_code, response.json()["code"]) == (403, "permission_denied")


def test_what_django_tells_the_server_about_a_stream_stays_there(server: str) -> None:
    run = make_run()
    runs.request_cancel(run=run, user=None, now=timezone.now())
    assert HEADER not in stream(server, make_api_token(), run.pk).headers
