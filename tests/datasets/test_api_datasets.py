"""/datasets, /datasets/{id} and its download."""

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from datasets_app.models import Dataset, TaskType
from runs_app.choices import ReleaseReason
from runs_app.services import queue
from tests.factories import after_lease, client_for, make_dataset, make_running_job, make_worker, sheet_bytes
from workers_app.models import Worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]

API = "/bert-training/api"
KEYS = {
    "id",
    "name",
    "description",
    "task_type",
    "sha256",
    "size_bytes",
    "original_filename",
    "sheet",
    "columns",
    "num_rows",
    "labels",
    "report",
    "created_at",
}


def ids(api: APIClient, query: str = "") -> list[int]:
    answer = api.get(f"{API}/datasets?{query}")
    assert answer.status_code == 200
    return [item["id"] for item in answer.json()["results"]]


def test_the_list_is_a_page_newest_first(api: APIClient) -> None:
    first, second = make_dataset(), make_dataset()
    page = api.get(f"{API}/datasets").json()
    assert page.keys() == {"count", "next", "previous", "results"}
    assert [item["id"] for item in page["results"]] == [second.pk, first.pk]
    assert page["results"][0].keys() >= KEYS


def test_one_dataset_is_shown_whole(api: APIClient) -> None:
    dataset = make_dataset()
    body = api.get(f"{API}/datasets/{dataset.pk}").json()
    assert body.keys() >= KEYS
    assert (body["sha256"], body["num_rows"]) == (dataset.sha256_hash, 5)
    assert body["labels"] == [{"name": "negado", "count": 2}, {"name": "provido", "count": 3}]
    assert body["report"] == {"warnings": []}


def test_the_list_is_filtered_searched_and_ordered(api: APIClient) -> None:
    one = make_dataset(name="Acórdãos", task_type=TaskType.TOKEN_CLASSIFICATION, num_rows=9)
    two = make_dataset(name="Súmulas", description="do tribunal", original_filename="planilha.xlsx")
    assert ids(api, "task_type=token_classification") == [one.pk]
    for word in ("mulas", "tribunal", "planilha", two.sha256_hash[:10].upper()):
        assert ids(api, f"search={word}") == [two.pk]
    assert ids(api, "ordering=num_rows") == [two.pk, one.pk]
    assert ids(api, "search=nothing") == []


@pytest.mark.parametrize("query", ["task_type=regression", "ordering=file", "search=%00"])
def test_a_wrong_filter_is_refused_by_name(api: APIClient, query: str) -> None:
    answer = api.get(f"{API}/datasets?{query}")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [query.partition("=")[0]])


