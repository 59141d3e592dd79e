"""Claims that wait, in front of Django: `wait_seconds` of POST /jobs/claim."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

CLAIM_PATH = "/bert-training/api/jobs/claim"
LOOK_AGAIN_S = 1.0
LONGEST_WAIT_S = 30.0
LONGEST_BODY = 10_000  # a claim has a hundred bytes; anything longer is Django's to refuse
NO_CONTENT = 204

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[..., Awaitable[None]]  # (scope, receive, send)


class WaitingClaims:
    """Asks the application again until there is a job, the wait is over, or the worker has gone.

    Every look is a request of its own: between two of them neither a thread nor a database connection is held.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"].rstrip("/") == CLAIM_PATH:
            await self._claim(scope, receive, send)
        else:
            await self.application(scope, receive, send)

    async def _claim(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        first = await receive()
        wait_s = wait_seconds(first)
        if not wait_s:
            await self.application(scope, _again(first, receive), send)
            return
        deadline, answer = time.monotonic() + wait_s, await self._look(scope, first)
        while answer[0]["status"] == NO_CONTENT and (left_s := deadline - time.monotonic()) > 0:
            if await _gone(receive, min(LOOK_AGAIN_S, left_s)):
                return
            answer = await self._look(scope, first)
        for message in answer:
            await send(message)

    async def _look(self, scope: MutableMapping[str, Any], request: Message) -> list[Message]:
        """The messages of one answer."""
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        await self.application(dict(scope), _again(request, _never), keep)
        return answer


def wait_seconds(request: Message) -> float:
    """How long a claim may be held back; 0 for a body that comes in pieces and for whatever Django will refuse."""
    body = request.get("body", b"")
    if request["type"] != "http.request" or request.get("more_body") or len(body) > LONGEST_BODY:
        return 0.0
    try:
        wait = json.loads(body).get("wait_seconds", 0)
    except (ValueError, AttributeError, RecursionError):
        return 0.0
    return float(wait) if isinstance(wait, int | float) and 0 <= wait <= LONGEST_WAIT_S else 0.0


def _again(first: Message, rest: Receive) -> Receive:
    """A `receive` that begins with a message which was taken from it."""
    waiting = [first]

    async def receive() -> Message:
        return waiting.pop() if waiting else await rest()

    return receive


async def _never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets this event")


async def _gone(receive: Receive, seconds: float) -> bool:
    """Wait; True as soon as the worker closed the connection."""
    with suppress(TimeoutError):
        return (await asyncio.wait_for(receive(), seconds))["type"] == "http.disconnect"
    return False
