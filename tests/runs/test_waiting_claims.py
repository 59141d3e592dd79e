"""Claims that the server holds back while the queue is empty."""

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
import requests

from runs_app.api import waiting_claims
from runs_app.api.waiting_claims import CLAIM_PATH, WaitingClaims
from tests.factories import make_job, make_worker
from tests.live_server import running_server, server_process

WAITING = 30


class Answers:
    """An application that gives these status codes in turn, and says what it was asked."""

    def __init__(self, *statuses: int) -> None:
        self.left = list(statuses)
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.bodies.append((await receive())["body"])
        await send({"type": "http.response.start", "status": self.left.pop(0), "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def _asked(application: Answers, body: bytes, path: str, *, leaves: bool) -> list[int]:
    sent: list[int] = []
    messages = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        if len(messages) == 1 and not leaves:
            await asyncio.sleep(60)
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.extend([message["status"]] if "status" in message else [])

    scope = {"type": "http", "method": "POST", "path": path}
    await WaitingClaims(application)(scope, receive, send)
    return sent


def ask(application: Answers, body: Any, path: str = CLAIM_PATH, *, leaves: bool = False) -> list[int]:
    """The status codes that the worker sees."""
    return asyncio.run(_asked(application, json.dumps(body).encode(), path, leaves=leaves))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_claims, "LOOK_AGAIN_S", 0.01)


def test_a_waiting_claim_gets_the_job_that_comes_meanwhile() -> None:
    application = Answers(204, 204, 200)
    assert ask(application, {"wait_seconds": 20}) == [200]
    assert len(set(application.bodies)) == 1


def test_a_waiting_claim_ends_with_204_when_its_time_is_over() -> None:
    assert ask(Answers(*[204] * 100), {"wait_seconds": 0.05}) == [204]


def test_a_worker_that_has_gone_is_not_waited_for() -> None:
    application = Answers(204, 200)
    assert ask(application, {"wait_seconds": 20}, leaves=True) == []
    assert application.left == [200]


def test_an_error_is_answered_at_once() -> None:
    assert ask(Answers(409), {"wait_seconds": 20}) == [409]


@pytest.mark.parametrize("wait", [0, -1, 31, "soon", None, [], 1e999], ids=str)
def test_a_wait_that_is_none_or_wrong_is_left_to_the_view(wait: Any) -> None:
    assert ask(Answers(204), {"wait_seconds": wait}) == [204]


@pytest.mark.parametrize("body", [[], "x", 3, {}], ids=str)
def test_a_body_of_another_shape_is_left_to_the_view(body: Any) -> None:
    assert ask(Answers(400), body) == [400]


def test_other_routes_are_not_asked_again() -> None:
    assert ask(Answers(204), {"wait_seconds": 20}, "/bert-training/api/workers/heartbeat") == [204]


# Against a real server


@pytest.fixture(scope="module")
def server(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("server")) as url:
        yield url


def claim(server: str, token: str, wait_seconds: float) -> requests.Response:
    body = {"claim_id": str(uuid4()), "wait_seconds": wait_seconds}
    return requests.post(server + CLAIM_PATH, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=60)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_waiting_claims_hold_no_thread_each(server: str) -> None:
    tokens = [make_worker()[1] for _ in range(WAITING)]
    with ThreadPoolExecutor(WAITING) as pool:
        answers = [pool.submit(claim, server, token, 8) for token in tokens]
        counts = []
        while not all(answer.done() for answer in answers):
            counts.append(server_process(server).num_threads())
            time.sleep(0.05)
    assert {answer.result().status_code for answer in answers} == {204}
    # Each second every claim looks into the queue, in a thread; a thread held for each would never be seen to end.
    assert sorted(counts)[len(counts) // 4] < WAITING


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_real_server_answers_a_waiting_claim_when_a_job_comes(server: str) -> None:
    _worker, token = make_worker()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(claim, server, token, 30)
        job = make_job()
        assert answer.result().json()["job"]["id"] == job.pk
