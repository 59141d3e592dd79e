"""The form of a new run: presets, and the panel that tells what will come of it."""

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from datasets_app.models import Dataset, TaskType
from runs_app.hyperparameters import HYPERPARAMETERS, resolve
from runs_app.models import BUILTIN_TINY_BERT, BaseModel, Run
from runs_app.presets import PRESETS, preset_of
from runs_app.services import queue, telemetry
from tests.admin_client import query_count, signed_in, text_of
from tests.factories import make_dataset, make_run, make_running_job, make_worker
from workers_app.models import Worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]

ADD = reverse("admin:runs_app_run_add")
PREVIEW = reverse("admin:runs_app_run_preview")
BERTIMBAU = "neuralmind/bert-base-portuguese-cased"


def asked(dataset: Dataset | None = None, **changes: Any) -> dict[str, Any]:
    """What the page sends for its panel."""
    chosen = {"dataset": dataset.pk} if dataset else {}
    return {"base_model": BUILTIN_TINY_BERT, "preset": "recommended", "seed": 42, "priority": 0, **chosen, **changes}


def panel(dataset: Dataset | None = None, **changes: Any) -> str:
    page = signed_in().get(PREVIEW, asked(dataset, **changes))
    assert page.status_code == 200
    return text_of(page)


def connected(**values: Any) -> Worker:
    return make_worker(last_seen_at=timezone.now(), **values)[0]


# Presets


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fills_every_field_whatever_was_typed_beside_it(name: str) -> None:
    dataset = make_dataset()
    signed_in().post(ADD, asked(dataset, preset=name, epochs="999", learning_rate="muito", gradient_checkpointing="on"))
    run = Run.objects.get()
    assert run.hyperparameters == PRESETS[name].values


@pytest.mark.parametrize("name", PRESETS)
def test_the_values_of_a_preset_are_allowed(name: str) -> None:
    assert resolve(dict(PRESETS[name].values)) == PRESETS[name].values
    assert preset_of(PRESETS[name].values) == name


def test_the_custom_preset_takes_what_was_typed() -> None:
    dataset = make_dataset()
    words = {name: str(rule.default) for name, rule in HYPERPARAMETERS.items() if name != "gradient_checkpointing"}
    signed_in().post(ADD, asked(dataset, **words | {"preset": "custom"}) | {"epochs": "7"})
    assert Run.objects.get().epochs == 7
    assert preset_of(Run.objects.get().hyperparameters) == "custom"


def test_the_preset_that_was_chosen_is_told_afterwards_and_stays_after_an_error() -> None:
    dataset, client = make_dataset(), signed_in()
    page = client.post(ADD, asked(dataset, preset="careful", seed="-1"))
    html = page.content.decode()
    assert 'value="careful"' in html.split("checked")[0].rpartition("<input")[2]
    assert page.context["adminform"].form["epochs"].value() == "20"
    page = client.post(ADD, asked(dataset, preset="fast"), follow=True)
    assert "Predefinição: Rápida" in text_of(page)


def test_a_preset_that_does_not_exist_is_refused_at_its_field() -> None:
    page = signed_in().post(ADD, asked(make_dataset(), preset="turbo"))
    assert "preset" in page.context["adminform"].form.errors
    assert not Run.objects.exists()


# The panel


def test_the_panel_stands_in_the_page_from_the_beginning() -> None:
    dataset = make_dataset(num_rows=1000)
    words = text_of(signed_in().get(ADD, {"dataset": dataset.pk}))
    assert "Antes de começar" in words
    assert "Treinamento 800 Validação 100 Teste 100" in words


def test_the_examples_of_each_part_follow_the_training_share() -> None:
    dataset = make_dataset(num_rows=1000)
    words = {name: str(rule.default) for name, rule in HYPERPARAMETERS.items() if name != "gradient_checkpointing"}
    shown = panel(dataset, **(words | {"preset": "custom", "train_split": "0,5"}))
    assert "Exemplos (cerca de) Treinamento 500 Validação 250 Teste 250" in shown


def test_the_split_of_the_upload_is_exact_where_share_and_seed_are_the_same() -> None:
    split = {"train_share": 0.8, "seed": 42, "sizes": {"train": 70, "validation": 20, "test": 10}, "classes": []}
    dataset = make_dataset(num_rows=100, report={"quality": {"split": split}})
    assert "Exemplos Treinamento 70 Validação 20 Teste 10" in panel(dataset)
    assert "Exemplos (cerca de) Treinamento 80" in panel(dataset, seed=7)


def test_without_a_finished_run_like_it_nothing_is_estimated() -> None:
    shown = panel(make_dataset())
    assert "Ainda sem estimativa" in shown
    assert "Tempo" not in shown


def test_time_and_memory_are_told_as_estimates_with_their_basis() -> None:
    dataset = make_dataset(num_rows=1000, report={"quality": {"words": {"mean": 50}}})
    job = make_running_job(dataset=dataset)
    telemetry.record_metrics(job=job, points=[{"epoch": 10.0, "step": 9, "split": "validation", "values": {}}])
    result = queue.Result(model_path="m", environment={"gpu_memory_peak_bytes": 3 * 2**30})
    now = timezone.now()
    queue.complete_job(job_id=job.pk, attempt=1, worker=job.worker, result=result, now=now)
    Run.objects.update(started_at=now - timedelta(minutes=20), finished_at=now)
    shown = panel(dataset)
    assert "cerca de 20 min para todas as épocas" in shown
    assert "cerca de 3,0 GB no máximo" in shown.replace("\xa0", " ")
    assert shown.count("estimativa por 1 treinamento concluído parecido") == 2


