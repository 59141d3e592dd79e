"""The client: addresses, errors, and what it never does with the token."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import requests

from tests.worker_client.fake_server import SHEET
from worker_client.api import ApiClient, BearerToken
from worker_client.backoff import Backoff
from worker_client.errors import Busy, LeaseLost, Rejected, Retryable, Unauthorized


@contextmanager
def trickling_server(answer: bytes) -> Iterator[str]:
    """Answers one request, a byte every few milliseconds."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                head, _, body = answer.partition(b"\r\n\r\n")
                if body:
                    connection.sendall(head + b"\r\n\r\n")
                for byte in body or head:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.02)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    thread.join(15)


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
        (501, "http_501", Rejected),
        (503, "unavailable", Retryable),
        (507, "insufficient_storage", Retryable),
        (522, "http_522", Retryable),
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


@pytest.mark.parametrize("status", [400, 404, 405, 410])
def test_a_page_of_a_proxy_that_is_not_the_server_ends_no_attempt(server, api, status):
    server.answers["/workers/heartbeat"] = [(status, b"no such page here", {})]
    with pytest.raises(Retryable, match=f"http_{status}"):
        api.heartbeat()


def test_an_address_without_a_training_server_is_told_at_registration(server, api):
    server.answers["/workers/register"] = [(404, b"404 page not found", {})]
    with pytest.raises(Rejected, match="http_404"):
        api.register({})


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
    assert "host=" not in caught.value.detail
    server.start()


def test_an_answer_lost_on_the_way_is_asked_for_again_by_the_client_itself(server, api):
    server.swallow.append("/workers/heartbeat")
    api.heartbeat()
    assert len(server.calls("/workers/heartbeat")) == 2


def test_a_silent_server_is_given_up_in_time(server, settings):
    with server.lock, pytest.raises(Retryable, match="Read timed out"):
        ApiClient(settings.api_url, settings.token, read_timeout_s=0.2, connection_retries=0).heartbeat()


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\nX-Filler: " + b"x" * 500, b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + b" " * 500],
    ids=["in its head", "in its body"],
)
def test_an_answer_that_trickles_in_is_cut_at_a_deadline(answer):
    with trickling_server(answer) as address:
        began = time.monotonic()
        api = ApiClient(address, "btw_0123456789", read_timeout_s=0.4, connection_retries=0)
        with pytest.raises(Retryable):
            api.heartbeat()
        assert 0.7 < time.monotonic() - began < 3


def test_a_download_that_trickles_is_given_up_and_may_be_stopped_meanwhile():
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000
    with trickling_server(answer) as address:
        api = ApiClient(address, "btw_0123456789", connection_retries=0)
        with pytest.raises(Retryable, match="too slow"), api.download_dataset(1, seconds=0.5) as chunks:
            assert len(next(chunks)) < 100
            list(chunks)


def test_a_quick_answer_is_not_cut_later(server, settings):
    api = ApiClient(settings.api_url, settings.token, read_timeout_s=0.2, connection_retries=0)
    for _ in range(5):
        api.heartbeat()
        time.sleep(0.15)
    assert threading.active_count() < 20


def test_waits_grow_with_full_jitter_and_never_fall_below_what_the_server_asks():
    waits = [[backoff.next_s() for _ in range(9)] for backoff in (Backoff(cap_s=60) for _ in range(400))]
    for number, longest in enumerate([1, 2, 4, 8, 16, 32, 60, 60, 60]):
        given = [wait[number] for wait in waits]
        assert 0 <= min(given) < longest / 10
        assert longest * 0.9 < max(given) <= longest
    assert all(30 <= Backoff().next_s(30) <= 31 for _ in range(50))


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
