"""The queue and the catalogue of base models in the admin."""

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from runs_app.choices import Status
from runs_app.models import BUILTIN_TINY_BERT, BaseModel
from runs_app.services import runs
from tests.admin_client import messages_of, query_count, signed_in, text_of
from tests.factories import make_job, make_run, make_running_job, make_worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]

QUEUE = reverse("admin:runs_app_job_changelist")
MODELS = reverse("admin:runs_app_basemodel_changelist")


def test_the_queue_is_in_the_order_in_which_runs_are_taken() -> None:
    running = make_running_job(name="Em curso")
    first, last = make_job(name="Normal"), make_job(name="Urgente", priority=9)
    parked = make_run(name="Parado")
    runs.request_pause(run=parked, user=None, now=timezone.now())
    jobs = signed_in().get(QUEUE).context["cl"].result_list
    assert [job.run.name for job in jobs] == ["Em curso", "Urgente", "Normal", "Parado"]
    assert [job.place for job in jobs] == [None, 1, 2, None]
    assert {running.pk, first.pk, last.pk, parked.job.pk} == {job.pk for job in jobs}


def test_a_search_does_not_change_the_place() -> None:
    make_job(name="Primeiro")
    make_job(name="Segundo")
    (job,) = signed_in().get(QUEUE, {"q": "Segundo"}).context["cl"].result_list
    assert job.place == 2


def test_each_wait_has_its_reason() -> None:
    make_run()
    assert "Nenhum worker registrado ainda." in text_of(signed_in().get(QUEUE))


def test_workers_that_are_disabled_are_not_called_missing() -> None:
    make_run()
    make_worker(enabled=False)
    assert "Todos os workers estão desativados." in text_of(signed_in().get(QUEUE))


def test_a_worker_that_takes_no_new_run_is_not_called_busy() -> None:
    make_run()
    make_worker(last_seen_at=timezone.now(), draining=True)
    assert "Nenhum worker conectado aceita novos treinamentos." in text_of(signed_in().get(QUEUE))
    make_worker(last_seen_at=timezone.now())
    assert "Há um worker livre" in text_of(signed_in().get(QUEUE))


def test_what_is_over_is_not_in_the_queue() -> None:
    run = make_run(name="Acabou")
    runs.request_cancel(run=run, user=None, now=timezone.now())
    words = text_of(signed_in().get(QUEUE))
    assert "Acabou" not in words
    assert "A fila está vazia. Novo treinamento" in words


def test_reading_the_queue_gives_up_a_lease_that_ran_out() -> None:
    job = make_running_job()
    client = signed_in()
    with time_machine.travel(job.lease_expires_at):
        client.get(QUEUE)
    job.refresh_from_db()
    assert job.status == Status.PENDING


@pytest.mark.parametrize("status", ["running", "pending", "paused"])
def test_the_queue_is_filtered_by_status(status: str) -> None:
    make_running_job()
    make_run()
    runs.request_pause(run=make_run(), user=None, now=timezone.now())
    jobs = signed_in().get(QUEUE, {"status": status}).context["cl"].result_list
    assert [job.status for job in jobs] == [status]


def test_a_job_has_no_form_and_leads_to_its_run() -> None:
    job = make_job()
    client = signed_in()
    page = client.get(reverse("admin:runs_app_job_change", args=[job.pk]))
    assert page["Location"] == reverse("admin:runs_app_run_change", args=[job.run_id])
    assert client.get(reverse("admin:runs_app_job_add")).status_code == 403
    assert client.post(reverse("admin:runs_app_job_delete", args=[job.pk]), {"post": "yes"}).status_code == 403


def test_a_waiting_run_is_put_first_and_a_running_one_is_refused() -> None:
    running, _first, last = make_running_job(name="Em curso"), make_job(priority=2), make_job(name="Urgente")
    client = signed_in()
    data = {"action": "move_selected", "_selected_action": [running.pk, last.pk]}
    assert "antes de todos os outros que esperam" in text_of(client.post(QUEUE, data))
    said = messages_of(client.post(QUEUE, {**data, "confirmed": "yes"}, follow=True))
    assert said == [
        "“Urgente” agora é o primeiro da fila, com prioridade 3.",
        "“Em curso”: Só um treinamento que espera tem lugar na fila.",
    ]


