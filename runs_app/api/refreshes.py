"""A line in front of Django for what open pages ask by themselves: hundreds of them hear the same event at once."""

import asyncio
import re
from contextlib import AsyncExitStack

from runs_app.api.waiting_claims import Application, Message, Receive, Send

PATH = re.compile(r".*/runs?/\d+/(live|curves|logs)/?")
AT_ONCE = 2  # one that computes, one that waits for the database


class RefreshesInLine:
    """Lets in AT_ONCE of them: a worker's call, or a person's click, competes with no more than these.

    A place is held while Django is at work, which goes on when the answer is complete: it closes the connection to the
    database. A client that is slow to ask, or to read, keeps nobody waiting.
    """

    def __init__(self, application: Application) -> None:
        self.application = application
        self.places = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and PATH.fullmatch(scope["path"]):
            await self._in_line(scope, receive, send)
        else:
            await self.application(scope, receive, send)

    async def _in_line(self, scope: Message, receive: Receive, send: Send) -> None:
        answer: list[Message] = []
        async with AsyncExitStack() as place:

            async def receive_in_line() -> Message:
                message = await receive()
                if message["type"] == "http.request" and not message.get("more_body"):
                    await place.enter_async_context(self.places)
                return message

            async def keep(message: Message) -> None:
                answer.append(message)

            await self.application(scope, receive_in_line, keep)
        for message in answer:
            await send(message)
