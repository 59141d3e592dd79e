"""Workers in the admin: registering, the token shown once, replacing it, letting in and keeping out."""

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.admin.models import LogEntry as AdminLogEntry
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from runs_app.choices import FailureReason
from runs_app.services import queue, telemetry
from tests.admin_client import messages_of, query_count, signed_in, text_of
from tests.factories import after_lease, client_for, make_running_job, make_worker
from workers_app.models import Worker
from workers_app.tokens import token_sha256

pytestmark = pytest.mark.django_db

LIST = reverse("admin:workers_app_worker_changelist")
ADD = reverse("admin:workers_app_worker_add")


def token_in(page: str) -> str:
    found = re.search(r'id="token"[^>]*>(bt[wp]_[\w-]+)<', page)
    assert found is not None
    return found.group(1)


def page_of(worker: Worker) -> str:
    return reverse("admin:workers_app_worker_change", args=[worker.pk])


def test_registering_shows_the_token_and_ready_commands() -> None:
    page = signed_in().post(
        ADD, {"name": "gpu-pge-01", "description": "Sala 3"}, headers={"Host": "treino.pge.example"}
    )
    token = token_in(page.content.decode())
    assert Worker.objects.get(name="gpu-pge-01").token_sha256 == token_sha256(token)
    words = text_of(page)
    assert "Copie o token agora" in words
    assert f"export BERT_WORKER_TOKEN='{token}'" in words
    assert f'$env:BERT_WORKER_TOKEN = "{token}"' in words
    assert "--api-url http://treino.pge.example" in words


def test_the_token_is_shown_only_once() -> None:
    client = signed_in()
    token = token_in(client.post(ADD, {"name": "gpu-pge-01"}).content.decode())
    worker = Worker.objects.get()
    for url in (LIST, page_of(worker), reverse("admin:workers_app_worker_history", args=[worker.pk])):
        assert token not in client.get(url).content.decode()


def test_the_token_is_kept_nowhere() -> None:
    client = signed_in()
    page = client.post(ADD, {"name": "gpu-pge-01"})
    token = token_in(page.content.decode())
    assert "no-store" in page["Cache-Control"]
    assert "Location" not in page
    assert not any(token in row.change_message for row in AdminLogEntry.objects.all())
    assert not any(token in str(session.get_decoded()) for session in Session.objects.all())
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM bert_workers")
        assert not any(token in str(row) for row in cursor.fetchall())


def test_plain_http_is_called_insecure_but_not_on_the_same_machine() -> None:
    client = signed_in()
    elsewhere = text_of(client.post(ADD, {"name": "a"}, headers={"Host": "treino.pge.example"}))
    assert "--allow-http" in elsewhere
    assert "http, sem criptografia" in elsewhere
    assert "--allow-http" not in text_of(client.post(ADD, {"name": "b"}, headers={"Host": "localhost:8000"}))
    assert "--allow-http" not in text_of(client.post(ADD, {"name": "c"}, secure=True))


@pytest.mark.parametrize("name", ["", "gpu-1", "a/b", "x" * 101])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    make_worker("gpu-1")
    page = signed_in().post(ADD, {"name": name})
    assert "Por favor corrija o erro abaixo" in text_of(page)
    assert Worker.objects.count() == 1


def test_replacing_asks_first_and_then_shows_the_new_token() -> None:
    worker, old = make_worker("gpu-1")
    client = signed_in()
    url = reverse("admin:workers_app_worker_token", args=[worker.pk])
    assert "deixa de valer na hora" in text_of(client.get(url))
    worker.refresh_from_db()
    assert worker.token_sha256 == token_sha256(old)
    token = token_in(client.post(url).content.decode())
    worker.refresh_from_db()
    assert worker.token_sha256 == token_sha256(token) != token_sha256(old)


def answer_yes(client: Client, url: str) -> Any:
    """The button of the page that asks."""
    return client.post(url, dict(client.get(url).context["hidden"]), follow=True)


def test_a_worker_is_disabled_and_enabled_on_its_page() -> None:
    worker, _token = make_worker("gpu-1")
    client = signed_in()
    url = reverse("admin:workers_app_worker_switch", args=[worker.pk])
    assert "volta à fila em até 10 min" in text_of(client.get(url))
    assert messages_of(answer_yes(client, url)) == ["Worker gpu-1 desativado."]
    worker.refresh_from_db()
    assert worker.enabled is False
    assert messages_of(answer_yes(client, url)) == ["Worker gpu-1 ativado."]


def test_a_worker_that_is_disabled_twice_stays_disabled() -> None:
    worker, _token = make_worker("gpu-1")
    client = signed_in()
    url = reverse("admin:workers_app_worker_switch", args=[worker.pk])
    asked = dict(client.get(url).context["hidden"])
    for _click in range(2):
        client.post(url, asked)
    worker.refresh_from_db()
    assert worker.enabled is False


def test_an_answer_that_does_not_say_what_is_asked_again() -> None:
    worker, _token = make_worker("gpu-1")
    url = reverse("admin:workers_app_worker_switch", args=[worker.pk])
    assert "volta à fila" in text_of(signed_in().post(url))
    worker.refresh_from_db()
    assert worker.enabled is True


