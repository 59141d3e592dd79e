"""Bodies that are longer than any route takes."""

import asyncio
import json
from typing import Any

import pytest
from django.conf import LazySettings

from config.bodies import BoundedBodies

API_PATH = "/bert-training/api/datasets/upload"
CHUNK = b"x" * 2**20


class Reader:
    """An application that reads a whole body, as Django does, and then answers 200."""

    def __init__(self) -> None:
        self.taken = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            self.taken += len(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture(autouse=True)
def ten_megabytes(settings: LazySettings) -> None:
    settings.MAX_UPLOAD_MB = 10


async def _sent(application: Any, path: str, chunks: int, *, declared: bool) -> list[Any]:
    sent, left = [], chunks

    async def receive() -> Any:
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": CHUNK, "more_body": left > 0}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-length", str(chunks * len(CHUNK)).encode())] if declared else []
    await BoundedBodies(application)({"type": "http", "path": path, "headers": headers}, receive, send)
    return sent


def sent(application: Any, path: str, chunks: int, *, declared: bool = False) -> tuple[int, bytes]:
    """Status and body of the answer."""
    start, body = asyncio.run(_sent(application, path, chunks, declared=declared))
    return start["status"], body["body"]


def test_a_body_without_end_is_cut_and_refused() -> None:
    application = Reader()
    status, body = sent(application, API_PATH, 10_000)
    assert (status, json.loads(body)["code"]) == (413, "too_large")
    assert application.taken <= 11 * 2**20


def test_a_body_that_is_declared_too_long_is_refused_unread() -> None:
    application = Reader()
    assert sent(application, API_PATH, 12, declared=True)[0] == 413
    assert application.taken == 0


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_a_little_over_the_limit_is_left_for_the_form_to_refuse(declared: bool) -> None:
    application = Reader()
    assert sent(application, API_PATH, 11, declared=declared)[0] == 200
    assert application.taken == 11 * 2**20


def test_a_person_is_told_in_plain_words() -> None:
    status, body = sent(Reader(), "/admin/datasets_app/dataset/add/", 12)
    assert (status, body.decode()) == (413, "O corpo da requisição é maior do que o servidor aceita.")
