"""The line for what open pages ask by themselves."""

import asyncio
from typing import Any

import pytest

from runs_app.api.refreshes import AT_ONCE, RefreshesInLine

ASKING = 20


async def answer(_scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start"})
    await send({"type": "http.response.body"})


class Busy:
    """An application that remembers how many asked it at the same time, at most, and that works on after its answer."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await answer(scope, receive, send)
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.01)
        self.now -= 1


LOGS = {"type": "http", "path": "/runs/7/logs"}


async def asks() -> dict[str, Any]:
    return {"type": "http.request", "body": b""}


async def is_stuck(*_message: Any) -> Any:
    await asyncio.Event().wait()


async def reads(_message: Any) -> None:
    """Takes the answer at once."""


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/admin/runs_app/run/7/live/", AT_ONCE),
        ("/admin/runs_app/run/7/curves/", AT_ONCE),
        ("/bert-training/api/runs/7/logs", AT_ONCE),
        ("/admin/runs_app/run/7/change/", ASKING),
        ("/bert-training/api/logs/batch", ASKING),
        ("/bert-training/api/workers/heartbeat", ASKING),
    ],
)
def test_only_what_pages_ask_by_themselves_waits_in_line(path: str, most: int) -> None:
    busy = Busy()

    async def ask_all() -> None:
        line = RefreshesInLine(busy)
        await asyncio.gather(*(line({"type": "http", "path": path}, asks, reads) for _number in range(ASKING)))

    asyncio.run(ask_all())
    assert busy.most == most


def test_one_that_fails_leaves_its_place() -> None:
    async def fail(_scope: Any, receive: Any, _send: Any) -> None:
        await receive()
        raise ValueError

    async def ask_often() -> None:
        line = RefreshesInLine(fail)
        for _number in range(AT_ONCE + 1):
            with pytest.raises(ValueError):
                await asyncio.wait_for(line(LOGS, asks, reads), 1)

    asyncio.run(ask_often())


@pytest.mark.parametrize(
    ("receive", "send"), [(is_stuck, reads), (asks, is_stuck)], ids=["asking whole", "reading the answer"]
)
def test_clients_that_never_come_to_an_end_keep_nobody_waiting(receive: Any, send: Any) -> None:
    async def ask_behind_them() -> None:
        line = RefreshesInLine(answer)
        stuck = [asyncio.ensure_future(line(LOGS, receive, send)) for _number in range(AT_ONCE)]
        await asyncio.sleep(0.01)
        await asyncio.wait_for(line(LOGS, asks, reads), 1)
        assert not any(client.done() for client in stuck)
        for client in stuck:
            client.cancel()

    asyncio.run(ask_behind_them())
