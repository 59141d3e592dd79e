"""What all routes of the API share: methods, slashes, kinds of content, errors, the browsable pages."""

import bz2
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from tests.factories import make_dataset, make_run, make_running_job, make_user
from tests.routes import API, ROUTES, WORKER, Route, prepare
from workers_app.models import Worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]

GETS = [route for route in ROUTES if route.method == "GET"]
POSTS = [route for route in ROUTES if route.method == "POST"]
NO_JSON = ["{", "nul", "\x00", '{"a": NaN}', "\xff", "[" * 100_000, '{"a":' * 5_000, "[" * 150 + "]" * 150]
WITHOUT_BODY = ("cancel", "pause", "resume")
JSON_POSTS = [route for route in POSTS if not route.multipart and not route.path.endswith(WITHOUT_BODY)]


def client_of(route: Route, api: APIClient, worker_api: APIClient) -> APIClient:
    return worker_api if route.who == WORKER else api


@pytest.mark.parametrize("route", GETS, ids=str)
def test_one_trailing_slash_is_tolerated_when_reading(route: Route, worker: Worker, api: APIClient) -> None:
    url, _body = prepare(route, worker)
    path, _mark, query = url.partition("?")
    assert api.get(f"{path}/?{query}").status_code == 200


def test_one_trailing_slash_is_tolerated_when_writing(worker_api: APIClient) -> None:
    assert worker_api.post(f"{API}/workers/heartbeat/", {"state": "idle"}, format="json").status_code == 200


def test_two_trailing_slashes_lead_nowhere(api: APIClient) -> None:
    assert api.get(f"{API}/runs//").status_code == 404


@pytest.mark.parametrize("path", ["nothing", "runs/x", "runs/-1", "runs/1/nothing", "jobs", "runs/1.0", "runs/%00"])
def test_an_unknown_address_is_a_404_in_json(api: APIClient, path: str) -> None:
    answer = api.get(f"{API}/{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_a_method_that_a_route_does_not_know_is_a_405(
    route: Route, worker: Worker, api: APIClient, worker_api: APIClient
) -> None:
    url, _body = prepare(route, worker)
    for method in ("PUT", "PATCH", "DELETE"):
        answer = client_of(route, api, worker_api).generic(method, url, "{}", content_type="application/json")
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert route.method in answer.headers["Allow"]


@pytest.mark.parametrize("route", [r for r in POSTS if r.path not in ("runs",)], ids=str)
def test_reading_what_can_only_be_written_is_a_405(
    route: Route, worker: Worker, api: APIClient, worker_api: APIClient
) -> None:
    url, _body = prepare(route, worker)
    assert client_of(route, api, worker_api).get(url).status_code == 405


@pytest.mark.parametrize("route", JSON_POSTS, ids=str)
def test_another_kind_of_content_is_a_415(route: Route, worker: Worker, api: APIClient, worker_api: APIClient) -> None:
    url, _body = prepare(route, worker)
    for kind in ("text/plain", "application/xml", "multipart/form-data; boundary=x", "x"):
        answer = client_of(route, api, worker_api).generic("POST", url, "<a/>", content_type=kind)
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type"), kind