@pytest.mark.parametrize(("action", "column", "value"), [("switch_off", "enabled", False), ("drain", "draining", True)])
def test_an_action_of_the_list_reaches_every_selected_worker(action: str, column: str, value: bool) -> None:
    chosen, other = make_worker()[0], make_worker()[0]
    data = {"action": action, "_selected_action": [chosen.pk], "confirmed": "yes"}
    assert signed_in().post(LIST, data, follow=True).status_code == 200
    chosen.refresh_from_db()
    other.refresh_from_db()
    assert getattr(chosen, column) is value
    assert getattr(other, column) is not value


def test_disabling_from_the_list_asks_first() -> None:
    worker, _token = make_worker("gpu-1")
    page = signed_in().post(LIST, {"action": "switch_off", "_selected_action": [worker.pk]})
    assert "gpu-1" in text_of(page)
    worker.refresh_from_db()
    assert worker.enabled is True


def test_enabling_from_the_list_lets_the_worker_in() -> None:
    worker, _token = make_worker("gpu-1", enabled=False)
    signed_in().post(LIST, {"action": "switch_on", "_selected_action": [worker.pk]})
    worker.refresh_from_db()
    assert worker.enabled is True


def test_saving_the_form_leaves_a_heartbeat_that_came_meanwhile() -> None:
    worker, _token = make_worker("gpu-1")
    seen = timezone.now()
    form = {"description": "Sala 3", "draining": "on"}
    Worker.objects.filter(pk=worker.pk).update(last_seen_at=seen)
    signed_in().post(page_of(worker), form)
    worker.refresh_from_db()
    assert (worker.description, worker.draining, worker.last_seen_at) == ("Sala 3", True, seen)


def test_the_list_says_in_words_how_each_worker_is(media: object) -> None:
    now = timezone.now()
    make_running_job(make_worker("a", last_seen_at=now)[0], name="Recursos")
    make_worker("b", last_seen_at=now)
    make_worker("c", last_seen_at=now - timedelta(minutes=12))
    make_worker("d")
    make_worker("e", enabled=False)
    words = text_of(signed_in().get(LIST))
    for word in ("Ocupado", "Livre", "Desconectado há 12 min", "Nunca conectado", "Desativado", "Recursos"):
        assert word in words


def test_the_page_tells_the_machine_and_what_it_did(media: object) -> None:
    worker, _token = make_worker("gpu-1", last_seen_at=timezone.now(), versions={"torch": "2.13.0"})
    worker.hardware = {"gpus": [{"name": "RTX 4090", "memory_bytes": 24 * 2**30}], "cuda": "13.0"}
    worker.save()
    make_running_job(worker, name="Recursos")
    words = text_of(signed_in().get(page_of(worker)))
    assert "RTX 4090 (24,0 GB)" in words
    assert "2.13.0" in words
    assert re.search(r"Recursos 1 \d\d/\d\d/\d{4} \d\d:\d\d \d+ s Em andamento", words)


def test_the_history_says_how_each_attempt_ended(media: object) -> None:
    worker, _token = make_worker("gpu-1", last_seen_at=timezone.now())
    for number, reason in enumerate((FailureReason.OUT_OF_MEMORY, FailureReason.NAN_LOSS)):
        job = make_running_job(worker, name=f"Recursos {number}")
        queue.fail_job(job_id=job.pk, attempt=1, worker=worker, reason=reason, message="", now=timezone.now())
    lost = make_running_job(worker, name="Agravos")
    queue.requeue_expired(now=after_lease(lost))
    words = text_of(signed_in().get(page_of(worker)))
    assert re.search(r"Recursos 0 1 \S+ \S+ \d+ s Falhou Memória insuficiente", words)
    assert re.search(r"Recursos 1 1 \S+ \S+ \d+ s Falhou A perda", words)
    assert re.search(r"Agravos 1 \S+ \S+ \S+ \S+ Perdid", words)


def test_the_page_says_how_far_the_current_run_is(media: object) -> None:
    worker, _token = make_worker("gpu-1", last_seen_at=timezone.now())
    job = make_running_job(worker, given={"epochs": 5})
    telemetry.record_progress(job=job, progress={"epoch": 2.4, "step": 12, "total_steps": 50}, now=timezone.now())
    assert "Época 3 de 5 · passo 12 de 50" in text_of(signed_in().get(page_of(worker)))


def test_runs_are_named_only_to_those_who_may_see_them(media: object) -> None:
    worker, _token = make_worker("gpu-1", last_seen_at=timezone.now())
    make_running_job(worker, name="Segredo de justiça")
    for url in (LIST, page_of(worker)):
        assert "Segredo" in text_of(signed_in("workers_app.view_worker", "runs_app.view_run").get(url))
        told = text_of(signed_in("workers_app.view_worker").get(url))
        assert "Ocupado" in told
        assert "Segredo" not in told


