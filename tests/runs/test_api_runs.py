"""/runs: create, list, read, metrics, reproduce, cancel, pause, resume."""

import json
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone
from rest_framework.test import APIClient
from time_machine import Traveller

from runs_app import hyperparameters
from runs_app.models import BaseModel, Run
from runs_app.services import queue, telemetry
from tests.factories import make_dataset, make_job, make_run, make_running_job, make_worker

pytestmark = pytest.mark.django_db

API = "/bert-training/api"
CONTRACT_KEYS = {
    "id",
    "name",
    "status",
    "task_type",
    "dataset",
    "dataset_sha256",
    "base_model",
    "base_model_revision",
    "seed",
    "hyperparameters",
    "job",
    "metrics",
    "best_epoch",
    "failure_reason",
    "error",
    "model_path",
    "environment",
    "reproduced_from",
    "created_at",
    "started_at",
    "finished_at",
}
JOB_KEYS = {"id", "status", "attempt", "worker", "progress"}


def post(api: APIClient, body: Any = None, **fields: Any) -> Any:
    # As plain ASCII, for a lone surrogate can be sent as an escape only.
    text = json.dumps(body if body is not None else fields)
    return api.generic("POST", f"{API}/runs", text, content_type="application/json")


def wanted(**fields: Any) -> dict[str, Any]:
    return {"dataset": make_dataset().pk, "base_model": "builtin/tiny-bert", **fields}


def test_a_new_run_is_answered_whole(api: APIClient, clock: Traveller) -> None:
    dataset = make_dataset()
    answer = post(api, dataset=dataset.pk, base_model="builtin/tiny-bert", name="first", seed=7, notes="why")
    assert answer.status_code == 201
    run = answer.json()
    assert run.keys() >= CONTRACT_KEYS
    assert run["job"].keys() >= JOB_KEYS
    assert {key: run[key] for key in ("name", "status", "task_type", "dataset", "dataset_sha256", "base_model")} == {
        "name": "first",
        "status": "pending",
        "task_type": "text_classification",
        "dataset": dataset.pk,
        "dataset_sha256": dataset.sha256_hash,
        "base_model": "builtin/tiny-bert",
    }
    assert (run["seed"], run["metrics"], run["best_epoch"], run["failure_reason"]) == (7, {}, None, "")
    assert (run["error"], run["model_path"], run["environment"], run["reproduced_from"]) == ("", "", {}, None)
    assert (run["started_at"], run["finished_at"]) == (None, None)
    assert (run["job"]["status"], run["job"]["attempt"], run["job"]["worker"]) == ("pending", 0, None)


def test_a_new_run_takes_given_hyperparameters_and_the_defaults_of_the_others(api: APIClient) -> None:
    run = post(api, wanted(hyperparameters={"epochs": 2, "learning_rate": 3e-5})).json()
    assert (run["hyperparameters"]["epochs"], run["hyperparameters"]["learning_rate"]) == (2, 3e-5)
    assert (run["hyperparameters"]["batch_size"], run["seed"]) == (16, 42)


