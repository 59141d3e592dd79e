"""The log of a run's page: stretches of it by position, filtered, and the whole as a file."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from runs_app.admin.run_log import PIECE, STRETCH
from runs_app.choices import FailureReason
from runs_app.models import Job, LogEntry, Run
from runs_app.services import queue
from tests.admin_client import query_count, signed_in, text_of
from tests.factories import make_run, make_running_job

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def log_of(run: Run, page: str = "log") -> str:
    return reverse(f"admin:runs_app_run_{page}", args=[run.pk])


def write(
    job: Job, count: int, *, attempt: int = 1, level: str = "INFO", first: int = 1, message: str = "line"
) -> None:
    LogEntry.objects.bulk_create(
        LogEntry(job=job, attempt=attempt, seq=seq, timestamp=AT, level=level, message=f"{message} {attempt}/{seq}")
        for seq in range(first, first + count)
    )


def asked(run: Run, client: Client | None = None, **query: Any) -> dict[str, Any]:
    return (client or signed_in()).get(log_of(run), query).json()


def messages(found: dict[str, Any]) -> list[str]:
    return [line["message"] for line in found["lines"]]


def test_without_a_place_the_last_lines_are_given_and_counted() -> None:
    job = make_running_job()
    write(job, STRETCH + 50)
    found = asked(job.run)
    assert (found["total"], found["start"], len(found["lines"])) == (STRETCH + 50, 50, STRETCH)
    assert messages(found)[-1] == f"line 1/{STRETCH + 50}"
    assert found["last_id"] == found["lines"][-1]["id"]


def test_a_place_gives_the_lines_from_there_on() -> None:
    job = make_running_job()
    write(job, 500)
    found = asked(job.run, start=200)
    assert (found["start"], messages(found)[0], len(found["lines"])) == (200, "line 1/201", STRETCH)
    assert found["lines"][0].keys() == {"id", "timestamp", "level", "message", "attempt"}
    assert asked(job.run, start=500)["lines"] == []


def test_lines_stand_by_attempt_and_number_even_if_they_came_late() -> None:
    job = make_running_job()
    write(job, 2, attempt=2)
    write(job, 2, attempt=1)
    assert messages(asked(job.run)) == ["line 1/1", "line 1/2", "line 2/1", "line 2/2"]


def test_level_and_words_narrow_the_log() -> None:
    job = make_running_job()
    write(job, 3)
    write(job, 2, first=4, level="WARNING", message="Pouca memória")
    write(job, 1, first=6, level="ERROR", message="sem memória")
    assert asked(job.run, level="WARNING")["total"] == 3
    assert messages(asked(job.run, level="ERROR")) == ["sem memória 1/6"]
    assert asked(job.run, search="MEM")["total"] == 3
    assert asked(job.run, search="%")["total"] == 0
    assert messages(asked(job.run, level="WARNING", search="pouca", start=1)) == ["Pouca memória 1/5"]


def test_lines_of_other_runs_are_not_given() -> None:
    job, other = make_running_job(), make_running_job()
    write(other, 3)
    write(job, 1)
    assert asked(job.run)["total"] == 1


@pytest.mark.parametrize(
    "query", [{"start": "-1"}, {"start": "x"}, {"start": "9" * 30}, {"level": "x"}, {"search": "\0"}]
)
def test_a_question_without_sense_is_refused(query: dict[str, str]) -> None:
    run = make_run()
    answer = signed_in().get(log_of(run), query)
    assert answer.status_code == 400
    assert answer.json()["errors"].keys() == query.keys()


def test_a_long_log_takes_as_many_queries() -> None:
    job, client = make_running_job(), signed_in()
    write(job, 1)
    few = query_count(client, log_of(job.run))
    write(job, 1000, first=2)
    assert query_count(client, log_of(job.run)) == few <= 5
    assert query_count(client, log_of(job.run) + "?start=400") <= few


def test_the_file_holds_every_line() -> None:
    job = make_running_job()
    write(job, PIECE + 3)
    write(job, 1, attempt=2, level="ERROR", message="ação")
    answer = signed_in().get(log_of(job.run, "log_file"))
    lines = b"".join(answer.streaming_content).decode().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == PIECE + 4
    assert lines[0] == "2026-03-02T12:00:00+00:00 INFO line 1/1"
    assert lines[-1] == "2026-03-02T12:00:00+00:00 ERROR ação 2/1"
    assert answer["Content-Disposition"] == f'attachment; filename="run-{job.run_id}.log"'


@pytest.mark.parametrize("page", ["log", "log_file"])
def test_the_log_is_for_those_who_may_see_the_run(page: str) -> None:
    run = make_run()
    assert signed_in("runs_app.view_run").get(log_of(run, page)).status_code == 200
    assert signed_in("datasets_app.view_dataset").get(log_of(run, page)).status_code == 403
    assert signed_in().get(log_of(Run(pk=10**9), page)).status_code == 404
    assert Client().get(log_of(run, page)).status_code == 302


def test_the_page_begins_with_the_last_lines_and_says_how_many_there_are() -> None:
    job = make_running_job()
    write(job, 250)
    html = signed_in().get(reverse("admin:runs_app_run_change", args=[job.run_id])).content.decode()
    assert 'data-total="250"' in html
    assert html.count('class="line level-info"') == 100
    assert "line 1/250" in html
    assert "line 1/150<" not in html


def test_a_failed_run_shows_the_end_of_its_log_beside_the_cause() -> None:
    job = make_running_job()
    write(job, 30)
    held = {"job_id": job.pk, "attempt": 1, "worker": job.worker, "now": AT}
    queue.fail_job(**held, reason=FailureReason.NAN_LOSS, message="", retryable=False)
    page = signed_in().get(reverse("admin:runs_app_run_live", args=[job.run_id]))
    words = text_of(page)
    assert "A perda deixou de ser um número" in words
    assert "INFO line 1/11 " in words
    assert "INFO line 1/30" in words
    assert "line 1/10 " not in words