@pytest.mark.parametrize(("minutes", "shown"), [(0, True), (12, False)])
def test_what_the_gpu_did_before_its_worker_was_lost_is_not_now(minutes: int, shown: bool) -> None:
    seen = timezone.now() - timedelta(minutes=minutes)
    worker, _token = make_worker("gpu-1", last_seen_at=seen, gpu_utilization=87.0)
    for url in (LIST, page_of(worker)):
        assert ("87 %" in text_of(signed_in().get(url))) == shown


# Connecting


def connection_of(page: Any) -> str:
    found = re.search(r'data-refresh="([^"]+)"', page.content.decode())
    assert found is not None
    return found.group(1)


def test_the_page_with_the_token_turns_green_at_the_first_sign_of_life() -> None:
    client = signed_in()
    page = client.post(ADD, {"name": "gpu-nova"})
    assert "Esperando o primeiro sinal de vida de gpu-nova" in text_of(page)
    url = connection_of(page)
    assert "Esperando" in text_of(client.get(url))
    device = client_for(token_in(page.content.decode()))
    facts = {"hostname": "pc-da-sala-3", "gpus": [{"name": "RTX 4090", "memory_bytes": 24 * 2**30}]}
    assert device.post("/bert-training/api/workers/register", facts, format="json").status_code == 200
    shown = text_of(client.get(url))
    assert "gpu-nova está conectado." in shown
    assert "Computador pc-da-sala-3, GPU: RTX 4090 (24,0" in shown


def test_a_new_token_waits_for_a_new_sign_of_life() -> None:
    with time_machine.travel("2026-11-23 12:00:00.500Z", tick=False):
        worker, _token = make_worker("gpu-1", last_seen_at=timezone.now() - timedelta(milliseconds=2))
        client = signed_in()
        page = client.post(reverse("admin:workers_app_worker_token", args=[worker.pk]))
    assert "Esperando" in text_of(page)
    assert "Esperando" in text_of(client.get(connection_of(page)))


def test_a_worker_that_was_disabled_meanwhile_is_not_called_connected() -> None:
    worker, _token = make_worker("gpu-1", last_seen_at=timezone.now(), enabled=False)
    url = reverse("admin:workers_app_worker_connection", args=[worker.pk, 0])
    assert "Esperando" in text_of(signed_in().get(url))


@pytest.mark.parametrize("since", [0, 10**30])
def test_any_moment_can_be_asked_for(since: int) -> None:
    worker, _token = make_worker("gpu-1", last_seen_at=timezone.now())
    assert signed_in().get(reverse("admin:workers_app_worker_connection", args=[worker.pk, since])).status_code == 200


def test_the_connection_is_told_to_those_who_may_see_workers() -> None:
    worker, _token = make_worker("gpu-1")
    url = reverse("admin:workers_app_worker_connection", args=[worker.pk, 0])
    assert signed_in("runs_app.view_run").get(url).status_code == 403
    assert signed_in().get(reverse("admin:workers_app_worker_connection", args=[worker.pk + 1, 0])).status_code == 404
    page = signed_in("workers_app.add_worker").post(ADD, {"name": "gpu-2"})
    assert "data-refresh" not in page.content.decode()


def test_a_worker_that_did_something_cannot_be_deleted(media: object) -> None:
    used, unused = make_worker()[0], make_worker()[0]
    make_running_job(used)
    client = signed_in()
    assert client.post(reverse("admin:workers_app_worker_delete", args=[used.pk]), {"post": "yes"}).status_code == 403
    client.post(reverse("admin:workers_app_worker_delete", args=[unused.pk]), {"post": "yes"})
    assert list(Worker.objects.all()) == [used]


def test_who_may_only_look_changes_nothing() -> None:
    worker, _token = make_worker("gpu-1")
    client = signed_in("workers_app.view_worker")
    page = client.get(page_of(worker))
    assert "Trocar token" not in text_of(page)
    for name in ("token", "switch"):
        assert client.post(reverse(f"admin:workers_app_worker_{name}", args=[worker.pk])).status_code == 403
    assert client.get(ADD).status_code == 403
    assert client.post(page_of(worker), {"description": "x"}).status_code == 403


def test_the_list_takes_the_same_number_of_queries_for_many_workers() -> None:
    client = signed_in()
    make_worker()
    few = query_count(client, LIST)
    for _number in range(8):
        make_worker()
    assert query_count(client, LIST) == few


def test_who_was_never_seen_comes_after_all_who_were() -> None:
    for name, seen in [("never", None), ("now", timezone.now()), ("before", timezone.now() - timedelta(days=1))]:
        make_worker(name, last_seen_at=seen)
    column = 3
    for order, expected in [(f"-{column}", ["now", "before", "never"]), (str(column), ["never", "before", "now"])]:
        page = signed_in().get(reverse("admin:workers_app_worker_changelist"), {"o": order})
        assert [worker.name for worker in page.context["cl"].result_list] == expected


def test_the_history_names_what_was_changed_in_portuguese() -> None:
    worker, _token = make_worker("gpu-1")
    client = signed_in()
    client.post(page_of(worker), {"description": "Sala 3", "draining": "on"})
    history = text_of(client.get(reverse("admin:workers_app_worker_history", args=[worker.pk])))
    assert "Alterado descrição e não aceitar novos treinamentos." in history