def test_the_answer_equals_what_is_read_afterwards(api: APIClient) -> None:
    created = post(api, wanted()).json()
    assert api.get(f"{API}/runs/{created['id']}").json() == created


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"dataset": 999_999}, "dataset"),
        ({"dataset": "x"}, "dataset"),
        ({"dataset": None}, "dataset"),
        ({"dataset": True}, "dataset"),
        ({"dataset": [1]}, "dataset"),
        ({"dataset": 10**30}, "dataset"),
        ({"dataset": "\x00"}, "dataset"),
        ({"dataset": "\ud800"}, "dataset"),
        ({"base_model": "nobody/nothing"}, "base_model"),
        ({"base_model": ""}, "base_model"),
        ({"base_model": 7}, "base_model"),
        ({"base_model": "\x00"}, "base_model"),
        ({"base_model": "\ud800"}, "base_model"),
        ({"base_model": {"a": 1}}, "base_model"),
        ({"name": "x" * 201}, "name"),
        ({"name": "\x00"}, "name"),
        ({"name": "\ud83d"}, "name"),
        ({"name": ["x"]}, "name"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**31}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"seed": True}, "seed"),
        ({"seed": "x"}, "seed"),
        ({"seed": None}, "seed"),
        ({"priority": 1001}, "priority"),
        ({"priority": -1001}, "priority"),
        ({"priority": False}, "priority"),
        ({"notes": "x" * 10_001}, "notes"),
        ({"hyperparameters": []}, "hyperparameters"),
        ({"hyperparameters": "epochs=3"}, "hyperparameters"),
        ({"hyperparameters": None}, "hyperparameters"),
        ({"hyperparameters": {"dropout": 0.1}}, "hyperparameters.dropout"),
        ({"hyperparameters": {"max_length": 513}}, "hyperparameters.max_length"),
        ({"hyperparameters": {"epochs": 0}}, "hyperparameters.epochs"),
        ({"hyperparameters": {"epochs": True}}, "hyperparameters.epochs"),
        ({"hyperparameters": {"epochs": "3"}}, "hyperparameters.epochs"),
        ({"hyperparameters": {"epochs": 10**300}}, "hyperparameters.epochs"),
        ({"hyperparameters": {"epochs": None}}, "hyperparameters.epochs"),
        ({"hyperparameters": {"lr_scheduler": "\ud800"}}, "hyperparameters.lr_scheduler"),
        ({"hyperparameters": {"lr_scheduler": {"a": [1]}}}, "hyperparameters.lr_scheduler"),
        ({"hyperparameters": {"\ud800": 1}}, "hyperparameters"),
        ({"hyperparameters": {"\x00": 1}}, "hyperparameters"),
    ],
)
def test_a_wrong_field_is_refused_by_name(api: APIClient, fields: dict[str, Any], named: str) -> None:
    answer = post(api, wanted(**fields))
    assert answer.status_code == 400, answer.content
    body = answer.json()
    assert (body["code"], bool(body["detail"])) == ("invalid", True)
    errors = body["errors"]
    for name in named.split("."):
        assert name in errors
        errors = errors[name]
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    "number", ["1e999", "-1e999", "NaN", "Infinity", "-Infinity", "1e400", "9" * 5000], ids=lambda text: text[:10]
)
@pytest.mark.parametrize("field", ["seed", "dataset", "priority", "learning_rate", "epochs"])
def test_a_number_beyond_all_bounds_is_a_400(api: APIClient, field: str, number: str) -> None:
    place = (
        f'"hyperparameters": {{"{field}": {number}}}'
        if field in ("learning_rate", "epochs")
        else f'"{field}": {number}'
    )
    dataset = "" if field == "dataset" else f'"dataset": {make_dataset().pk}, '
    text = f'{{{dataset}"base_model": "builtin/tiny-bert", {place}}}'
    answer = api.generic("POST", f"{API}/runs", text, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) in [(400, "invalid"), (400, "parse_error")]


def test_required_fields_that_are_missing_are_named(api: APIClient) -> None:
    answer = post(api, {})
    assert answer.status_code == 400
    assert set(answer.json()["errors"]) == {"dataset", "base_model"}


def test_every_wrong_field_is_named_at_once(api: APIClient) -> None:
    answer = post(api, {"dataset": "x", "base_model": "", "seed": -1})
    assert set(answer.json()["errors"]) == {"dataset", "base_model", "seed"}


def test_a_status_in_the_body_is_not_taken_over(api: APIClient) -> None:
    run = post(api, wanted(status="completed", task_type="x", job={"attempt": 9}, created_by=1)).json()
    assert (run["status"], run["task_type"], run["job"]["attempt"]) == ("pending", "text_classification", 0)


def test_the_list_is_a_page_newest_first(api: APIClient) -> None:
    first, second = make_run(), make_run()
    page = api.get(f"{API}/runs").json()
    assert page.keys() == {"count", "next", "previous", "results"}
    assert [run["id"] for run in page["results"]] == [second.pk, first.pk]
    assert page["results"][0].keys() >= CONTRACT_KEYS


def test_the_list_is_cut_into_pages(api: APIClient) -> None:
    dataset = make_dataset()
    for _ in range(3):
        make_run(dataset)
    page = api.get(f"{API}/runs?page_size=2").json()
    assert (page["count"], len(page["results"]), page["previous"]) == (3, 2, None)
    assert len(api.get(page["next"]).json()["results"]) == 1


