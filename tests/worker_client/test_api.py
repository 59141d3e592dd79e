"""The client: addresses, errors, and what it never does with the token."""

import pytest
import requests

from tests.worker_client.fake_server import SHEET
from worker_client.api import ApiClient, BearerToken
from worker_client.errors import Busy, LeaseLost, Rejected, Retryable, Unauthorized


@pytest.fixture
def api(settings) -> ApiClient:
    return ApiClient(settings.api_url, settings.token)


@pytest.mark.parametrize(
    ("status", "code", "raised"),
    [
        (401, "not_authenticated", Unauthorized),
        (403, "permission_denied", Unauthorized),
        (409, "lease_lost", LeaseLost),
        (409, "busy", Busy),
        (409, "invalid_transition", Rejected),
        (400, "invalid", Rejected),
        (404, "not_found", Rejected),
        (413, "too_large", Rejected),
        (429, "throttled", Retryable),
        (500, "error", Retryable),
        (503, "unavailable", Retryable),
    ],
)
def test_each_status_is_raised_as_its_class(server, api, status, code, raised):
    server.answers["/workers/heartbeat"] = [(status, {"code": code, "detail": "Why."}, {})]
    with pytest.raises(raised) as caught:
        api.heartbeat()
    assert type(caught.value) is raised
    assert (caught.value.status, caught.value.code, caught.value.detail) == (status, code, "Why.")


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("Wed, 01 Jan 2020 00:00:00 GMT", 0.0), ("soon", None), ("-3", 0.0)]
)
def test_retry_after_is_read_in_both_forms(server, api, header, seconds):
    server.answers["/workers/heartbeat"] = [(503, {"code": "unavailable", "detail": ""}, {"Retry-After": header})]
    with pytest.raises(Retryable) as caught:
        api.heartbeat()
    assert caught.value.retry_after_s == seconds


def test_field_errors_are_told(server, api):
    body = {"code": "invalid", "detail": "Invalid.", "errors": {"attempt": ["Required."]}}
    server.answers["/workers/heartbeat"] = [(400, body, {})]
    with pytest.raises(Rejected, match=r"attempt.*Required"):
        api.heartbeat()


def test_a_page_in_the_place_of_an_answer_is_asked_for_again(server, api):
    server.answers["/workers/heartbeat"] = [(200, b"<html>Sign in to the network</html>", {})]
    with pytest.raises(Retryable, match="not JSON"):
        api.heartbeat()


def test_an_error_page_of_a_proxy_is_told_by_its_status(server, api):
    server.answers["/workers/heartbeat"] = [(502, b"<html>Bad gateway</html>", {})]
    with pytest.raises(Retryable, match="http_502"):
        api.heartbeat()


def test_a_redirect_is_not_followed_and_says_where_it_leads(server, api):
    server.answers["/workers/heartbeat"] = [(301, None, {"Location": "https://new.example.gov.br/"})]
    with pytest.raises(Rejected, match=r"https://new\.example\.gov\.br/"):
        api.heartbeat()
    assert len(server.requests) == 1


def test_a_refused_connection_is_retryable_and_named(server, api):
    server.stop()
    with pytest.raises(Retryable, match="refused") as caught:
        api.heartbeat()
    assert caught.value.status == 0
    server.start()


def test_an_answer_lost_on_the_way_is_asked_for_again_by_the_client_itself(server, api):
    server.swallow.append("/workers/heartbeat")
    api.heartbeat()
    assert len(server.calls("/workers/heartbeat")) == 2


def test_a_silent_server_is_given_up_in_time(server, settings):
    with server.lock, pytest.raises(Retryable, match="Read timed out"):
        ApiClient(settings.api_url, settings.token, read_timeout_s=0.2, connection_retries=0).heartbeat()


def test_a_figure_that_is_not_finite_travels_as_null(server, api):
    job = server.add_job()
    api.claim("0b2e1d3c-0000-4000-8000-000000000001")
    api.complete(
        job_id=1, attempt=1, result={"metrics": {"f1": float("nan")}, "report": {"x": [float("inf"), "\ud800"]}}
    )
    assert job.result["metrics"] == {"f1": None}
    assert job.result["report"] == {"x": [None, "?"]}


def test_the_sheet_is_fetched_from_the_known_address_only(server, api):
    server.add_job()
    claimed = api.claim("0b2e1d3c-0000-4000-8000-000000000001")
    assert "example.invalid" in claimed.dataset.download_url
    with api.download_dataset(claimed.dataset.id) as chunks:
        assert b"".join(chunks) == SHEET


def test_a_claim_answer_without_its_fields_is_not_an_error_of_the_worker(server, api):
    server.answers["/jobs/claim"] = [(200, {"job": {"id": 1}}, {})]
    with pytest.raises(Retryable, match="cannot be read"):
        api.claim("0b2e1d3c-0000-4000-8000-000000000001")


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("job", "id", "../../other"),
        ("job", "id", True),
        ("job", "attempt", -1),
        ("job", "heartbeat_seconds", 0),
        ("job", "heartbeat_seconds", float("nan")),
        ("run", "id", "1/../../models"),
        ("run", "hyperparameters", 5),
        ("dataset", "id", "1/download?x="),
        ("dataset", "sha256", "../" * 20 + "root"),
    ],
)
def test_a_claim_answer_that_names_something_else_than_it_should_is_not_used(server, api, part, field, value):
    answer = server._job(server.add_job())
    answer[part][field] = value
    server.answers["/jobs/claim"] = [(200, answer, {})]
    with pytest.raises(Retryable, match="cannot be read"):
        api.claim("0b2e1d3c-0000-4000-8000-000000000001")


@pytest.mark.parametrize(
    "answer",
    [
        {"held_job": {"job": "../..", "attempt": 1}},
        {"held_job": "7"},
        {"poll_seconds": -1},
        {"heartbeat_seconds": "soon"},
    ],
)
def test_a_registration_that_makes_no_sense_is_asked_for_again(server, api, answer):
    server.answers["/workers/register"] = [(200, {"id": 1, "name": "pc-1", **answer}, {})]
    with pytest.raises(Retryable, match="cannot be read"):
        api.register({})


def test_the_machine_s_netrc_does_not_replace_the_token(tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine treino.example.gov.br login someone password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    session = requests.Session()
    session.auth = BearerToken("btw_mine")
    prepared = session.prepare_request(requests.Request("GET", "https://treino.example.gov.br/"))
    assert prepared.headers["Authorization"] == "Bearer btw_mine"


def test_a_proxy_of_the_environment_does_not_catch_requests_to_this_machine(server, settings, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    ApiClient(settings.api_url, settings.token).heartbeat()
    assert server.calls("/workers/heartbeat")
