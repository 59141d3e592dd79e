"""A line in front of Django for what open pages ask by themselves: hundreds of them hear the same event at once."""

import asyncio
import re

from runs_app.api.waiting_claims import Application, Message, Receive, Send

PATH = re.compile(r".*/runs?/\d+/(live|curves|logs)/?")  # all are short: a stream's own answer is no more than a head
AT_ONCE = 2  # one that computes, one that waits for the database


class RefreshesInLine:
    """Lets in AT_ONCE of them: a worker's call, or a person's click, competes with no more than these."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.places = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and PATH.fullmatch(scope["path"]):
            async with self.places:
                await self.application(scope, receive, send)
        else:
            await self.application(scope, receive, send)