def test_the_list_takes_the_same_number_of_queries_for_more_runs(
    api: APIClient, django_assert_max_num_queries: Any
) -> None:
    dataset = make_dataset()
    for _ in range(5):
        make_run(dataset)
    with django_assert_max_num_queries(5):
        api.get(f"{API}/runs")


def test_the_list_is_filtered_by_status_dataset_and_base_model(api: APIClient) -> None:
    running, waiting = make_running_job().run, make_run(base_model="xlm-roberta-base")
    for query, run in [
        ("status=running", running),
        ("status=pending", waiting),
        (f"dataset={running.dataset_id}", running),
        ("base_model=xlm-roberta-base", waiting),
    ]:
        assert [item["id"] for item in api.get(f"{API}/runs?{query}").json()["results"]] == [run.pk]


def test_the_list_is_ordered_as_asked(api: APIClient) -> None:
    dataset = make_dataset()
    names = [make_run(dataset, name=name).name for name in ("b", "a", "c")]
    assert [run["name"] for run in api.get(f"{API}/runs?ordering=name").json()["results"]] == sorted(names)


def test_a_comma_too_many_orders_by_nothing_more(api: APIClient) -> None:
    names = ["b", "a", "c"]
    for name in names:
        make_run(name=name)
    for query, expected in [(",", names[::-1]), ("name,,", sorted(names))]:
        found = api.get(f"{API}/runs?ordering={query}").json()["results"]
        assert [run["name"] for run in found] == expected


def test_what_is_empty_comes_last_where_the_latest_comes_first(api: APIClient) -> None:
    running, waiting = make_running_job().run, make_run()
    for query, expected in [("-started_at", [running, waiting]), ("started_at", [waiting, running])]:
        found = api.get(f"{API}/runs?ordering={query}").json()["results"]
        assert [run["id"] for run in found] == [run.pk for run in expected]


def test_equal_runs_are_ordered_by_age_however_the_list_is_ordered(api: APIClient) -> None:
    dataset = make_dataset()
    newest_first = [make_run(dataset, name="the same").pk for _number in range(5)][::-1]
    for query in ("name", "-name", "status,-name"):
        assert [run["id"] for run in api.get(f"{API}/runs?ordering={query}").json()["results"]] == newest_first


@pytest.mark.parametrize(
    "query", ["status=done", "dataset=x", "dataset=99999999999999999999999", "ordering=password", "base_model=%00"]
)
def test_a_wrong_filter_is_refused_by_name(api: APIClient, query: str) -> None:
    answer = api.get(f"{API}/runs?{query}")
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [query.partition("=")[0]]


@pytest.mark.parametrize("page", ["0", "-1", "99", "x", "9" * 400, "%00"])
def test_a_page_that_is_not_there_is_a_404(api: APIClient, page: str) -> None:
    assert api.get(f"{API}/runs?page={page}").status_code == 404