def test_a_label_with_few_examples_is_named() -> None:
    labels = [{"name": "Ambiental", "count": 12}, {"name": "Saúde", "count": 988}]
    shown = panel(make_dataset(num_rows=1000, labels=labels))
    assert "Poucos exemplos de “Ambiental” (12)" in shown
    assert "“Saúde”" not in shown


def test_of_many_rare_labels_the_rarest_are_named_and_the_others_counted() -> None:
    labels = [{"name": f"tema {n}", "count": n} for n in range(1, 6)]
    shown = panel(make_dataset(num_rows=15, labels=labels))
    assert "“tema 1” (1), “tema 2” (2), “tema 3” (3) e mais 2" in shown


def test_entities_are_counted_by_their_kind() -> None:
    tags = [{"name": "O", "count": 900}, {"name": "B-ORG", "count": 12}, {"name": "I-ORG", "count": 3}]
    shown = panel(make_dataset(task_type=TaskType.TOKEN_CLASSIFICATION, num_rows=50, labels=tags))
    assert "Poucos exemplos de “ORG” (12)" in shown


def test_texts_that_will_be_cut_are_told_as_probable_or_measured() -> None:
    beyond = [{"max_length": 256, "rows": 15, "share": 0.15}, {"max_length": 512, "rows": 1, "share": 0.01}]
    dataset = make_dataset(report={"quality": {"beyond": beyond}})
    assert "Provavelmente 15 % dos textos têm mais de 256 tokens" in panel(dataset)
    assert "dos textos têm mais" not in panel(dataset, preset="careful")
    Dataset.objects.update(token_lengths={BUILTIN_TINY_BERT: {"mean": 80.0, "beyond": beyond}})
    assert "Provavelmente" not in (shown := panel(dataset))
    assert "15 % dos textos têm mais de 256 tokens" in shown


def test_a_length_beyond_the_base_model_is_told() -> None:
    BaseModel.objects.filter(model_id=BUILTIN_TINY_BERT).update(max_length=300)
    assert "lê no máximo 300 tokens" in panel(make_dataset(), preset="careful")


def test_without_a_connected_worker_the_panel_says_so() -> None:
    assert "Nenhum worker registrado ainda" in panel(make_dataset())
    make_worker()
    assert "Nenhum worker conectado" in panel(make_dataset())


def test_a_gpu_that_is_too_small_and_a_missing_base_model_are_told() -> None:
    worker = connected(hardware={"gpus": [{"name": "GT 710", "memory_bytes": 2**30}]})
    dataset = make_dataset()
    assert "GPU grande o bastante" in panel(dataset, base_model=BERTIMBAU)
    Worker.objects.filter(pk=worker.pk).update(hardware={}, may_download=False)
    assert f"tem o modelo base {BERTIMBAU}" in panel(dataset, base_model=BERTIMBAU)


def test_where_nothing_speaks_against_a_run_the_panel_says_so() -> None:
    connected()
    labels = [{"name": "negado", "count": 500}, {"name": "provido", "count": 500}]
    assert "Nada impede este treinamento." in panel(make_dataset(num_rows=1000, labels=labels))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dataset", "abc"),
        ("dataset", "9" * 40),
        ("dataset", "\x00"),
        ("base_model", "\x00"),
        ("preset", "turbo"),
        ("seed", "1e9"),
        ("seed", "9" * 30),
    ],
)
def test_input_that_cannot_be_read_gives_a_sentence(field: str, value: str) -> None:
    page = signed_in().get(PREVIEW, asked(make_dataset()) | {field: value})
    assert page.status_code == 200
    assert "quando estes campos estiverem corretos" in text_of(page)


def test_a_dataset_that_was_deleted_meanwhile_is_said_to_be_gone() -> None:
    dataset = make_dataset()
    asked_for = asked(dataset)
    dataset.delete()
    assert "Este conjunto de dados não existe mais. Escolha outro." in text_of(signed_in().post(ADD, asked_for))


def test_an_empty_question_names_what_is_missing() -> None:
    page = signed_in().get(PREVIEW)
    assert page.status_code == 200
    assert "Conjunto de dados: Este campo é obrigatório." in text_of(page)


def test_the_panel_is_for_those_who_may_add_runs() -> None:
    assert signed_in("runs_app.view_run").get(PREVIEW, asked(make_dataset())).status_code == 403


def test_the_queries_of_the_page_do_not_grow_with_the_runs() -> None:
    client, dataset = signed_in(), make_dataset(report={"quality": {"words": {"mean": 50}}})
    url = f"{ADD}?dataset={dataset.pk}"
    make_run(dataset)
    before = query_count(client, url)
    for _number in range(3):
        make_run(dataset)
        make_dataset()
        make_worker()
    assert query_count(client, url) == before
    assert before <= 15


def test_who_may_only_queue_runs_is_told_nothing_of_labels_and_workers() -> None:
    dataset = make_dataset()
    words = text_of(signed_in("runs_app.add_run").get(PREVIEW, asked(dataset)))
    assert "para quem pode ver conjuntos de dados" in words
    assert not any(label["name"] in words for label in dataset.labels)
