"""Workers in the admin: registering, the token shown once, replacing it, letting in and keeping out."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry as AdminLogEntry
from django.contrib.sessions.models import Session
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from tests.admin_client import messages_of, query_count, signed_in, text_of
from tests.factories import make_running_job, make_worker
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


def test_a_worker_is_disabled_and_enabled_on_its_page() -> None:
    worker, _token = make_worker("gpu-1")
    client = signed_in()
    url = reverse("admin:workers_app_worker_switch", args=[worker.pk])
    assert "volta à fila" in text_of(client.get(url))
    assert messages_of(client.post(url, follow=True)) == ["Worker gpu-1 desativado."]
    worker.refresh_from_db()
    assert worker.enabled is False
    assert messages_of(client.post(url, follow=True)) == ["Worker gpu-1 ativado."]


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
    assert "tentativa 1" in words
    assert "em andamento" in words


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