@pytest.mark.parametrize("route", [route for route in POSTS if route.multipart], ids=str)
def test_a_sheet_that_is_not_sent_as_a_form_is_a_415(route: Route, api: APIClient) -> None:
    answer = api.generic("POST", route.url, "{}", content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("route", JSON_POSTS, ids=str)
def test_what_is_not_json_is_a_400(route: Route, worker: Worker, api: APIClient, worker_api: APIClient) -> None:
    url, _body = prepare(route, worker)
    for text in NO_JSON:
        answer = client_of(route, api, worker_api).generic("POST", url, text, content_type="application/json")
        assert (answer.status_code, answer.json()["code"]) == (400, "parse_error"), text[:20]


@pytest.mark.parametrize("route", JSON_POSTS, ids=str)
def test_json_that_is_no_object_is_a_400(route: Route, worker: Worker, api: APIClient, worker_api: APIClient) -> None:
    url, _body = prepare(route, worker)
    for text in ("[]", "[1]", '"x"', "1", "true", "1e999"):
        answer = client_of(route, api, worker_api).generic("POST", url, text, content_type="application/json")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid"), text


def test_an_empty_body_is_read_as_an_empty_object(api: APIClient, worker_api: APIClient) -> None:
    missing = api.generic("POST", f"{API}/runs", "", content_type="application/json")
    assert (missing.status_code, set(missing.json()["errors"])) == (400, {"dataset", "base_model"})
    assert worker_api.generic("POST", f"{API}/workers/heartbeat", "").status_code == 200


@pytest.mark.parametrize("charset", ["bz2_codec", "zlib_codec", "nonsense", "rot13", "utf-16"])
@pytest.mark.parametrize("path", ["runs", "jobs/claim"])
def test_json_in_an_encoding_that_is_none_is_refused_and_never_unpacked(
    path: str, charset: str, api: APIClient, worker_api: APIClient
) -> None:
    client = api if path == "runs" else worker_api
    body = bz2.compress(b" " * 1000 + b"{}")
    answer = client.generic("POST", f"{API}/{path}", body, content_type=f"application/json; charset={charset}")
    assert answer.status_code in (400, 415)


@pytest.mark.parametrize("path", [f"{API}/runs", f"{API}/schema", "/admin/login/"])
def test_a_session_that_no_database_can_look_up_is_none(path: str) -> None:
    client = APIClient(raise_request_exception=False, headers={"Cookie": f'sessionid="\\000{"a" * 31}"'})
    assert client.get(path).status_code == (401 if path.endswith("runs") else 200)


@pytest.mark.parametrize("route", JSON_POSTS, ids=str)
def test_a_body_of_ten_megabytes_is_refused(
    route: Route, worker: Worker, api: APIClient, worker_api: APIClient
) -> None:
    url, _body = prepare(route, worker)
    text = '{"name": "' + "x" * 10 * 2**20 + '"}'
    answer = client_of(route, api, worker_api).generic("POST", url, text, content_type="application/json")
    assert answer.status_code in (400, 413)
    assert answer.json()["code"] in ("too_large", "invalid", "parse_error")


def test_an_error_has_a_code_a_sentence_and_the_fields(api: APIClient) -> None:
    answer = api.post(f"{API}/runs", {}, format="json").json()
    assert answer.keys() == {"code", "detail", "errors"}
    assert "dataset" in answer["detail"]


@pytest.mark.parametrize("route", GETS, ids=str)
def test_head_answers_as_get_without_a_body(route: Route, worker: Worker, api: APIClient) -> None:
    url, _body = prepare(route, worker)
    answer = api.head(url)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_options_describes_the_route(route: Route, worker: Worker, api: APIClient, worker_api: APIClient) -> None:
    url, _body = prepare(route, worker)
    answer = client_of(route, api, worker_api).options(url)
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["", "datasets", "datasets/{d}", "runs", "runs/{r}", "runs/{r}/metrics"])
def test_each_page_opens_in_a_browser(path: str) -> None:
    page = browser().get(f"{API}/{path.format(d=make_dataset().pk, r=make_run().pk)}", HTTP_ACCEPT="text/html")
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert b"</html>" in page.content


@pytest.mark.parametrize("path", ["queue/status", "workers", "runs/{r}/logs", "runs/{r}/cancel", "datasets/upload"])
def test_each_other_page_opens_in_a_browser(path: str) -> None:
    page = browser().get(f"{API}/{path.format(r=make_running_job().run_id)}", HTTP_ACCEPT="text/html,*/*;q=0.8")
    assert page.status_code in (200, 405)  # a form that can only be sent is shown with 405
    assert b"</html>" in page.content


@pytest.mark.parametrize("path", ["docs", "schema"])
def test_documentation_needs_no_token(path: str) -> None:
    assert APIClient().get(f"{API}/{path}").status_code == 200


def test_the_front_door_leads_people_to_the_admin() -> None:
    for address in ("/", "/bert-training", "/bert-training/"):
        answer = Client().get(address)
        assert (answer.status_code, answer.headers["Location"]) == (302, reverse("admin:index"))


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_while_the_database_is_away_the_answer_is_503_with_retry_after(
    route: Route, worker: Worker, api: APIClient, worker_api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, body = prepare(route, worker)
    client = client_of(route, api, worker_api)

    def away(*_args: Any, **_kwargs: Any) -> None:
        raise OperationalError("the database system is shutting down")

    monkeypatch.setattr("django.db.backends.utils.CursorWrapper.execute", away)
    answer = client.get(url) if route.method == "GET" else client.post(url, body, format="json")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0


def test_the_admin_says_so_too_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: Any, **_kwargs: Any) -> None:
        raise OperationalError("the database system is shutting down")

    client = browser()
    monkeypatch.setattr("django.db.backends.utils.CursorWrapper.execute", away)
    answer = client.get("/admin/")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def browser() -> APIClient:
    """A person logged in to the admin."""
    client = APIClient(raise_request_exception=False)
    client.force_login(make_user(is_superuser=True))
    return client
