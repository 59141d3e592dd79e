"""The page of a run, watched in a browser while a worker reports."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from django.urls import reverse
from django.utils import timezone
from django.utils.timezone import localtime
from playwright.sync_api import Page, Route, expect

from runs_app.choices import FailureReason
from runs_app.models import GpuSample, Job, LogEntry
from runs_app.services import queue, runs, telemetry
from tests.e2e.conftest import PHONE, WIDE, Barriers, Visit
from tests.factories import make_run, make_running_job, make_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.usefixtures("media")]

Tell = Callable[..., None]
AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
SOON_MS = 10_000  # two busy cores; how soon it really is, a benchmark says


def page_of(job: Job) -> str:
    return reverse("admin:runs_app_run_change", args=[job.run_id])


@pytest.fixture
def job_and_token() -> tuple[Job, str]:
    worker, token = make_worker("gpu-1")
    return make_running_job(worker, given={"epochs": 3}), token


@pytest.fixture
def job(job_and_token: tuple[Job, str]) -> Job:
    return job_and_token[0]


@pytest.fixture
def tell(server: str, job_and_token: tuple[Job, str]) -> Tell:
    """What the worker posts, over HTTP."""
    job, token = job_and_token

    def post(path: str, **body: Any) -> None:
        url = f"{server}/bert-training/api/{path.format(job=job.pk)}"
        body = {"job": job.pk, "attempt": 1, **body} if "{job}" not in path else {"attempt": 1, **body}
        answer = requests.post(url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=10)
        assert answer.status_code == 200, answer.text

    return post


def epoch(number: int, train: float, loss: float, f1: float) -> list[dict[str, Any]]:
    at = {"epoch": float(number), "step": number * 10}
    return [
        {**at, "split": "train", "values": {"loss": train}},
        {**at, "split": "validation", "values": {"loss": loss, "f1": f1}},
    ]


def line(seq: int, message: str, level: str = "INFO") -> dict[str, Any]:
    return {"seq": seq, "timestamp": AT.isoformat(), "level": level, "message": message}


def write(job: Job, count: int, first: int = 1) -> None:
    LogEntry.objects.bulk_create(
        (
            LogEntry(job=job, attempt=1, seq=seq, timestamp=AT, level=level_of(seq), message=f"line {seq}")
            for seq in range(first, first + count)
        ),
        batch_size=5000,
    )


def level_of(seq: int) -> str:
    return "ERROR" if seq % 1000 == 0 else "INFO"


def finish(job: Job) -> None:
    """Completed, with all that a result may hold."""
    labels = ["Direito administrativo", "Responsabilidade extracontratual"]
    per_class = [{"label": name, "precision": 0.9, "recall": 0.8, "f1": 0.85, "support": 12} for name in labels]
    result = queue.Result(
        model_path="/modelos/run-1",
        metrics={"f1": 0.91, "loss": 0.2},
        best_epoch=1.0,
        report={"per_class": per_class, "confusion_matrix": {"labels": labels, "counts": [[9, 3], [1, 11]]}},
        environment={"torch": "2.13.0"},
    )
    queue.complete_job(job_id=job.pk, attempt=1, worker=job.worker, result=result, now=timezone.now())


def test_what_a_worker_tells_appears_without_a_reload(page: Page, visit: Visit, job: Job, tell: Tell) -> None:
    visit(page_of(job))
    page.evaluate("window.stillTheSamePage = true")
    expect(page.locator("#log-state")).to_have_text("ao vivo", timeout=SOON_MS)

    tell("jobs/{job}/progress", epoch=0.4, step=25, total_steps=100, phase="training", eta_seconds=90)
    expect(page.locator("#progress .sentence")).to_contain_text("passo 25 de 100", timeout=SOON_MS)
    expect(page).to_have_title(re.compile("^25 % · "))
    tell("logs/batch", lines=[line(1, "primeira linha")])
    expect(page.locator("#log .line").last).to_contain_text("primeira linha", timeout=SOON_MS)
    tell("metrics", metrics=epoch(1, 0.9, 0.8, 0.5))
    expect(page.locator("#curves-summary")).to_contain_text("Época 1 de 3", timeout=SOON_MS)
    expect(page.locator('[data-chart="loss"] canvas')).to_be_visible()
    tell("metrics", metrics=epoch(2, 0.7, 0.6, 0.7))
    expect(page.locator("#curves-summary")).to_contain_text("A melhor época por F1 é a 2", timeout=SOON_MS)
    expect(page.get_by_role("img", name="Época 2 de 3")).to_have_count(2)
    tell("jobs/{job}/complete", metrics={"f1": 0.77}, best_epoch=2, model_path="/modelos/run-1", report={})
    expect(page.locator(".head .badge")).to_have_text("Concluído", timeout=SOON_MS)
    expect(page).to_have_title(re.compile("^Concluído · "))
    expect(page.locator("#use-predict")).to_contain_text("/modelos/run-1")

    assert page.evaluate("window.stillTheSamePage")


def test_what_somebody_else_asks_of_the_run_appears(page: Page, visit: Visit, job: Job) -> None:
    visit(page_of(job))
    expect(page.locator("#log-state")).to_have_text("ao vivo", timeout=SOON_MS)
    page.wait_for_timeout(2500)  # what the page asks for at its beginning is over
    runs.request_cancel(run=job.run, user=None, now=timezone.now())
    expect(page.get_by_text("Cancelamento solicitado")).to_be_visible(timeout=SOON_MS)
    expect(page.get_by_role("link", name="Cancelar")).to_have_count(0)


def test_a_run_of_days_is_told_in_days(page: Page, visit: Visit, job: Job, tell: Tell) -> None:
    visit(page_of(job))
    told = {"epoch": 0.4, "step": 25, "total_steps": 1000, "phase": "training"}
    tell("jobs/{job}/progress", **told, eta_seconds=90)
    expect(page.locator("#progress .sentence")).to_contain_text("faltam 1 min", timeout=SOON_MS)
    page.wait_for_timeout(2500)  # what the page asks for at its beginning is over
    tell("jobs/{job}/progress", **told, eta_seconds=27 * 3600)
    expect(page.locator("#progress .sentence")).to_contain_text("faltam 1 d 3 h", timeout=SOON_MS)


def test_whoever_is_not_signed_in_any_more_is_led_to_the_login(page: Page, visit: Visit, job: Job, tell: Tell) -> None:
    visit(page_of(job))
    expect(page.locator("#log-state")).to_have_text("ao vivo", timeout=SOON_MS)
    page.context.clear_cookies()
    tell("metrics", metrics=epoch(1, 0.9, 0.8, 0.5))
    page.wait_for_url(f"**/admin/login/?next={page_of(job)}")


def test_a_server_that_is_away_is_told(page: Page, visit: Visit, complaints: list[str]) -> None:
    visit(page_of(make_run().job))
    stale = page.get_by_text("O servidor não responde no momento")
    expect(stale).to_be_hidden()
    page.route("**/live/", lambda route: route.abort())
    show(page, hidden=False)
    expect(stale).to_be_visible(timeout=SOON_MS)
    page.unroute("**/live/")
    show(page, hidden=False)
    expect(stale).to_be_hidden(timeout=SOON_MS)
    complaints.clear()  # the browser's word on the request that failed


def test_times_are_the_server_s_wherever_the_browser_is(page: Page, visit: Visit, job: Job, tell: Tell) -> None:
    page.context.new_cdp_session(page).send("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Tokyo"})
    tell("logs/batch", lines=[line(1, "antes")])
    visit(page_of(job))
    expect(page.locator("#log-state")).to_have_text("ao vivo", timeout=SOON_MS)
    tell("logs/batch", lines=[line(2, "depois")])
    expect(page.locator("#log .line time")).to_have_text([f"{localtime(AT):%H:%M:%S}"] * 2, timeout=SOON_MS)
    page.wait_for_timeout(2500)  # what the page asks for at its beginning is over
    tell("jobs/{job}/progress", epoch=0.4, step=25, total_steps=100, phase="training", eta_seconds=7200)
    ends = [f"até {localtime(timezone.now() + timedelta(hours=2, minutes=n)):%H:%M}" for n in (-1, 0)]
    expect(page.locator("#progress .sentence")).to_contain_text(re.compile("|".join(ends)), timeout=SOON_MS)


def test_a_reload_loses_nothing(page: Page, visit: Visit, job: Job, tell: Tell) -> None:
    tell("logs/batch", lines=[line(number, f"linha {number}") for number in range(1, 4)])
    tell("metrics", metrics=epoch(1, 0.9, 0.8, 0.5))
    visit(page_of(job))
    page.reload()
    tell("logs/batch", lines=[line(4, "linha 4")])
    expect(page.locator("#log .line .text")).to_have_text([f"linha {n}" for n in range(1, 5)], timeout=SOON_MS)
    expect(page.locator('[data-chart="judged"] canvas')).to_be_visible()


def test_the_numbers_stay_open_in_their_table(page: Page, visit: Visit, job: Job, tell: Tell) -> None:
    tell("metrics", metrics=epoch(1, 0.9, 0.8, 0.5))
    visit(page_of(job))
    page.get_by_text("Ver os números em tabela").click()
    rows = page.locator("#curves-table tbody tr")
    expect(rows).to_have_count(1)
    tell("metrics", metrics=epoch(2, 0.7, 0.6, 0.7))
    expect(rows).to_have_count(2, timeout=SOON_MS)
    expect(rows.last).to_be_visible()


def test_a_hidden_tab_asks_nothing_and_catches_up(page: Page, visit: Visit, job: Job, tell: Tell) -> None:
    visit(page_of(job))
    expect(page.locator("#log-state")).to_have_text("ao vivo", timeout=SOON_MS)
    show(page, hidden=True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    tell("logs/batch", lines=[line(1, "enquanto ninguém via")])
    page.wait_for_timeout(2500)
    assert asked == []
    show(page, hidden=False)
    expect(page.locator("#log .line")).to_contain_text("enquanto ninguém via", timeout=SOON_MS)


def show(page: Page, *, hidden: bool) -> None:
    """As when another tab is chosen: a headless browser has no other."""
    page.evaluate(
        """(hidden) => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_where_streams_do_not_get_through_the_page_asks(page: Page, visit: Visit, job: Job, tell: Tell) -> None:
    def cut(route: Route) -> None:
        """A proxy that swallows streams: an answer, but never an event."""
        route.fulfill(status=200, content_type="text/event-stream", body="")

    page.route("**/logs?after=*", cut)
    visit(page_of(job))
    expect(page.locator("#log-state")).to_have_text("a cada poucos segundos", timeout=3 * SOON_MS)
    tell("logs/batch", lines=[line(1, "por perguntas")])
    tell("metrics", metrics=epoch(1, 0.9, 0.8, 0.5))
    expect(page.locator("#log .line")).to_contain_text("por perguntas", timeout=SOON_MS)
    expect(page.locator('[data-chart="loss"] canvas')).to_be_visible(timeout=SOON_MS)


