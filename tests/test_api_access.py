"""Who may call what: every route against every kind of caller."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.request import Request
from rest_framework.test import APIClient

from tests.factories import client_for, make_api_token, make_job, make_user, make_worker
from tests.routes import EITHER, PERSON, ROUTES, WORKER, Route, prepare, sheet_file
from workers_app import services as workers
from workers_app.api.authentication import BearerAuthentication
from workers_app.models import ApiToken, Worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]

every_route = pytest.mark.parametrize("route", ROUTES, ids=str)
FOR_PERSONS = [route for route in ROUTES if route.who != WORKER]


def call(client: Any, route: Route, worker: Worker) -> Any:
    url, body = prepare(route, worker)
    if route.method == "GET":
        return client.get(url)
    if route.multipart:
        return client.post(url, {**body, "file": sheet_file()}, format="multipart")
    return client.post(url, body, format="json")


@every_route
def test_without_a_token_nobody_gets_in(route: Route, worker: Worker) -> None:
    answer = call(APIClient(), route, worker)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json().keys() == {"code", "detail"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["runs", "datasets/upload", "jobs/claim", "workers/register"])
def test_who_is_deleted_while_the_call_is_under_way_is_unknown(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    route = next(route for route in ROUTES if (route.method, route.path) == ("POST", path))
    client = client_for(make_api_token() if route.who == PERSON else make_worker()[1])
    authenticate = BearerAuthentication.authenticate

    def let_in(self: BearerAuthentication, request: Request) -> Any:
        found = authenticate(self, request)
        make_job()
        User.objects.all().delete()
        Worker.objects.filter(attempts=None).delete()
        return found

    monkeypatch.setattr(BearerAuthentication, "authenticate", let_in)
    answer = call(client, route, make_worker("gpu-1")[0])
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json()["code"] == "not_authenticated"


@pytest.mark.parametrize(
    "header",
    [
        "Bearer btp_unknown",
        "Bearer btw_unknown",
        "Bearer ",
        "Bearer",
        "bearer btp_x y",
        "Bearer é\x00",
        "Basic YTpi",
        "Token abc",
    ],
)
@pytest.mark.parametrize("path", ["runs", "jobs/claim", "workers/register"])
def test_an_unknown_token_is_a_401(header: str, path: str) -> None:
    answer = APIClient(HTTP_AUTHORIZATION=header).post(f"/bert-training/api/{path}", {}, format="json")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_a_revoked_token_is_refused_from_its_next_call_on() -> None:
    token = make_api_token()
    client = client_for(token)
    assert client.get("/bert-training/api/runs").status_code == 200
    workers.revoke_api_tokens(prefix=token[:12])
    answer = client.get("/bert-training/api/runs")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_the_token_of_a_person_who_may_not_log_in_any_more_is_refused() -> None:
    user = make_user(is_superuser=True)
    client = client_for(make_api_token(user))
    user.is_active = False
    user.save()
    assert client.get("/bert-training/api/runs").status_code == 401


def test_a_disabled_worker_is_refused_from_its_next_call_on(worker_api: APIClient, worker: Worker) -> None:
    workers.set_enabled(worker=worker, enabled=False)
    answer = worker_api.post("/bert-training/api/workers/heartbeat", {"state": "idle"}, format="json")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    workers.set_enabled(worker=worker, enabled=True)
    assert worker_api.post("/bert-training/api/workers/heartbeat", {"state": "idle"}, format="json").status_code == 200


def test_a_rotated_token_replaces_the_old_one(worker_api: APIClient, worker: Worker) -> None:
    token = workers.rotate_token(worker=worker)
    assert worker_api.post("/bert-training/api/workers/heartbeat", {}, format="json").status_code == 401
    assert client_for(token).post("/bert-training/api/workers/heartbeat", {}, format="json").status_code == 200


@pytest.mark.parametrize("route", [route for route in ROUTES if route.who == PERSON], ids=str)
def test_a_worker_reads_and_writes_nothing_of_the_peoples_routes(
    route: Route, worker: Worker, worker_api: APIClient
) -> None:
    answer = call(worker_api, route, worker)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


@pytest.mark.parametrize("route", [route for route in ROUTES if route.who == WORKER], ids=str)
def test_a_person_calls_none_of_the_workers_routes(route: Route, worker: Worker, api: APIClient) -> None:
    answer = call(api, route, worker)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


@pytest.mark.parametrize("route", FOR_PERSONS, ids=str)
def test_a_person_without_the_permission_is_refused(route: Route, worker: Worker) -> None:
    enough = {route.permission, route.permission.replace(".view_", ".change_")}
    every_other = {other.permission for other in FOR_PERSONS} - enough
    client = client_for(make_api_token(make_user(*every_other)))
    answer = call(client, route, worker)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


@pytest.mark.parametrize("route", FOR_PERSONS, ids=str)
def test_a_person_with_just_the_permission_gets_in(route: Route, worker: Worker) -> None:
    client = client_for(make_api_token(make_user(route.permission)))
    answer = call(client, route, worker)
    # 409: resuming a run that runs. What counts here is that permission was no obstacle.
    assert answer.status_code in ((200, 201, 202, 409) if "resume" in route.path else (200, 201, 202))


@pytest.mark.parametrize("route", [route for route in FOR_PERSONS if ".view_" in route.permission], ids=str)
def test_whoever_may_change_may_look(route: Route, worker: Worker) -> None:
    client = client_for(make_api_token(make_user(route.permission.replace(".view_", ".change_"))))
    assert call(client, route, worker).status_code == 200


@pytest.mark.parametrize("route", [route for route in ROUTES if route.who in (WORKER, EITHER)], ids=str)
def test_a_worker_gets_in_on_its_own_routes(route: Route, worker: Worker, worker_api: APIClient) -> None:
    answer = call(worker_api, route, worker)
    assert answer.status_code == (409 if route.path == "jobs/claim" else 200), answer  # it holds a job: busy


@every_route
def test_a_permission_is_asked_before_the_body_is_judged(route: Route) -> None:
    if route.method == "GET":
        return
    client = client_for(make_api_token(make_user()))
    url = route.url.format(dataset=1, run=1, job=1)
    assert client.generic("POST", url, "{", content_type="application/json").status_code == 403


@pytest.mark.parametrize("route", [route for route in FOR_PERSONS if route.method == "GET"], ids=str)
def test_the_admins_session_works_for_people(route: Route, worker: Worker) -> None:
    client = APIClient()
    client.force_login(make_user(is_superuser=True))
    assert call(client, route, worker).status_code == 200


def test_a_session_without_the_form_token_changes_nothing() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_user(is_superuser=True))
    answer = client.post("/bert-training/api/runs", {}, content_type="application/json")
    assert answer.status_code == 403


def test_a_session_is_no_worker() -> None:
    client = APIClient()
    client.force_login(make_user(is_superuser=True))
    assert client.post("/bert-training/api/jobs/claim", {}, format="json").status_code == 403


def test_a_token_in_the_address_is_not_accepted() -> None:
    assert APIClient().get(f"/bert-training/api/runs?token={make_api_token()}").status_code == 401


def test_the_use_of_a_token_is_noted() -> None:
    client_for(make_api_token()).get("/bert-training/api/runs")
    assert ApiToken.objects.get().last_used_at is not None


def test_only_a_hash_of_a_token_is_stored() -> None:
    token, (worker, worker_token) = make_api_token(), make_worker()
    row = ApiToken.objects.get()
    assert token.startswith("btp_")
    assert worker_token.startswith("btw_")
    for kept, secret in [(row, token), (worker, worker_token)]:
        assert all(secret not in str(value) for value in vars(kept).values())
        assert len(secret) >= 43 + 4
