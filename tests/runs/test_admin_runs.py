"""Runs in the admin: the list, a new run, the live page, what may be asked of one."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from runs_app.admin.run_actions import BY_NAME
from runs_app.choices import FailureReason, ReleaseReason, Status
from runs_app.models import BUILTIN_TINY_BERT, BaseModel, EpochMetric, Run
from runs_app.services import queue, runs, telemetry
from tests.admin_client import messages_of, query_count, signed_in, text_of
from tests.factories import claim, make_dataset, make_run, make_running_job, make_worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]

LIST = reverse("admin:runs_app_run_changelist")
ADD = reverse("admin:runs_app_run_add")


def page_of(run: Run) -> str:
    return reverse("admin:runs_app_run_change", args=[run.pk])


def ask(run: Run, name: str) -> str:
    return reverse("admin:runs_app_run_ask", args=[run.pk, name])


def filled_in(client: Client, **changes: Any) -> dict[str, Any]:
    """The form as it is shown, with `changes`."""
    form = client.get(ADD).context["adminform"].form
    values = {name: form[name].initial for name in form.fields}
    data = {name: value for name, value in values.items() if value is not None and value is not False}
    return {**data, "preset": "custom", "base_model": BUILTIN_TINY_BERT, **changes}


def complete(job: Any, **values: Any) -> Run:
    result = queue.Result(model_path="/modelos/run-1", **values)
    job = queue.complete_job(job_id=job.pk, attempt=job.attempt, worker=job.worker, result=result, now=timezone.now())
    return job.run


# A new run


def test_a_run_is_queued_and_its_page_opens() -> None:
    client, dataset = signed_in(), make_dataset()
    page = client.post(ADD, filled_in(client, dataset=dataset.pk, name="Primeiro", notes="teste"), follow=True)
    run = Run.objects.get()
    assert (run.name, run.notes, run.status, run.seed) == ("Primeiro", "teste", Status.PENDING, 42)
    assert run.created_by is not None
    assert page.redirect_chain == [(page_of(run), 302)]
    assert messages_of(page) == ["“Primeiro” está na fila. Predefinição: Recomendada."]


def test_the_form_begins_with_the_defaults_and_the_recommended_model() -> None:
    page = signed_in().get(ADD)
    form = page.context["adminform"].form
    assert form["learning_rate"].initial == "5e-5"
    assert form["train_split"].initial == "0,8"
    assert form["epochs"].initial == "10"
    assert form.initial["base_model"] == "neuralmind/bert-base-portuguese-cased"


def test_a_dataset_may_be_chosen_beforehand() -> None:
    dataset = make_dataset(name="Escolhido")
    make_dataset(name="Outro")
    html = signed_in().get(ADD, {"dataset": dataset.pk}).content.decode()
    assert f'<option value="{dataset.pk}" selected>Escolhido' in html


def test_numbers_are_read_as_people_write_them() -> None:
    client = signed_in()
    changes = {"learning_rate": "3e-5", "train_split": "0,7", "epochs": "4", "gradient_checkpointing": "on"}
    client.post(ADD, filled_in(client, dataset=make_dataset().pk, **changes))
    run = Run.objects.get()
    assert (run.learning_rate, run.train_split, run.epochs, run.gradient_checkpointing) == (3e-5, 0.7, 4, True)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("learning_rate", "0", "Informe um número acima de 0"),
        ("learning_rate", "muito", "Informe um número."),
        ("learning_rate", "nan", "Informe um número"),
        ("epochs", "2,5", "Informe um número inteiro."),
        ("epochs", "1e999", "Informe um número"),
        ("epochs", "", "Este campo é obrigatório"),
        ("train_split", "0.99", "Informe um número entre 0,1 e 0,98."),
        ("label_smoothing", "1", "Informe um número a partir de 0, mas abaixo de 1."),
        ("lr_scheduler", "quadratic", "Faça uma escolha válida"),
        ("base_model", "somebody/else", "Faça uma escolha válida"),
        ("dataset", "999", "Este conjunto de dados não existe mais. Escolha outro."),
        ("dataset", "", "Este campo é obrigatório"),
        ("seed", "-1", "maior ou igual a 0"),
        ("priority", "5000", "menor ou igual a 1000"),
    ],
)
def test_a_value_that_cannot_be_is_refused_at_its_field(field: str, value: str, sentence: str) -> None:
    client = signed_in()
    page = client.post(ADD, filled_in(client, **{"dataset": make_dataset().pk, field: value}))
    assert sentence in text_of(page)
    assert page.context["adminform"].form.errors.keys() == {field}
    assert not Run.objects.exists()


def test_a_rule_between_two_fields_is_told_at_one_of_them() -> None:
    client = signed_in()
    changes = {"long_text": "windows", "window_stride": "256", "max_length": "256"}
    page = client.post(ADD, filled_in(client, dataset=make_dataset().pk, **changes))
    assert "deve ser menor que o comprimento máximo" in text_of(page)
    assert not Run.objects.exists()


def test_a_length_that_the_base_model_does_not_read_is_told_at_its_field() -> None:
    client = signed_in()
    page = client.post(ADD, filled_in(client, dataset=make_dataset().pk, preset="custom", max_length="1024"))
    assert "lê no máximo 512 tokens" in str(page.context["adminform"].form.errors["max_length"])
    assert not Run.objects.exists()


def test_a_base_model_that_is_switched_off_is_not_offered() -> None:
    BaseModel.objects.filter(model_id="xlm-roberta-base").update(enabled=False)
    html = signed_in().get(ADD).content.decode()
    assert 'value="xlm-roberta-base"' not in html
    assert 'value="neuralmind/bert-large-portuguese-cased"' in html


def test_who_may_not_add_queues_nothing() -> None:
    client = signed_in("runs_app.view_run", "datasets_app.view_dataset")
    assert client.get(ADD).status_code == 403
    assert client.post(ADD, {"dataset": make_dataset().pk}).status_code == 403


# The page


def test_a_waiting_run_says_why_it_waits() -> None:
    words = text_of(signed_in().get(page_of(make_run())))
    assert "Na fila" in words
    assert "Nenhum worker registrado ainda." in words


def test_a_running_run_shows_progress_remaining_time_figures_and_lines() -> None:
    job = make_running_job(given={"epochs": 5})
    progress = {"phase": "training", "epoch": 2.4, "step": 600, "total_steps": 1250, "eta_seconds": 1290.0}
    telemetry.record_progress(job=job, progress=progress, now=timezone.now())
    point = {"epoch": 1.0, "step": 250}
    points = [
        {**point, "split": "train", "values": {"loss": 0.7}},
        {**point, "split": "validation", "values": {"loss": 0.5, "f1": 0.81, "accuracy": None}},
    ]
    telemetry.record_metrics(job=job, points=points)
    line = {"seq": 1, "timestamp": timezone.now(), "level": "INFO", "message": "começou <b>agora</b>"}
    telemetry.record_logs(attempt=job.attempts.get(), lines=[line])
    page = signed_in().get(page_of(job.run))
    words = text_of(page)
    assert "48 %" in words
    assert "Época 3 de 5 · passo 600 de 1250 · faltam 21 min, até " in words
    assert "1 0,7000 0,5000 0,8100 – – – ★ melhor" in words
    assert "começou <b>agora</b>" in words
    assert "<b>agora</b>" not in page.content.decode()


def test_the_remaining_time_is_not_guessed_from_the_first_steps() -> None:
    job = make_running_job()
    progress = {"phase": "training", "epoch": 0.1, "step": 3, "total_steps": 900, "eta_seconds": 99999.0}
    telemetry.record_progress(job=job, progress=progress, now=timezone.now())
    assert "calculando o tempo restante" in text_of(signed_in().get(page_of(job.run)))


def test_a_remaining_time_beyond_every_calendar_breaks_nothing() -> None:
    job = make_running_job()
    progress = {"phase": "training", "epoch": 1e300, "step": 30, "total_steps": 900, "eta_seconds": 1e300}
    telemetry.record_progress(job=job, progress=progress, now=timezone.now())
    assert signed_in().get(page_of(job.run)).status_code == 200


def test_a_completed_run_shows_test_figures_tables_and_ready_commands() -> None:
    per_class = [{"label": "provido", "precision": 0.9, "recall": 0.8, "f1": 0.85, "support": 12}]
    matrix = {"labels": ["negado", "provido"], "counts": [[7, 1], [2, 10]]}
    run = complete(
        make_running_job(make_worker("gpu-1")[0]),
        metrics={"f1": 0.9123, "loss": 0.3},
        best_epoch=2.0,
        report={"per_class": per_class, "confusion_matrix": matrix},
        environment={"torch": "2.13.0"},
    )
    words = text_of(signed_in().get(page_of(run)))
    assert "Concluído" in words
    assert "F1 0,9123" in words
    assert "provido 0,9000 0,8000 0,8500" in words
    assert "negado 7 87 % 1 12 %" in words
    assert 'python -m worker_client predict --model "/modelos/run-1"' in words
    assert "gpu-1 concluiu o treinamento." in words
    assert "2.13.0" in words


@pytest.mark.parametrize(
    ("path", "python"),
    [
        ("/modelos/run-1", ".venv/bin/python"),
        (r"D:\modelos\run-1", r".venv\Scripts\python"),
        (r"\\servidor\modelos\run-1", r".venv\Scripts\python"),
    ],
)
def test_the_command_of_a_model_is_one_of_its_worker_s_system(path: str, python: str) -> None:
    job = make_running_job()
    result = queue.Result(model_path=path, metrics={"f1": 0.9})
    queue.complete_job(job_id=job.pk, attempt=1, worker=job.worker, result=result, now=timezone.now())
    words = text_of(signed_in().get(page_of(job.run)))
    assert f'{python} -m worker_client predict --model "{path}"' in words


def test_of_a_confusion_matrix_that_the_worker_kept_the_size_is_told() -> None:
    matrix = {"labels": [f"assunto {number}" for number in range(1200)], "counts": []}
    words = text_of(signed_in().get(page_of(complete(make_running_job(), report={"confusion_matrix": matrix}))))
    assert "confusion_matrix.csv" in words


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"per_class": "x", "confusion_matrix": []},
        {"per_class": [1, {}, {"support": "x", "f1": "y"}, {"support": None, "f1": [1]}]},
        {"confusion_matrix": {"labels": None, "counts": [[1]]}},
        {"confusion_matrix": {"labels": ["a"], "counts": 5}},
        {"confusion_matrix": {"labels": ["a"], "counts": [1]}},
        {"confusion_matrix": {"labels": ["a"], "counts": [["x"]]}},
    ],
)
def test_a_report_of_another_shape_breaks_nothing(report: dict[str, Any]) -> None:
    run = complete(make_running_job(), metrics={"f1": None, "other": "x"}, report=report)
    assert signed_in().get(page_of(run)).status_code == 200


@pytest.mark.parametrize("reason", FailureReason.values)
def test_a_failed_run_says_why_and_what_to_do(reason: str) -> None:
    job = make_running_job()
    job = queue.fail_job(
        job_id=job.pk,
        attempt=job.attempt,
        worker=job.worker,
        reason=FailureReason(reason),
        message="details of the worker",
        retryable=False,
        now=timezone.now(),
    )
    words = text_of(signed_in().get(page_of(job.run)))
    assert "Falhou" in words
    assert "details of the worker" in words
    assert any(advice in words for advice in ("eproduza este treinamento", "omece um novo treinamento", "Envie os"))


def test_a_run_without_memory_is_not_sent_to_a_smaller_batch_which_was_tried_already() -> None:
    job = make_running_job()
    held = {"job_id": job.pk, "attempt": 1, "worker": job.worker, "now": timezone.now()}
    words = text_of(
        signed_in().get(page_of(queue.fail_job(**held, reason=FailureReason.OUT_OF_MEMORY, message="").run))
    )
    assert "nem com um texto de até 256 tokens por vez" in words
    assert "lote menor" not in words


def test_a_failed_run_leads_to_a_new_one_for_those_who_may() -> None:
    job = make_running_job()
    held = {"job_id": job.pk, "attempt": 1, "worker": job.worker, "now": timezone.now()}
    queue.fail_job(**held, reason=FailureReason.OUT_OF_MEMORY, message="", retryable=False)
    link = f'href="{ADD}?source={job.run_id}"'
    assert link in signed_in().get(page_of(job.run)).content.decode()
    assert link not in signed_in("runs_app.view_run").get(page_of(job.run)).content.decode()


def test_labels_with_few_test_examples_are_flagged() -> None:
    rows = [{"label": name, "precision": 1, "recall": 1, "f1": 1, "support": n} for name, n in (("a", 30), ("b", 29))]
    page = signed_in().get(page_of(complete(make_running_job(), report={"per_class": rows})))
    assert "1,0000 30 b 1,0000" in text_of(page)
    assert "29 ⚠" in text_of(page)
    assert "⚠ Menos de 30 exemplos" in text_of(page)


def test_the_timeline_marks_how_it_ended_and_what_went_wrong() -> None:
    job = make_running_job()
    queue.requeue_expired(now=job.lease_expires_at)
    claimed = claim(make_worker()[0], now=timezone.now() + timedelta(hours=1))
    assert claimed is not None
    complete(claimed)
    moods = [mood for _at, _sentence, mood in signed_in().get(page_of(job.run)).context["events"]]
    assert moods == ["", "", "trouble", "", "completed"]


def test_parameters_say_whether_they_were_changed() -> None:
    words = text_of(signed_in().get(page_of(make_run(given={"learning_rate": 3e-5}))))
    assert "Taxa de aprendizado 3e-5 alterado" in words
    assert "Tamanho do lote 16 padrão" in words


def test_what_happened_is_told_in_plain_words() -> None:
    job = make_running_job(make_worker("gpu-1")[0])
    run = job.run
    runs.request_pause(run=run, user=None, now=timezone.now())
    runs.resume_run(run=run, user=None, now=timezone.now())
    queue.requeue_expired(now=job.lease_expires_at)
    words = text_of(signed_in().get(page_of(run)))
    for sentence in (
        "gpu-1 começou a tentativa 1.",
        "o servidor pediu uma pausa",
        "o servidor retirou o pedido de pausa.",
        "O worker da tentativa 1 parou de responder. O treinamento volta à fila e continua do último ponto",
    ):
        assert sentence in words


def test_the_changing_part_is_served_alone() -> None:
    run = make_run()
    page = signed_in().get(reverse("admin:runs_app_run_live", args=[run.pk]))
    html = page.content.decode()
    assert 'data-block="head"' in html
    assert "<html" not in html
    assert signed_in("datasets_app.view_dataset").get(
        reverse("admin:runs_app_run_live", args=[run.pk])
    ).status_code in (302, 403)


def test_the_page_of_a_long_run_takes_few_queries() -> None:
    job = make_running_job()
    now = timezone.now()
    lines = [{"seq": n, "timestamp": now, "level": "INFO", "message": f"line {n}"} for n in range(1, 1001)]
    client = signed_in()
    telemetry.record_logs(attempt=job.attempts.get(), lines=lines[:1])
    few = query_count(client, page_of(job.run))
    telemetry.record_logs(attempt=job.attempts.get(), lines=lines)
    EpochMetric.objects.bulk_create(
        EpochMetric(run=job.run, attempt=1, epoch=n, step=n, split="validation", values={"f1": n / 100})
        for n in range(1, 60)
    )
    assert query_count(client, page_of(job.run)) == few <= 15


@pytest.mark.parametrize("state", ["pending", "running", "failed", "completed"])
def test_the_page_of_a_run_with_a_history_takes_at_most_fifteen_queries(state: str) -> None:
    run = run_with_a_history(state)
    client = signed_in("runs_app.view_run", "runs_app.add_run", "runs_app.change_run")
    assert "a line of the log" in text_of(client.get(page_of(run)))
    assert query_count(client, page_of(run)) <= 15


def run_with_a_history(state: str) -> Run:
    """Given back once, with a figure, a line and a sample of the GPU, and with counts that say that more was sent."""
    now, job = timezone.now(), make_running_job()
    tell_something(job)
    held = {"job_id": job.pk, "worker": job.worker, "now": now}
    sent = {"log_lines": 9, "metric_points": 9, "events": 9}
    queue.release_job(**held, attempt=1, reason=ReleaseReason.SHUTDOWN, counts=sent)
    make_worker(last_seen_at=now)
    if state == "pending":
        return job.run
    again = claim(job.worker)
    assert again is not None
    if state == "failed":
        return queue.fail_job(**held, attempt=again.attempt, reason=FailureReason.NAN_LOSS, message="").run
    return complete(again) if state == "completed" else again.run


def tell_something(job: Any) -> None:
    now = timezone.now()
    line = {"seq": 1, "timestamp": now, "level": "INFO", "message": "a line of the log"}
    telemetry.record_logs(attempt=job.attempts.get(), lines=[line])
    telemetry.record_gpu_use(job=job, gpu_utilization=90.0, gpu_memory_bytes=2**30, now=now)
    point = {"epoch": 1.0, "step": 10, "split": "validation", "values": {"f1": 0.5, "loss": 0.4}}
    telemetry.record_metrics(job=job, points=[point])


# What may be asked


@pytest.mark.parametrize(
    ("state", "buttons"),
    [
        ("pending", {"cancel", "pause", "move", "reproduce", "duplicate"}),
        ("paused", {"cancel", "resume", "reproduce", "duplicate"}),
        ("running", {"cancel", "pause", "reproduce", "duplicate"}),
        ("pausing", {"cancel", "resume", "reproduce", "duplicate"}),
        ("cancelling", {"reproduce", "duplicate"}),
        ("completed", {"reproduce", "duplicate", "archive"}),
        ("failed", {"reproduce", "duplicate", "archive"}),
        ("cancelled", {"reproduce", "duplicate", "archive"}),
        ("archived", {"reproduce", "duplicate", "unarchive"}),
    ],
)
def test_a_button_is_there_only_where_the_state_allows_it(state: str, buttons: set[str]) -> None:
    run = run_in(state)
    html = signed_in().get(page_of(run)).content.decode()
    assert {name for name in BY_NAME if ask(run, name) in html} == buttons


def run_in(state: str) -> Run:
    now = timezone.now()
    if state in ("pending", "paused", "cancelled"):
        run = make_run()
        steps = {"paused": runs.request_pause, "cancelled": runs.request_cancel}
        if state in steps:
            steps[state](run=run, user=None, now=now)
        return run
    job = make_running_job()
    if state in ("completed", "archived"):
        run = complete(job)
        if state == "archived":
            runs.archive_run(run=run, user=None, now=now)
        return run
    if state == "failed":
        reason, held = FailureReason.NAN_LOSS, {"job_id": job.pk, "attempt": job.attempt, "worker": job.worker}
        return queue.fail_job(**held, reason=reason, message="", now=now).run
    wishes = {"pausing": runs.request_pause, "cancelling": runs.request_cancel}
    if state in wishes:
        wishes[state](run=job.run, user=None, now=now)
    return job.run


@pytest.mark.parametrize(
    ("state", "name", "after", "said"),
    [
        ("pending", "cancel", "cancelled", "foi cancelado"),
        ("running", "cancel", "running", "Cancelamento de"),
        ("pending", "pause", "paused", "está pausado"),
        ("running", "pause", "running", "Pausa de"),
        ("paused", "resume", "pending", "voltou à fila"),
        ("pausing", "resume", "running", "foi retirada"),
        ("pending", "move", "pending", "já é o primeiro da fila"),
        ("completed", "archive", "completed", "foi arquivado"),
        ("archived", "unarchive", "completed", "voltou às listas"),
    ],
)
def test_a_wish_is_asked_for_done_and_told_truthfully(state: str, name: str, after: str, said: str) -> None:
    run = run_in(state)
    client = signed_in()
    assert run.name in text_of(client.get(ask(run, name)))
    run.refresh_from_db()
    before = {"pausing": "running", "archived": "completed"}.get(state, state)
    assert run.status == before, "asking alone changes nothing"
    page = client.post(ask(run, name), follow=True)
    run.refresh_from_db()
    assert run.status == after
    assert said in messages_of(page)[0]


@pytest.mark.parametrize(
    ("state", "name"),
    [
        ("completed", "cancel"),
        ("completed", "pause"),
        ("running", "resume"),
        ("running", "move"),
        ("running", "archive"),
    ],
)
def test_what_the_state_forbids_is_refused_with_a_sentence(state: str, name: str) -> None:
    run = run_in(state)
    client = signed_in()
    shown = client.get(ask(run, name), follow=True)
    assert "não permite isto agora" in messages_of(shown)[0]
    refused = client.post(ask(run, name), follow=True)
    assert refused.redirect_chain == [(page_of(run), 302)]
    assert messages_of(refused)[0].startswith(f"“{run.name}”: ")
    run.refresh_from_db()
    assert run.status == state


def test_a_run_is_reproduced_under_a_name_of_ones_own() -> None:
    source = complete(make_running_job(given={"epochs": 2}, seed=7))
    page = signed_in().post(ask(source, "reproduce"), {"name": "De novo"}, follow=True)
    made = Run.objects.get(reproduced_from=source)
    assert (made.name, made.seed, made.epochs, made.dataset_sha256) == ("De novo", 7, 2, source.dataset_sha256)
    assert page.redirect_chain == [(page_of(made), 302)]
    assert f"#{source.pk}" in text_of(page)


def test_duplicating_opens_the_form_of_a_new_run_filled_from_this_one() -> None:
    source = complete(make_running_job(given={"epochs": 2, "learning_rate": 3e-5}, seed=7, notes="lote 3"))
    client = signed_in()
    page = client.get(ask(source, "duplicate"), follow=True)
    assert page.redirect_chain == [(f"{ADD}?source={source.pk}", 302)]
    form = page.context["adminform"].form
    shown = {name: form[name].value() for name in ("epochs", "learning_rate", "seed", "dataset", "notes", "preset")}
    assert shown == {
        "epochs": "2",
        "learning_rate": "3e-5",
        "seed": 7,
        "dataset": source.dataset_id,
        "notes": "lote 3",
        "preset": "custom",
    }
    assert f"Preenchido a partir do treinamento #{source.pk}" in text_of(page)
    assert Run.objects.count() == 1, "nothing is queued before somebody says so"


def test_what_was_filled_in_can_be_sent_as_it_is() -> None:
    source = make_run(given={"train_split": 0.7, "gradient_checkpointing": True, "class_weights": "balanced"})
    client = signed_in()
    form = client.get(ADD, {"source": source.pk}).context["adminform"].form
    client.post(f"{ADD}?source={source.pk}", form.as_shown())
    made = Run.objects.exclude(pk=source.pk).get()
    assert made.hyperparameters == source.hyperparameters
    assert made.reproduced_from is None


@pytest.mark.parametrize("source", ["999", "abc", "9" * 40, "\x00", "-1"])
def test_a_source_that_does_not_exist_leaves_the_usual_form(source: str) -> None:
    page = signed_in().get(ADD, {"source": source})
    assert page.context["adminform"].form["epochs"].value() == "10"


def test_who_may_not_see_runs_fills_no_form_from_one() -> None:
    source = make_run(given={"epochs": 2})
    page = signed_in("runs_app.add_run").get(ADD, {"source": source.pk})
    assert page.context["adminform"].form["epochs"].value() == "10"


def test_a_name_that_is_too_long_is_refused() -> None:
    source = make_run()
    page = signed_in().post(ask(source, "reproduce"), {"name": "x" * 201})
    assert "no máximo 200" in text_of(page)
    assert Run.objects.count() == 1


def test_who_may_only_look_sees_no_button_and_is_refused() -> None:
    run = make_run()
    client = signed_in("runs_app.view_run")
    html = client.get(page_of(run)).content.decode()
    for name in ("cancel", "pause", "reproduce"):
        assert ask(run, name) not in html
        assert client.post(ask(run, name)).status_code == 403
    assert client.get(LIST).status_code == 200
    assert "Cancelar treinamentos selecionados" not in text_of(client.get(LIST))


def test_there_is_no_other_wish() -> None:
    assert signed_in().get(ask(make_run(), "delete")).status_code == 404


def test_a_run_is_neither_edited_nor_deleted() -> None:
    run = make_run(name="Antes")
    client = signed_in()
    client.post(page_of(run), {"name": "Depois"})
    assert client.post(reverse("admin:runs_app_run_delete", args=[run.pk]), {"post": "yes"}).status_code == 403
    run.refresh_from_db()
    assert run.name == "Antes"


# The list


def test_cancelling_selected_runs_asks_once_and_reports_what_was_refused() -> None:
    done = complete(make_running_job(name="Pronto"))
    waiting = make_run(name="Esperando")
    client = signed_in()
    data = {"action": "cancel_selected", "_selected_action": [done.pk, waiting.pk]}
    asked = client.post(LIST, data)
    assert "O que aprenderam até agora se perde" in text_of(asked)
    waiting.refresh_from_db()
    assert waiting.status == Status.PENDING
    said = messages_of(client.post(LIST, {**data, "confirmed": "yes"}, follow=True))
    assert "“Esperando” foi cancelado." in said
    assert any(line.startswith("“Pronto”: Este treinamento já terminou (Concluído)") for line in said)


def test_of_selected_runs_only_those_are_reproduced_whose_base_model_is_still_offered() -> None:
    source, other = make_run(), make_run(base_model="xlm-roberta-base")
    BaseModel.objects.filter(model_id="xlm-roberta-base").update(enabled=False)
    data = {"action": "reproduce_selected", "_selected_action": [source.pk, other.pk], "confirmed": "yes"}
    said = messages_of(signed_in().post(LIST, data, follow=True))
    assert f"“{other}”: “xlm-roberta-base” não é um modelo base ativo do catálogo." in said
    assert "1 novo treinamento está na fila." in said


def test_a_run_whose_base_model_was_switched_off_is_not_reproduced() -> None:
    source = complete(make_running_job())
    BaseModel.objects.filter(model_id=source.base_model).update(enabled=False)
    page = signed_in().post(ask(source, "reproduce"), {"name": ""}, follow=True)
    assert page.redirect_chain == [(page_of(source), 302)]
    assert messages_of(page) == [f"“{source}”: “{source.base_model}” não é um modelo base ativo do catálogo."]


def test_reproducing_selected_runs_queues_one_each() -> None:
    first, second = make_run(), make_run()
    data = {"action": "reproduce_selected", "_selected_action": [first.pk, second.pk], "confirmed": "yes"}
    said = messages_of(signed_in().post(LIST, data, follow=True))
    assert said == ["2 novos treinamentos estão na fila."]
    assert Run.objects.filter(reproduced_from__in=[first, second]).count() == 2


def test_the_list_shows_state_progress_f1_and_the_short_name_of_the_model() -> None:
    complete(make_running_job(make_worker("gpu-1")[0], name="Pronto"), metrics={"f1": 0.9123999999})
    words = text_of(signed_in().get(LIST))
    for word in ("Pronto", "Concluído", "100 %", "0,9124", "tiny-bert", "gpu-1"):
        assert word in words


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({"status__exact": "cancelled"}, {"Outro"}),
        ({"task_type__exact": "token_classification"}, {"Outro"}),
        ({"base_model": "xlm-roberta-base"}, {"Outro"}),
        ({"q": "Prim"}, {"Primeiro"}),
    ],
)
def test_the_list_is_filtered(query: dict[str, str], shown: set[str]) -> None:
    make_run(name="Primeiro")
    other = make_run(make_dataset(task_type="token_classification"), name="Outro", base_model="xlm-roberta-base")
    runs.request_cancel(run=other, user=None, now=timezone.now())
    page = signed_in().get(LIST, query)
    assert {run.name for run in page.context["cl"].result_list} == shown


def test_nothing_found_offers_to_clear_the_filters() -> None:
    words = text_of(signed_in().get(LIST, {"q": "inexistente"}))
    assert "Nada encontrado com estes filtros." in words
    assert "Limpar filtros" in words


def test_the_list_takes_the_same_number_of_queries_for_many_runs() -> None:
    client = signed_in()
    complete(make_running_job())
    few = query_count(client, LIST)
    for _number in range(6):
        complete(make_running_job())
    assert query_count(client, LIST) == few


# Order and archive


def choose(client: Client, action: str, *chosen: Run, query: str = "") -> list[str]:
    """What is said after the action was confirmed."""
    data = {"action": action, "_selected_action": [run.pk for run in chosen], "confirmed": "yes"}
    return messages_of(client.post(LIST + query, data, follow=True))


def listed(**query: str) -> set[str]:
    return {run.name for run in signed_in().get(LIST, query).context["cl"].result_list}


def test_selected_runs_are_put_first_in_their_order() -> None:
    make_run(priority=3)
    first, second = make_run(name="Um"), make_run(name="Dois")
    assert choose(signed_in(), "move_selected", first, second) == [
        "“Dois” agora é o primeiro da fila, com prioridade 4.",
        "“Um” agora é o primeiro da fila, com prioridade 5.",
    ]
    assert "mudou a prioridade para 5" in text_of(signed_in().get(page_of(first)))


def test_archived_runs_are_listed_only_when_asked_for() -> None:
    run_in("archived")
    Run.objects.update(name="Antigo")
    make_run(name="Novo")
    assert listed() == {"Novo"}
    assert listed(archived="1") == {"Antigo"}
    words = text_of(signed_in().get(LIST))
    assert "Atuais Arquivados" in words


def test_selected_runs_are_archived_and_what_is_not_over_stays() -> None:
    done, waiting = complete(make_running_job(name="Pronto")), make_run(name="Esperando")
    said = choose(signed_in(), "archive_selected", done, waiting)
    assert "“Pronto” foi arquivado." in said
    assert "“Esperando”: Só um treinamento que já terminou pode ser arquivado." in said
    assert listed() == {"Esperando"}
    assert choose(signed_in(), "unarchive_selected", done, query="?archived=1") == ["“Pronto” voltou às listas."]
    assert listed() == {"Pronto", "Esperando"}


@pytest.mark.parametrize(
    ("query", "offered"),
    [
        ({}, {"", "compare_selected", "cancel_selected", "move_selected", "reproduce_selected", "archive_selected"}),
        ({"archived": "1"}, {"", "compare_selected", "reproduce_selected", "unarchive_selected"}),
    ],
)
def test_the_list_offers_no_action_that_none_of_its_runs_allows(query: dict[str, str], offered: set[str]) -> None:
    run_in("archived")
    make_run()
    form = signed_in().get(LIST, query).context["action_form"]
    assert {name for name, _label in form.fields["action"].choices} == offered


def test_who_may_only_look_is_offered_no_change() -> None:
    make_run()
    form = signed_in("runs_app.view_run").get(LIST).context["action_form"]
    assert {name for name, _label in form.fields["action"].choices} == {"", "compare_selected"}


def test_sorted_by_f1_what_has_none_counts_as_the_least_on_every_database() -> None:
    for name, f1 in {"medium": 0.7, "best": 0.91, "refused": "none"}.items():
        complete(make_running_job(name=name), metrics={"f1": f1})
    make_run(name="waits")
    column = [*signed_in().get(LIST).context["cl"].list_display].index("test_f1")
    worst, best = (
        [run.name for run in signed_in().get(LIST, {"o": f"{sign}{column}"}).context["cl"].result_list]
        for sign in ("", "-")
    )
    assert worst == ["waits", "refused", "medium", "best"]
    assert best[:2] == ["best", "medium"]


def test_the_list_rounds_f1_to_what_people_read() -> None:
    complete(make_running_job(), metrics={"f1": 0.91234567})
    assert "0,9123 " in text_of(signed_in().get(LIST))