@pytest.mark.parametrize("route", ["", "/download"])
@pytest.mark.parametrize("pk", ["999999", "9" * 30])
def test_a_dataset_that_is_not_there_is_a_404(api: APIClient, route: str, pk: str) -> None:
    answer = api.get(f"{API}/datasets/{pk}{route}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


# Download


def test_the_download_is_the_very_bytes_as_a_safe_attachment(api: APIClient) -> None:
    content = sheet_bytes()
    dataset = make_dataset(content)
    answer = api.get(f"{API}/datasets/{dataset.pk}/download")
    assert (answer.status_code, b"".join(answer.streaming_content)) == (200, content)
    assert answer.headers["ETag"] == f'"{dataset.sha256_hash}"'
    assert answer.headers["Content-Length"] == str(len(content))
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "decis%C3%B5es.xlsx" in answer.headers["Content-Disposition"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "spreadsheetml" in answer.headers["Content-Type"]


@pytest.mark.parametrize("tag", ['"{sha}"', 'W/"{sha}"', '"x", "{sha}"', "*"])
def test_who_has_the_bytes_already_is_told_so(api: APIClient, tag: str) -> None:
    dataset = make_dataset()
    answer = api.get(f"{API}/datasets/{dataset.pk}/download", HTTP_IF_NONE_MATCH=tag.format(sha=dataset.sha256_hash))
    assert answer.status_code == 304
    assert answer.headers["ETag"] == f'"{dataset.sha256_hash}"'


def test_who_has_other_bytes_gets_them(api: APIClient) -> None:
    answer = api.get(f"{API}/datasets/{make_dataset().pk}/download", HTTP_IF_NONE_MATCH='"other"')
    assert answer.status_code == 200


def test_head_of_a_download_tells_the_size_without_the_bytes(api: APIClient) -> None:
    dataset = make_dataset()
    answer = api.head(f"{API}/datasets/{dataset.pk}/download")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == str(dataset.size_bytes)


@pytest.mark.parametrize("name", ['a"b\r\nX-Evil: 1.xlsx', "a;b.xlsx", "Ω.xlsx", "", "\U0001f4a9.xlsx", "x" * 255])
def test_no_file_name_breaks_the_headers(api: APIClient, name: str) -> None:
    dataset = make_dataset(original_filename=name)
    answer = api.get(f"{API}/datasets/{dataset.pk}/download")
    assert answer.status_code == 200
    assert "X-Evil" not in answer.headers
    assert "\n" not in answer.headers["Content-Disposition"]


@pytest.mark.parametrize(
    "accept", ["application/octet-stream", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"]
)
def test_a_download_may_be_asked_for_by_its_type(api: APIClient, accept: str) -> None:
    dataset = make_dataset()
    assert api.get(f"{API}/datasets/{dataset.pk}/download", HTTP_ACCEPT=accept).status_code == 200
    missing = api.get(f"{API}/datasets/999999/download", HTTP_ACCEPT=accept)
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


def test_a_download_is_for_no_browser_to_run(api: APIClient) -> None:
    answer = api.get(f"{API}/datasets/{make_dataset().pk}/download", HTTP_ACCEPT="text/html")
    assert answer.headers["Content-Security-Policy"] == "sandbox"


def test_a_sheet_whose_file_is_gone_is_no_server_error(api: APIClient) -> None:
    dataset = make_dataset()
    dataset.file.storage.delete(dataset.file.name)
    answer = api.get(f"{API}/datasets/{dataset.pk}/download")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def download(client: APIClient, dataset: Dataset) -> int:
    return int(client.get(f"{API}/datasets/{dataset.pk}/download").status_code)


def test_a_worker_reads_the_sheet_of_the_job_that_it_holds(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    assert download(worker_api, job.run.dataset) == 200


def test_a_worker_reads_no_other_sheet(worker_api: APIClient, worker: Worker) -> None:
    make_running_job(worker)
    answer = worker_api.get(f"{API}/datasets/{make_dataset().pk}/download")
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


def test_a_worker_does_not_learn_which_sheets_exist(worker_api: APIClient) -> None:
    assert worker_api.get(f"{API}/datasets/999999/download").status_code == 403


def test_another_worker_does_not_read_the_sheet(worker: Worker) -> None:
    job = make_running_job(worker)
    assert download(client_for(make_worker()[1]), job.run.dataset) == 403


@pytest.mark.parametrize("reason", [ReleaseReason.SHUTDOWN, ReleaseReason.CRASHED])
def test_a_worker_that_gave_the_job_back_reads_no_more(
    worker_api: APIClient, worker: Worker, reason: ReleaseReason
) -> None:
    job = make_running_job(worker)
    queue.release_job(job_id=job.pk, attempt=1, worker=worker, reason=reason, now=timezone.now())
    assert download(worker_api, job.run.dataset) == 403


def test_a_worker_whose_lease_ran_out_reads_no_more(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    queue.requeue_expired(now=after_lease(job))
    assert download(worker_api, job.run.dataset) == 403


def test_a_worker_whose_lease_ran_out_unnoticed_reads_no_more(
    worker_api: APIClient, worker: Worker, clock: object
) -> None:
    job = make_running_job(worker)
    clock.shift(601)  # type: ignore[attr-defined]
    assert download(worker_api, job.run.dataset) == 403


def test_a_worker_that_completed_the_job_reads_no_more(worker_api: APIClient, worker: Worker) -> None:
    job = make_running_job(worker)
    result = queue.Result(model_path="run")
    queue.complete_job(job_id=job.pk, attempt=1, worker=worker, result=result, now=timezone.now())
    assert download(worker_api, job.run.dataset) == 403