def test_who_may_not_change_runs_does_not_change_the_order() -> None:
    make_job()
    assert signed_in("runs_app.view_job").get(QUEUE).context["action_form"] is None


@pytest.mark.parametrize("number", ["0", "²", "x", "9" * 30])
def test_a_number_that_is_no_jobs_leads_nowhere(number: str) -> None:
    assert signed_in().get(reverse("admin:runs_app_job_change", args=[number])).status_code == 404


def test_who_may_not_see_the_queue_does_not_learn_which_jobs_there_are() -> None:
    client = signed_in("datasets_app.view_dataset")
    for number in (make_job().pk, 10**9):
        assert client.get(reverse("admin:runs_app_job_change", args=[number])).status_code == 403


def test_the_queue_takes_the_same_number_of_queries_for_many_jobs() -> None:
    client = signed_in()
    make_run()
    few = query_count(client, QUEUE)
    for _number in range(8):
        make_run()
    assert query_count(client, QUEUE) == few


def test_the_catalogue_counts_runs_and_can_be_edited() -> None:
    make_run()
    entry = BaseModel.objects.get(model_id=BUILTIN_TINY_BERT)
    client = signed_in()
    assert client.get(MODELS).context["cl"].queryset.get(pk=entry.pk).run_count == 1
    form = {"model_id": "changed/id", "label": "Pequeno", "max_length": "512", "enabled": "on"}
    client.post(reverse("admin:runs_app_basemodel_change", args=[entry.pk]), form)
    entry.refresh_from_db()
    assert (entry.label, entry.model_id) == ("Pequeno", BUILTIN_TINY_BERT)


def test_the_use_of_a_base_model_is_told_in_the_reader_s_language() -> None:
    client = signed_in()
    words, english = text_of(client.get(MODELS)), text_of(client.get(MODELS, headers={"Accept-Language": "en"}))
    assert "Textos em várias línguas." in words
    assert "Texts in several languages." not in words
    assert "Texts in several languages." in english


def test_a_base_model_is_added_and_a_wrong_id_is_refused() -> None:
    client, url = signed_in(), reverse("admin:runs_app_basemodel_add")
    form = {"label": "Meu", "max_length": "512", "enabled": "on"}
    assert "Informe um id de modelo" in text_of(client.post(url, {**form, "model_id": "../etc"}))
    client.post(url, {**form, "model_id": "pge/bert-juridico"})
    assert BaseModel.objects.filter(model_id="pge/bert-juridico", enabled=True).exists()


@pytest.mark.parametrize("size", ["parameter_count", "size_bytes", "max_length"])
def test_a_base_model_of_no_size_is_refused(size: str) -> None:
    form = {"model_id": "pge/bert-juridico", "max_length": "512", size: "0"}
    page = signed_in().post(reverse("admin:runs_app_basemodel_add"), form)
    assert list(page.context["adminform"].form.errors) == [size]


def test_the_built_in_model_cannot_be_deleted() -> None:
    entry = BaseModel.objects.get(model_id=BUILTIN_TINY_BERT)
    client = signed_in()
    assert client.post(reverse("admin:runs_app_basemodel_delete", args=[entry.pk]), {"post": "yes"}).status_code == 403
    client.post(MODELS, {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"})
    assert BaseModel.objects.filter(pk=entry.pk).exists()


def test_the_catalogue_takes_the_same_number_of_queries_for_many_models() -> None:
    client = signed_in()
    few = query_count(client, MODELS)
    for number in range(6):
        BaseModel.objects.create(model_id=f"pge/model-{number}")
    assert query_count(client, MODELS) == few


@pytest.mark.parametrize("model", ["job", "trainedmodel"])
@pytest.mark.parametrize("key", ["9" * 30, "²", "x"])
def test_an_address_that_is_no_key_is_not_found(admin_client: Client, model: str, key: str) -> None:
    assert admin_client.get(f"/admin/runs_app/{model}/{key}/change/").status_code == 404
