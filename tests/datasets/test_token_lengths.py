"""Token lengths that a run measured: what is kept of them, where they are shown."""

from typing import Any

import pytest
from django.db import transaction
from django.urls import reverse
from rest_framework.test import APIClient

from datasets_app.models import Dataset
from datasets_app.token_lengths import MOST_BASE_MODELS, keep_token_lengths, read_token_lengths
from runs_app.models import BUILTIN_TINY_BERT, Job
from tests.admin_client import signed_in, text_of
from tests.factories import make_dataset, make_running_job
from tests.routes import API
from workers_app.models import Worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]

BERTIMBAU = "neuralmind/bert-base-portuguese-cased"
# Of the five rows of `make_dataset`.
POINTS = {"min": 4, "p50": 90, "p90": 300, "p99": 300, "max": 1_300, "mean": 210.5}
STEPS = [{"max_length": step, "rows": rows} for step, rows in ((128, 2), (256, 2), (512, 1))]
TOLD: dict[str, Any] = {"tokenizer": "x", "rows": 5, **POINTS, "beyond": STEPS}
SHARES = [{**step, "share": step["rows"] / 5} for step in STEPS]
ESTIMATED = {"beyond": [{"max_length": 256, "rows": 1, "share": 0.2, "basis": "words"}], "words": POINTS}


def complete(worker_api: APIClient, job: Job, told: Any = TOLD) -> None:
    body = {"attempt": 1, "metrics": {}, "model_path": "m", "report": {"token_lengths": told}}
    answer = worker_api.post(f"{API}/jobs/{job.pk}/complete", body, format="json")
    assert (answer.status_code, answer.json()) == (200, {"status": "completed"})


def keep(dataset: Dataset, base_model: str, run_id: int, learned_here: bool = False) -> None:
    with transaction.atomic():
        keep_token_lengths(
            dataset_id=dataset.pk,
            run_id=run_id,
            base_model=base_model,
            revision="main",
            learned_here=learned_here,
            told=TOLD,
        )
    dataset.refresh_from_db()


def page_of(dataset: Dataset) -> str:
    return text_of(signed_in().get(reverse("admin:datasets_app_dataset_change", args=[dataset.pk])))


def test_what_a_run_measured_stands_in_the_report_of_its_dataset(
    worker_api: APIClient, worker: Worker, api: APIClient
) -> None:
    job = make_running_job(worker)
    for _repeated in range(2):
        complete(worker_api, job)
    report = api.get(f"{API}/datasets/{job.run.dataset_id}").json()["report"]
    about = {"run": job.run_id, "revision": "", "learned_here": True}
    assert report["token_lengths"] == {BUILTIN_TINY_BERT: {**POINTS, "beyond": SHARES, **about}}


def test_a_report_without_measure_says_nothing_of_it(api: APIClient) -> None:
    assert "token_lengths" not in api.get(f"{API}/datasets/{make_dataset().pk}").json()["report"]


def test_a_later_run_replaces_the_measure_of_its_base_model_and_no_other() -> None:
    dataset = make_dataset()
    for run_id, base_model in enumerate((BERTIMBAU, BUILTIN_TINY_BERT, BERTIMBAU), start=1):
        keep(dataset, base_model, run_id)
    assert {name: kept["run"] for name, kept in dataset.token_lengths.items()} == {BERTIMBAU: 3, BUILTIN_TINY_BERT: 2}


def test_the_measures_of_the_latest_base_models_are_kept() -> None:
    dataset = make_dataset()
    for run_id in range(1, MOST_BASE_MODELS + 4):
        keep(dataset, f"org/model-{run_id}", run_id)
    assert sorted(kept["run"] for kept in dataset.token_lengths.values()) == list(range(4, MOST_BASE_MODELS + 4))


@pytest.mark.parametrize(
    "amiss",
    [
        {"rows": 6},
        {"p50": 3},
        {"max": 10**30},
        {"min": -1},
        {"min": True},
        {"p90": "300"},
        {"p99": None},
        {"mean": None},
        {"mean": float("nan")},
        {"mean": 1_301},
        {"beyond": None},
        {"beyond": {}},
        {"beyond": [1, 2, 3]},
        {"beyond": STEPS[:2]},
        {"beyond": [*STEPS, STEPS[0]]},
        {"beyond": [STEPS[2], STEPS[1], STEPS[0]]},
        {"beyond": [{**STEPS[0], "rows": 6}, *STEPS[1:]]},
        {"beyond": [*STEPS[:2], {**STEPS[2], "rows": 3}]},
        {"beyond": [{**STEPS[0], "rows": "2"}, *STEPS[1:]]},
    ],
    ids=str,
)
def test_what_cannot_be_is_not_read(amiss: dict[str, Any]) -> None:
    assert read_token_lengths(TOLD, 5) is not None
    assert read_token_lengths({**TOLD, **amiss}, 5) is None


@pytest.mark.parametrize("told", [None, [], "long", 7, {}, {**TOLD, "min": []}])
def test_a_run_with_an_unusable_measure_is_completed_without_it(
    worker_api: APIClient, worker: Worker, told: Any
) -> None:
    job = make_running_job(worker)
    complete(worker_api, job, told)
    assert Dataset.objects.get().token_lengths == {}


def test_only_known_figures_are_kept() -> None:
    kept = read_token_lengths({**TOLD, "texts": "secret", "beyond": [{**step, "share": 9} for step in STEPS]}, 5)
    assert kept == {**POINTS, "beyond": SHARES}


def test_the_page_shows_the_measure_in_place_of_the_estimate() -> None:
    dataset = make_dataset(report={"warnings": [], "quality": ESTIMATED})
    assert "Provavelmente acima de 256 tokens: 20,0 % dos textos." in page_of(dataset)
    keep(dataset, BERTIMBAU, 12)
    words = page_of(dataset)
    assert "Provavelmente" not in words
    assert f"Tokens de {BERTIMBAU} 4 90 300 300 1.300 210,5" in words
    measured = "40,0 % dos textos passam de 128 tokens, 40,0 % de 256, 20,0 % de 512."
    assert f"Medido com {BERTIMBAU} no treinamento 12: {measured}" in words
    assert "vocabulário" not in words


def test_the_page_says_whose_vocabulary_tiny_bert_has() -> None:
    dataset = make_dataset()
    keep(dataset, BUILTIN_TINY_BERT, 3, learned_here=True)
    assert "O vocabulário dele foi aprendido com estes textos" in page_of(dataset)
