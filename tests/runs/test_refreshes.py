"""The line for what open pages ask by themselves."""

import asyncio
from typing import Any

import pytest

from runs_app.api.refreshes import AT_ONCE, RefreshesInLine

ASKING = 20


class Busy:
    """An application that remembers how many asked it at the same time, at most."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def __call__(self, *_arguments: Any) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.01)
        self.now -= 1


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
        await asyncio.gather(*(line({"type": "http", "path": path}, None, None) for _number in range(ASKING)))

    asyncio.run(ask_all())
    assert busy.most == most


def test_one_that_fails_leaves_its_place() -> None:
    async def fail(*_arguments: Any) -> None:
        raise ValueError

    async def ask_often() -> None:
        line = RefreshesInLine(fail)
        for _number in range(AT_ONCE + 1):
            with pytest.raises(ValueError):
                await asyncio.wait_for(line({"type": "http", "path": "/runs/7/logs"}, None, None), 1)

    asyncio.run(ask_often())