def test_a_long_log_is_shown_a_window_at_a_time(page: Page, visit: Visit, job: Job) -> None:
    write(job, 20_000)
    visit(page_of(job))
    log, rows = page.locator("#log"), page.locator("#log .line")
    expect(rows.last).to_contain_text("line 20000")
    expect(page.locator("#log-count")).to_have_text("Linhas: 20.000")
    log.evaluate("(box) => { box.scrollTop = 10000 * box.querySelector('.line').getBoundingClientRect().height; }")
    expect(rows.filter(has_text="line 10001")).to_be_visible()
    assert rows.count() < 100
    expect(page.locator("#log-follow")).not_to_be_checked()
    expect(rows.filter(has_text="…")).to_have_count(0)

    write(job, 1, first=20_001)
    expect(page.locator("#log-count")).to_have_text("Linhas: 20.001", timeout=SOON_MS)
    expect(rows.filter(has_text="line 10001")).to_be_visible()
    page.get_by_label("Acompanhar").check()
    expect(rows.last).to_contain_text("line 20001")


def test_lines_that_come_late_stand_where_they_belong(page: Page, visit: Visit, job: Job) -> None:
    LogEntry.objects.create(job=job, attempt=2, seq=1, timestamp=AT, level="INFO", message="second attempt")
    visit(page_of(job))
    expect(page.locator("#log-state")).to_have_text("ao vivo", timeout=SOON_MS)
    write(job, 3)
    rows = page.locator("#log .line .text")
    expect(rows).to_have_text(["line 1", "line 2", "line 3", "second attempt"], timeout=SOON_MS)
    expect(page.locator("#log-count")).to_have_text("Linhas: 4")


