"""Impatient people: what they send twice is done once."""

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from runs_app.models import Run
from runs_app.services import queue
from tests.e2e.conftest import Visit
from tests.factories import make_running_job

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.usefixtures("media")]


def test_a_run_is_reproduced_once_by_a_double_click(page: Page, visit: Visit) -> None:
    job = make_running_job()
    done = queue.Result(model_path="/modelos/run-1", metrics={"f1": 0.91})
    queue.complete_job(job_id=job.pk, attempt=1, worker=job.worker, result=done, now=timezone.now())
    visit(reverse("admin:runs_app_run_ask", args=[job.run_id, "reproduce"]))
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    button = page.locator("#content form[method=post] [type=submit]")
    button.evaluate("button => { button.click(); setTimeout(() => button.click(), 20); }")
    expect(page.locator(".messagelist")).to_be_visible()
    assert sent.count("POST") == 1
    assert Run.objects.filter(reproduced_from=job.run_id).count() == 1