@pytest.mark.parametrize("pk", ["999999", "0", "9" * 30, "9" * 5000])
@pytest.mark.parametrize("route", ["", "/metrics", "/logs"])
def test_a_run_that_is_not_there_is_a_404(api: APIClient, pk: str, route: str) -> None:
    answer = api.get(f"{API}/runs/{pk}{route}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("action", ["reproduce", "cancel", "pause", "resume"])
def test_an_action_on_a_run_that_is_not_there_is_a_404(api: APIClient, action: str) -> None:
    assert api.post(f"{API}/runs/999999/{action}").status_code == 404


def test_a_finished_run_shows_its_result(api: APIClient, clock: Traveller) -> None:
    job = make_running_job(make_worker("gpu-1")[0])
    result = queue.Result(model_path="/m/run-1", metrics={"test_f1": 0.5}, best_epoch=2.0, environment={"gpu": "x"})
    queue.complete_job(job_id=job.pk, attempt=1, worker=job.worker, result=result, now=timezone.now())
    run = api.get(f"{API}/runs/{job.run_id}").json()
    assert (run["status"], run["metrics"], run["best_epoch"]) == ("completed", {"test_f1": 0.5}, 2.0)
    assert (run["model_path"], run["environment"], run["job"]["worker"]) == ("/m/run-1", {"gpu": "x"}, "gpu-1")
    assert run["finished_at"] is not None


# Metrics


def test_metrics_come_in_order_of_step_whatever_order_they_were_sent_in(api: APIClient, clock: Traveller) -> None:
    job = make_running_job()
    points = [
        {"epoch": 2.0, "step": 20, "split": "validation", "values": {"f1": 0.7}},
        {"epoch": 1.0, "step": 10, "split": "validation", "values": {"f1": 0.5, "loss": None}},
    ]
    telemetry.record_metrics(job=job, points=points)
    assert api.get(f"{API}/runs/{job.run_id}/metrics").json() == {
        "run": job.run_id,
        "results": [
            {**points[1], "created_at": "2026-03-02T12:00:00Z"},
            {**points[0], "created_at": "2026-03-02T12:00:00Z"},
        ],
    }


def test_a_run_without_metrics_has_an_empty_list(api: APIClient) -> None:
    run = make_run()
    assert api.get(f"{API}/runs/{run.pk}/metrics").json() == {"run": run.pk, "results": []}


# Reproduce


def test_reproducing_makes_a_new_run_of_the_same_inputs(api: APIClient) -> None:
    source = make_run(given={"epochs": 3}, seed=7)
    answer = api.post(f"{API}/runs/{source.pk}/reproduce")
    assert answer.status_code == 201
    run = answer.json()
    assert run.keys() >= CONTRACT_KEYS
    assert (run["reproduced_from"], run["status"], run["seed"]) == (source.pk, "pending", 7)
    assert (run["dataset_sha256"], run["hyperparameters"]) == (source.dataset_sha256, source.hyperparameters)


def test_a_reproduction_may_be_named(api: APIClient) -> None:
    answer = api.post(f"{API}/runs/{make_run().pk}/reproduce", {"name": "again"}, format="json")
    assert answer.json()["name"] == "again"


def test_a_default_beyond_the_base_model_is_fitted_to_it(api: APIClient) -> None:
    BaseModel.objects.filter(model_id="builtin/tiny-bert").update(max_length=128)
    run = post(api, wanted(hyperparameters={"long_text": "windows"})).json()
    assert (run["hyperparameters"]["max_length"], run["hyperparameters"]["window_stride"]) == (128, 64)


def test_what_was_switched_off_since_is_not_reproduced(api: APIClient) -> None:
    source = make_run()
    BaseModel.objects.filter(model_id=source.base_model).update(enabled=False)
    answer = api.post(f"{API}/runs/{source.pk}/reproduce")
    assert (answer.status_code, list(answer.json()["errors"]), Run.objects.count()) == (400, ["base_model"], 1)


@pytest.mark.parametrize("body", [{"name": "x" * 201}, {"name": ["x"]}, [], "x", {"name": "\x00"}])
def test_a_wrong_body_of_reproduce_is_refused(api: APIClient, body: Any) -> None:
    assert api.post(f"{API}/runs/{make_run().pk}/reproduce", body, format="json").status_code == 400


# Cancel, pause, resume


def test_cancelling_a_waiting_run_is_done_at_once(api: APIClient) -> None:
    run = make_run()
    answer = api.post(f"{API}/runs/{run.pk}/cancel")
    assert (answer.status_code, answer.json()["status"], answer.json()["job"]["status"]) == (
        200,
        "cancelled",
        "cancelled",
    )
    assert answer.json().keys() >= CONTRACT_KEYS


def test_cancelling_a_running_run_is_accepted_and_waits_for_the_worker(api: APIClient) -> None:
    job = make_running_job()
    for _ in range(2):
        answer = api.post(f"{API}/runs/{job.run_id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "running")


def test_cancelling_a_cancelled_run_again_is_fine(api: APIClient) -> None:
    run = make_run()
    api.post(f"{API}/runs/{run.pk}/cancel")
    assert api.post(f"{API}/runs/{run.pk}/cancel").status_code == 200


@pytest.mark.parametrize("action", ["cancel", "pause", "resume"])
def test_a_completed_run_takes_no_wishes(api: APIClient, action: str) -> None:
    job = make_running_job()
    held = {"job_id": job.pk, "attempt": 1, "worker": job.worker, "now": timezone.now()}
    queue.complete_job(**held, result=queue.Result(model_path="run"))
    answer = api.post(f"{API}/runs/{job.run_id}/{action}")
    assert (answer.status_code, answer.json()["code"]) == (409, "invalid_transition")


def test_pausing_and_resuming_a_waiting_run(api: APIClient) -> None:
    run = make_run()
    for action, status in [("pause", "paused"), ("pause", "paused"), ("resume", "pending"), ("resume", "pending")]:
        answer = api.post(f"{API}/runs/{run.pk}/{action}")
        assert (answer.status_code, answer.json()["status"]) == (200, status)


def test_pausing_a_running_run_waits_for_the_worker_and_can_be_withdrawn(api: APIClient) -> None:
    job = make_running_job()
    assert api.post(f"{API}/runs/{job.run_id}/pause").status_code == 202
    assert api.post(f"{API}/runs/{job.run_id}/resume").status_code == 200
    answer = api.post(f"{API}/runs/{job.run_id}/resume")
    assert (answer.status_code, answer.json()["code"]) == (409, "invalid_transition")


# The queue


def test_the_queue_says_how_much_waits_and_why(api: APIClient, clock: Traveller) -> None:
    held = make_running_job(make_worker("gpu-1")[0])
    waiting = make_job()
    clock.shift(120)
    answer = api.get(f"{API}/queue/status")
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() >= {
        "pending",
        "running",
        "completed",
        "failed",
        "cancelled",
        "oldest_pending_seconds",
        "workers_online",
        "workers_total",
        "jobs",
    }
    assert [body[name] for name in ("pending", "running", "completed", "failed", "cancelled")] == [1, 1, 0, 0, 0]
    assert (body["oldest_pending_seconds"], body["workers_total"], body["workers_online"]) == (120, 1, 0)
    lines = {line["id"]: line for line in body["jobs"]}
    assert lines[held.pk].keys() >= {"id", "run", "status", "worker", "waiting_reason"}
    assert (lines[held.pk]["worker"], lines[held.pk]["waiting_reason"]) == ("gpu-1", None)
    assert (lines[waiting.pk]["worker"], lines[waiting.pk]["run"]) == (None, waiting.run_id)
    assert lines[waiting.pk]["waiting_reason"]


def test_an_empty_queue_has_no_oldest_job(api: APIClient) -> None:
    body = api.get(f"{API}/queue/status").json()
    assert (body["oldest_pending_seconds"], body["jobs"], body["workers_total"]) == (None, [], 0)


def test_reading_the_queue_ends_leases_that_ran_out(api: APIClient, clock: Traveller) -> None:
    job = make_running_job()
    clock.shift(601)
    body = api.get(f"{API}/queue/status").json()
    assert (body["running"], body["pending"]) == (0, 1)
    job.refresh_from_db()
    assert (job.status, job.loss_count) == ("pending", 1)


def test_the_queue_lists_jobs_in_the_order_in_which_they_are_taken(api: APIClient) -> None:
    old, urgent = make_job(), make_job(priority=5)
    assert [line["id"] for line in api.get(f"{API}/queue/status").json()["jobs"]] == [urgent.pk, old.pk]


def test_each_reason_to_wait_is_told_apart(api: APIClient, clock: Traveller) -> None:
    def reason() -> str:
        return str(api.get(f"{API}/queue/status").json()["jobs"][-1]["waiting_reason"])

    run = make_run()
    told = [reason()]
    worker, _token = make_worker()
    told.append(reason())
    worker.last_seen_at = timezone.now()
    worker.save()
    told.append(reason())
    make_run(run.dataset)
    told.append(reason())  # one worker is free, and it takes the run before
    queue.claim_job(worker=worker, claim_id=uuid4(), now=timezone.now())
    told.append(reason())
    assert len(set(told)) == 5


def test_a_dataset_that_is_deleted_while_a_run_of_it_is_asked_for_is_a_fault_of_that_field(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, resolve = make_dataset(), hyperparameters.resolve

    def resolve_late(given: dict[str, Any]) -> dict[str, Any]:
        dataset.delete()
        return resolve(given)

    monkeypatch.setattr(hyperparameters, "resolve", resolve_late)
    answer = post(api, dataset=dataset.pk, base_model="builtin/tiny-bert")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["dataset"])
    assert not Run.objects.exists()