def test_a_line_of_several_is_folded_and_shown_whole(page: Page, visit: Visit, job: Job, tell: Tell) -> None:
    message = "Traceback (most recent call last):\n  File\nValueError: x"
    tell("logs/batch", lines=[line(1, "antes"), line(2, message, "ERROR"), line(3, "depois")])
    visit(page_of(job))
    expect(page.locator("#log .line .text")).to_have_text(["antes", "Traceback (most recent call last): ↵ …", "depois"])
    page.get_by_role("button", name="Traceback").press("Enter")
    whole = page.get_by_label("A linha inteira")
    expect(whole).to_be_focused()
    assert whole.inner_text() == message


def test_the_log_is_narrowed_by_level_and_words_and_downloaded(page: Page, visit: Visit, job: Job) -> None:
    write(job, 5000)
    visit(page_of(job))
    page.get_by_label("Nível").select_option("ERROR")
    rows = page.locator("#log .line .text")
    expect(rows).to_have_text([f"line {n}" for n in range(1000, 6000, 1000)])
    page.get_by_label("Buscar").fill("LINE 3")
    expect(rows).to_have_text(["line 3000"])
    expect(page.locator("#log-count")).to_have_text("Linhas encontradas: 1")
    page.get_by_label("Buscar").fill("nada disso")
    expect(page.get_by_text("Nenhuma linha corresponde.")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Baixar").click()
    text = download.value.path().read_text(encoding="utf-8")
    assert text.count("\n") == 5000
    assert text.startswith("2026-03-02T12:00:00+00:00 INFO line 1\n")


def test_the_matrix_shows_counts_or_shares(page: Page, visit: Visit, job: Job) -> None:
    finish(job)
    visit(page_of(job))
    cell = page.locator(".matrix tbody td").first
    assert cell.inner_text() == "9"
    page.get_by_label("percentual da linha").check()
    assert cell.inner_text() == "75 %"


def test_nothing_is_wider_than_a_phone(page: Page, visit: Visit) -> None:
    page.set_viewport_size(PHONE)
    visit(page_of(job_in("completed")))
    expect(page.locator('[data-chart="gpu"] canvas')).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


@pytest.mark.parametrize("state", ["waiting", "running", "completed", "failed"])
def test_the_page_has_no_barrier(state: str, page: Page, visit: Visit, barriers: Barriers) -> None:
    job = job_in(state)
    visit(page_of(job))
    if state != "waiting":
        page.get_by_text("Ver os números em tabela").click()
        expect(page.locator('[data-chart="gpu"] canvas')).to_be_visible()
        page.get_by_text("Ver a GPU em tabela").click()
        expect(page.get_by_role("row", name="80 % 8,0 GB")).to_have_count(5)
    for size in (WIDE, PHONE):
        assert (barriers("light", size), barriers("dark", size)) == ([], [])


def job_in(state: str) -> Job:
    if state == "waiting":
        return make_run().job
    job = make_running_job()
    report(job)
    held = {"job_id": job.pk, "attempt": 1, "worker": job.worker, "now": timezone.now()}
    if state == "completed":
        finish(job)
    if state == "failed":
        reason = FailureReason.OUT_OF_MEMORY
        queue.fail_job(**held, reason=reason, message="CUDA", traceback="Traceback", retryable=False)
    return job


def report(job: Job) -> None:
    """A little of all that a worker tells while it trains."""
    telemetry.record_metrics(job=job, points=epoch(1, 0.9, 0.8, 0.5))
    samples = ({"at": AT + timedelta(seconds=30 * n), "utilization": 80.0, "memory_bytes": 2**33} for n in range(5))
    GpuSample.objects.bulk_create(GpuSample(job=job, **sample) for sample in samples)
    lines = [line(1, "começou"), line(2, "pouca memória", "WARNING"), line(3, "parou", "ERROR")]
    telemetry.record_logs(attempt=job.attempts.get(), lines=lines)
