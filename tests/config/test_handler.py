"""How the event loop calls Django."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import SyncToAsync

from config.handler import OneThreadHandler


async def get(path: str) -> list[Any]:
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": b""}]

    async def receive() -> Any:
        if not messages:
            await asyncio.sleep(60)
        return messages.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost")]
    await OneThreadHandler()({"type": "http", "method": "GET", "path": path, "headers": headers}, receive, send)
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
