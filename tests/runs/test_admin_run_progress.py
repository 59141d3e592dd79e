"""What a run's page promises while it goes on: epoch, remaining time, and nothing of a worker that is away."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.urls import reverse
from django.utils import timezone

from runs_app.services import telemetry
from tests.admin_client import signed_in, text_of
from tests.factories import after_lease, make_running_job, make_worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]


def words_of_a_run(*, seen_ago_s: int = 0, enabled: bool = True) -> str:
    """The page of a run of five epochs at noon, whose worker was last seen, and told its progress, so long ago."""
    with time_machine.travel("2026-11-23 16:00Z", tick=False):
        now = timezone.now()
        seen_at = now - timedelta(seconds=seen_ago_s)
        worker, _token = make_worker("gpu-1", last_seen_at=seen_at, enabled=enabled)
        job = make_running_job(worker, given={"epochs": 5})
        told: dict[str, Any] = {"phase": "evaluating", "epoch": 2.0, "step": 500, "total_steps": 1250}
        telemetry.record_progress(job=job, progress={**told, "eta_seconds": 1290.0}, now=seen_at)
        return text_of(signed_in().get(reverse("admin:runs_app_run_change", args=[job.run_id])))


def test_an_epoch_that_is_being_evaluated_is_not_called_the_next() -> None:
    assert "Época 2 de 5 · passo 500 de 1250 · faltam 21 min, até 12:21 Avaliando" in words_of_a_run()


def test_the_remaining_time_counts_from_when_it_was_told() -> None:
    assert "faltam 20 min, até 12:20" in words_of_a_run(seen_ago_s=61)


def test_of_a_silent_worker_no_end_is_promised() -> None:
    words = words_of_a_run(seen_ago_s=180)
    assert "Sem notícia de gpu-1 há 3 min; o treinamento fica com ele até 12:10." in words
    assert "faltam" not in words
    assert "Avaliando" not in words


def test_of_a_disabled_worker_no_end_is_promised() -> None:
    words = words_of_a_run(enabled=False)
    assert "O worker gpu-1 está desativado; o treinamento fica com ele até 12:10." in words
    assert "faltam" not in words


def test_an_open_page_finds_out_that_its_worker_s_time_is_over() -> None:
    job = make_running_job()
    with time_machine.travel(after_lease(job), tick=False):
        page = signed_in().get(reverse("admin:runs_app_run_live", args=[job.run_id]))
    assert "Na fila" in text_of(page)
