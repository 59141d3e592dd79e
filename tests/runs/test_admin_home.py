"""The home page: what goes on, what waits and why, what came of it, the first steps, and who sees what of it."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from runs_app.choices import FailureReason, Status
from runs_app.models import Run
from runs_app.services import queue, runs, telemetry
from tests.admin_client import query_count, signed_in, text_of
from tests.factories import make_dataset, make_job, make_run, make_running_job, make_user, make_worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]

HOME, LIVE = reverse("admin:index"), reverse("admin:home_live")


def complete(job: Any, f1: float = 0.9) -> Run:
    result = queue.Result(model_path="/modelos/run-1", metrics={"f1": f1})
    held = {"job_id": job.pk, "attempt": job.attempt, "worker": job.worker}
    return queue.complete_job(**held, result=result, now=timezone.now()).run


def fail(job: Any) -> Run:
    held = {"job_id": job.pk, "attempt": job.attempt, "worker": job.worker}
    reason = FailureReason.NAN_LOSS
    return queue.fail_job(**held, reason=reason, message="nan", now=timezone.now()).run


def see(*permissions: str) -> str:
    return text_of(signed_in(*permissions).get(HOME))


# What goes on


def test_a_running_run_is_shown_with_its_bar_its_end_and_its_worker() -> None:
    job = make_running_job(make_worker("gpu-1")[0], name="Em curso", given={"epochs": 5})
    progress = {"phase": "training", "epoch": 2.4, "step": 600, "total_steps": 1250, "eta_seconds": 1290.0}
    telemetry.record_progress(job=job, progress=progress, now=timezone.now())
    page = signed_in().get(HOME)
    words = text_of(page)
    assert "Em curso gpu-1 48 % Época 3 de 5 · passo 600 de 1250 · faltam 21 min, até " in words
    assert '<progress max="1" value="0.4800" aria-label="Em curso">' in page.content.decode()


def test_the_queue_is_shown_in_its_order_with_the_reason_of_each_wait() -> None:
    make_job(name="Normal")
    make_job(name="Urgente", priority=9)
    words = see()
    assert "1. Urgente 0 s Nenhum worker registrado ainda." in words
    assert "2. Normal" in words


def test_a_long_queue_is_cut_and_counted() -> None:
    for _number in range(10):
        make_run()
    page = signed_in().get(HOME)
    assert len(page.context["waiting"]) == 8
    assert "10 Na fila" in " ".join(f"{value} {name}" for name, value in page.context["tiles"])


def test_workers_are_shown_with_what_each_is_doing_the_connected_ones_first() -> None:
    make_worker("antigo", last_seen_at=timezone.now() - timedelta(minutes=12))
    make_worker("desativado", enabled=False)
    make_running_job(make_worker("gpu-1", last_seen_at=timezone.now())[0], name="Em curso")
    words = see()
    workers = words[words.index("todos os workers") :]
    assert workers.index("gpu-1 Ocupado") < workers.index("antigo Desconectado há 12 min")
    assert "desativado" not in words
    assert "1 de 2" in words


def test_workers_that_are_all_disabled_are_not_called_missing() -> None:
    make_worker("gpu-1", enabled=False)
    words = see()
    assert "Todos os workers estão desativados." in words
    assert "Nenhum worker ainda" not in words


def test_a_worker_without_a_gpu_is_shown_without_dashes() -> None:
    make_worker("cpu-1", last_seen_at=timezone.now())
    words = see()
    assert "cpu-1 Livre Últimas falhas" in words


def test_who_may_nothing_is_told_whom_to_ask() -> None:
    told = "Sua conta ainda não tem permissões."
    client = Client()
    client.force_login(make_user(is_staff=True))
    assert told in text_of(client.get(HOME))
    for permission in ("datasets_app.add_dataset", "runs_app.view_run"):
        assert told not in see(permission)


def test_a_failure_is_told_in_one_sentence() -> None:
    fail(make_running_job(name="Torto"))
    assert "Torto há 0 s A perda deixou de ser um número" in see()


def test_results_are_shown_with_their_f1_and_the_best_of_thirty_days() -> None:
    with time_machine.travel(timezone.now() - timedelta(days=40)):
        complete(make_running_job(name="De outro mês"), f1=0.99)
    complete(make_running_job(name="Melhor"), f1=0.91)
    complete(make_running_job(name="Último"), f1=0.72)
    page = signed_in().get(HOME)
    words = text_of(page)
    assert words.index("Último F1 0,7200") < words.index("Melhor F1 0,9100") < words.index("De outro mês F1 0,9900")
    assert ("Melhor F1 (30 dias)", "0,9100") in page.context["tiles"]


def test_a_result_without_a_figure_is_no_best_and_breaks_nothing() -> None:
    for value in (None, "muito bom"):
        complete(make_running_job(), f1=value)  # type: ignore[arg-type]
    complete(make_running_job(), f1=0.5)
    assert signed_in().get(HOME).status_code == 200


def test_archived_runs_are_no_news() -> None:
    for end in (complete, fail):
        run = end(make_running_job(name="Guardado"))
        runs.archive_run(run=run, user=None, now=timezone.now())
    assert "Guardado" not in see()


def test_a_lease_that_ran_out_is_not_called_running() -> None:
    job = make_running_job()
    client = signed_in()
    with time_machine.travel(job.lease_expires_at):
        client.get(HOME)
    job.refresh_from_db()
    assert job.status == Status.PENDING


def test_an_empty_home_page_says_so() -> None:
    words = see()
    for sentence in ("Nada em execução.", "Nada espera na fila.", "Nenhum treinamento concluído ainda."):
        assert sentence in words


def test_the_blocks_are_served_alone() -> None:
    make_run(name="Esperando")
    html = signed_in().get(LIVE).content.decode()
    assert 'data-block="queue"' in html
    assert "Esperando" in html
    assert "<html" not in html
    assert f'data-refresh="{LIVE}"' in signed_in().get(HOME).content.decode()


def test_a_stranger_gets_no_blocks() -> None:
    assert Client().get(LIVE)["Location"].startswith(reverse("admin:login"))


# The first steps


def steps(client: Client | None = None) -> list[tuple[bool, bool, str]]:
    """Done, next, address of each."""
    checklist = (client or signed_in()).get(HOME).context["checklist"]
    return [(step.is_done, step.is_next, step.url) for step in checklist]


def test_the_first_steps_tick_themselves_off_and_go() -> None:
    connect, upload, new_run = (
        reverse(f"admin:{name}_add") for name in ("workers_app_worker", "datasets_app_dataset", "runs_app_run")
    )
    assert steps() == [(False, True, connect), (False, False, upload), (False, False, new_run), (False, False, "")]
    worker = make_worker()[0]
    assert steps()[0] == (False, True, connect), "registered is not connected"
    worker.last_seen_at = timezone.now()
    worker.save()
    assert steps()[:2] == [(True, False, connect), (False, True, upload)]
    dataset = make_dataset()
    assert steps()[1:3] == [(True, False, upload), (False, True, new_run)]
    make_run(dataset)
    assert steps()[2:] == [(True, False, new_run), (False, True, reverse("admin:runs_app_job_changelist"))]
    job = queue.claim_job(worker=worker, claim_id="0f6f4d0e-5a39-4f0e-8a0e-9d1f6a3f3b11", now=timezone.now())
    assert steps()[3] == (False, True, reverse("admin:runs_app_run_change", args=[job.run_id]))
    run = complete(job)
    assert steps() == []
    runs.archive_run(run=run, user=None, now=timezone.now())
    assert steps() == [], "a model that was made once stays made"


def test_a_run_that_came_to_nothing_still_ticks_its_step() -> None:
    runs.request_cancel(run=make_run(), user=None, now=timezone.now())
    assert [done for done, _next, _url in steps()] == [False, True, True, False]


def test_a_step_offers_no_button_to_those_who_may_not() -> None:
    client = signed_in("workers_app.view_worker", "datasets_app.view_dataset", "datasets_app.add_dataset")
    assert steps(client) == [(False, True, ""), (False, False, reverse("admin:datasets_app_dataset_add"))]


# Who sees what


@pytest.mark.parametrize(
    ("permission", "seen", "hidden"),
    [
        ("runs_app.view_run", ["Em curso", "Torto", "Pronto"], ["Esperando", "gpu-1 Ocupado"]),
        ("runs_app.view_job", ["Esperando"], ["Em curso", "Torto", "Pronto", "gpu-1"]),
        ("workers_app.view_worker", ["gpu-1 Ocupado"], ["Em curso", "Esperando", "Torto", "Pronto"]),
        ("datasets_app.view_dataset", [], ["Em curso", "Esperando", "Torto", "Pronto", "gpu-1"]),
    ],
)
def test_each_block_is_for_those_who_may_see_its_rows(permission: str, seen: list[str], hidden: list[str]) -> None:
    complete(make_running_job(name="Pronto"))
    fail(make_running_job(name="Torto"))
    make_running_job(make_worker("gpu-1", last_seen_at=timezone.now())[0], name="Em curso")
    make_run(name="Esperando")
    words = see(permission)
    assert [name for name in seen if name not in words] == []
    assert [name for name in hidden if name in words] == []


def test_buttons_are_for_those_who_may() -> None:
    complete(make_running_job())
    assert "Novo treinamento" in see("runs_app.view_run", "runs_app.add_run")
    words = see("runs_app.view_run")
    assert "Novo treinamento" not in words
    assert "Enviar planilha" not in words


def test_the_home_page_takes_few_queries_however_much_there_is() -> None:
    permissions = ["runs_app.view_run", "runs_app.view_job", "workers_app.view_worker", "datasets_app.view_dataset"]
    client = signed_in(*permissions)
    assert query_count(client, HOME) <= 15, "nothing there"
    make_worker(last_seen_at=timezone.now())
    for _number in range(2):
        complete(make_running_job())
        fail(make_running_job())
    make_running_job()
    make_run()
    few = query_count(client, HOME)
    for _number in range(4):
        make_worker(last_seen_at=timezone.now())
    for run in list(Run.objects.filter(status=Status.PENDING)):
        runs.request_cancel(run=run, user=None, now=timezone.now())
    for _number in range(4):
        make_running_job()
    for _number in range(4):
        make_run()
    assert query_count(client, HOME) == few <= 15
