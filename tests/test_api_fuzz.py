"""Whatever is sent to whatever address by whomever: never a server error."""

import json
import random
from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.factories import make_dataset, make_running_job
from tests.routes import ROUTES, Route
from workers_app.models import Worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]

NASTY: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    2**31,
    2**63,
    10**40,
    "",
    " ",
    "x",
    "0",
    "1e999",
    "\x00",
    "\ud800",
    "é\N{PILE OF POO}",
    "x" * 70_000,
    "../../etc/passwd",
    "2026-13-45",
    [],
    [None],
    [[]],
    [{}],
    {},
    {"": 1},
    {"\x00": "\ud800"},
    {"a": {"b": {"c": []}}},
]
SEED = 20260302


def bodies(route: Route, numbers: dict[str, int], chance: random.Random) -> list[str]:
    """The route's body with one field after another made nasty, and bodies that are nasty as a whole."""
    good = {name: numbers.get(name, value) for name, value in route.body.items()}
    spoilt = [{**good, name: value} for name in good for value in chance.sample(NASTY, 12)]
    extra = [{**good, name: value} for name in FIELDS for value in chance.sample(NASTY, 3)]
    whole = [*chance.sample(NASTY, 6), good]
    texts = [json.dumps(body) for body in [*spoilt, *extra, *whole]]
    return [*texts, json.dumps(good).replace("1", "1e999"), json.dumps(good)[:-1], "\x00\xff"]


FIELDS = ("name", "hyperparameters", "metrics", "lines", "gpus", "base_models", "report", "wait_seconds", "notes")


@pytest.mark.parametrize("route", [route for route in ROUTES if route.method == "POST"], ids=str)
def test_no_body_breaks_the_server(route: Route, worker: Worker, api: APIClient, worker_api: APIClient) -> None:
    dataset = make_dataset()
    job = make_running_job(worker, dataset=dataset)
    numbers = {"dataset": dataset.pk, "run": job.run_id, "job": job.pk}
    url = route.url.format(**numbers)
    for text in bodies(route, numbers, random.Random(SEED)):
        for client in (api, worker_api):
            answer = client.generic("POST", url, text.encode("utf-8", "surrogatepass"), "application/json")
            assert answer.status_code < 500, f"{route}: {text[:200]} -> {answer.content!r}"
            if answer.status_code >= 400:
                assert answer.json().keys() >= {"code", "detail"}


LISTS = ("datasets", "runs", "workers", "queue/status", "runs/{run}/logs?format=json")


@pytest.mark.parametrize("route", [route for route in ROUTES if route.method == "GET" and route.path in LISTS], ids=str)
def test_no_query_breaks_the_server(route: Route, worker: Worker, api: APIClient) -> None:
    job = make_running_job(worker)
    url = route.url.format(dataset=job.run.dataset_id, run=job.run_id, job=job.pk).partition("?")[0]
    names = ("page", "page_size", "ordering", "search", "status", "dataset", "base_model", "task_type", "after")
    values = ("", "x", "-1", "0", "9" * 30, "%00", "%ff", "%ED%A0%80", "1e999", "a" * 5000, "'%22;--", "[]", "null")
    for name in names:
        for value in values:
            answer = api.get(f"{url}?{name}={value}&format=json")
            assert answer.status_code < 500, f"{url}?{name}={value}"


@pytest.mark.parametrize("kind", ["*/*;q=x", "image/png", "\xff", "application/json;q=0", "," * 500, "a" * 9000])
@pytest.mark.parametrize("path", ["runs", "queue/status", "workers", "datasets", "runs/{run}/logs"])
def test_no_accept_header_breaks_the_server(path: str, kind: str, worker: Worker, api: APIClient) -> None:
    job = make_running_job(worker)
    answer = api.get(f"/bert-training/api/{path.format(run=job.run_id)}", HTTP_ACCEPT=kind)
    assert answer.status_code < 500


@pytest.mark.parametrize("value", ["x", "-1", "9" * 30, "", "\xff", "1.5", "0x1", "٣"])
def test_no_last_event_id_breaks_the_server(value: str, worker: Worker, api: APIClient) -> None:
    job = make_running_job(worker)
    url = f"/bert-training/api/runs/{job.run_id}/logs?format=json"
    assert api.get(url, HTTP_LAST_EVENT_ID=value.encode().decode("latin-1")).status_code in (200, 400)


def part(disposition: bytes) -> bytes:
    """A form of one part."""
    return b"--x\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\nPK\r\n--x--\r\n"


MANY_FIELDS = b"".join(part(b"name=a%d" % number) for number in range(2000))


@pytest.mark.parametrize("path", ["datasets/validate", "datasets/upload"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=", b""),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"--x--"),
        ("multipart/form-data; boundary=x", part(b'name="file"')),
        ("multipart/form-data; boundary=x", part(b'filename="a"')),
        ("multipart/form-data; boundary=x", part(b'name="file"; filename="a\x00.xlsx"')),
        ("multipart/form-data; boundary=x", part(b'name="file"; filename="../../a.xlsx"')),
        ("multipart/form-data; boundary=x", part(b'name="file"; filename=""')),
        ("multipart/form-data; boundary=x", MANY_FIELDS),
        ("multipart/form-data; boundary=x; charset=nonsense", b"--x--"),
        ("multipart/form-data; boundary=" + "x" * 300, b"--x--"),
        ("multipart/form-data; boundary=\xe9", b"--x--"),
    ],
    ids=str,
)
def test_no_form_breaks_the_server(path: str, kind: str, body: bytes, api: APIClient) -> None:
    answer = api.generic("POST", f"/bert-training/api/{path}", body, kind)
    assert 400 <= answer.status_code < 500
    assert answer.json().keys() >= {"code", "detail"}
