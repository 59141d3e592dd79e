"""How the event loop calls Django."""

import asyncio
import json
from typing import Any

import pytest
from asgiref.sync import SyncToAsync

from config.handler import OneThreadHandler


async def get(path: str, kind: str = "", query: str = "") -> list[Any]:
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": b""}]

    async def receive() -> Any:
        if not messages:
            await asyncio.sleep(60)
        return messages.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), *([(b"content-type", kind.encode())] if kind else [])]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": headers}
    await OneThreadHandler()(scope, receive, send)
    return sent


def test_a_request_goes_to_its_thread_once_for_all_middleware(monkeypatch: pytest.MonkeyPatch) -> None:
    ways: list[str] = []
    go = SyncToAsync.__call__

    async def count(self: Any, *args: Any, **kwargs: Any) -> Any:
        ways.append(getattr(self.func, "__qualname__", ""))
        return await go(self, *args, **kwargs)

    monkeypatch.setattr(SyncToAsync, "__call__", count)
    start, _body = asyncio.run(get("/healthz"))
    assert start["status"] == 200
    assert len([way for way in ways if "get_response" in way]) == 1
    assert not [way for way in ways if "Middleware" in way]


@pytest.mark.parametrize("charset", ["hex", "zlib", "idna", "unicode_escape", "utf-7", "utf-16"])
def test_a_request_in_an_encoding_that_is_not_ours_is_refused(charset: str) -> None:
    start, body = asyncio.run(get("/healthz", f"multipart/form-data; boundary=x; charset={charset}"))
    assert (start["status"], json.loads(body["body"])["code"]) == (415, "unsupported_media_type")


def test_a_header_that_cannot_be_read_is_refused() -> None:
    start, body = asyncio.run(get("/healthz", "text/plain; charset*=nonsense''%41"))
    assert (start["status"], json.loads(body["body"])["code"]) == (400, "bad_request")


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", "us-ascii", "latin-1", "nonsense", ""])
def test_a_request_in_an_encoding_of_text_is_answered(charset: str) -> None:
    start, _body = asyncio.run(get("/healthz", f"text/plain; charset={charset}", "a=%C3%A9"))
    assert start["status"] == 200


def test_an_address_with_thousands_of_parameters_is_refused() -> None:
    start, body = asyncio.run(get("/healthz", "text/plain; charset=utf-8", "a=1&" * 5000))
    assert (start["status"], json.loads(body["body"])["code"]) == (400, "bad_request")
