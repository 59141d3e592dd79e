"""Event streams, in front of Django: it says who may listen, and one look of the process tells all who do.

A page that is open costs a task of the event loop, no thread; a look costs one query, and one more for each run that
has news.
"""

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import DatabaseError

from runs_app.api.news import News, Place, look
from runs_app.api.waiting_claims import Application, Message, Receive, Send

PATH = re.compile(r"/bert-training/api/runs/\d+/logs/?")
HEADER = "X-Live-Stream"  # of Django's answer, for us and not for the client: "<run> <id of the last line known>"
_MARK = HEADER.lower().encode()
_OURS = (_MARK, b"content-length")
LOOK_S = 0.5
KEEP_ALIVE_S = 10.0
# A platform's edge may cut long requests; the stream ends by itself before that and EventSource comes back with
# the id of its last line.
STREAM_S = 240.0
MOST_UNHEARD = 100  # looks with news; who is that far behind is cut off, comes back and reads what is missing

Listener = asyncio.Queue[News]

logger = logging.getLogger(__name__)
_threads = ThreadPoolExecutor(2, thread_name_prefix="live-streams")


@dataclass
class _Feed:
    """A run that pages are open of."""

    place: Place
    listeners: list[Listener] = field(default_factory=list)

    def publish(self, news: News) -> None:
        """To all who listen, if it is any."""
        if self.place.take(news):
            for listener in self.listeners:
                with suppress(asyncio.QueueFull):  # it is cut off as soon as it looks
                    listener.put_nowait(news)


class Watch:
    """The runs that pages are open of, and the task that looks at them while there are any."""

    def __init__(self) -> None:
        self._feeds: dict[int, _Feed] = {}
        self._task: asyncio.Task[None] | None = None
        self._is_told = False  # of the outage that lasts: one line in the log, and not two a second

    async def events(self, run_id: int, after: int) -> AsyncGenerator[str, None]:
        """Frames of a run after a line, until it is over and all is sent, or STREAM_S have passed."""
        ends, place, news = time.monotonic() + STREAM_S, Place(line=after), News()
        yield "retry: 2000\n\n"
        async for news in _missed(run_id, place):
            yield place.take(news)
        with self._listening(run_id, news.place()) as listener:
            async for news in _missed(run_id, place):  # written before it listened
                yield place.take(news)
            while not place.is_over and not listener.full() and time.monotonic() < ends:
                yield place.take(await _next(listener)) or ": alive\n\n"

    @contextmanager
    def _listening(self, run_id: int, place: Place) -> Iterator[Listener]:
        """Hears all that comes after `place`, or after what the run's other listeners have heard."""
        feed = self._feeds.setdefault(run_id, _Feed(place))
        listener = Listener(MOST_UNHEARD)
        feed.listeners.append(listener)
        if self._task is None:
            self._task = asyncio.create_task(self._go_on_looking())
        try:
            yield listener
        finally:
            feed.listeners.remove(listener)
            if not feed.listeners:
                del self._feeds[run_id]

    async def _go_on_looking(self) -> None:
        has_more = False
        while self._feeds:
            await asyncio.sleep(0 if has_more else LOOK_S)
            has_more = await self._look_once()
        self._task = None

    async def _look_once(self) -> bool:
        """Whether there is more to be read at once."""
        feeds = dict(self._feeds)
        try:
            found = await _look({run_id: replace(feed.place) for run_id, feed in feeds.items()})
        except Exception as error:  # whatever it is, the pages that are open must hear of the next look
            self._tell_once(error)
            return False
        self._is_told = False
        for run_id, feed in feeds.items():
            feed.publish(found[run_id])
        return any(news.has_more for news in found.values())

    def _tell_once(self, error: Exception) -> None:
        if not self._is_told:
            is_known = isinstance(error, DatabaseError)
            logger.warning("Open pages hear nothing at the moment: %s", error, exc_info=not is_known)
        self._is_told = True


async def _look(places: Mapping[int, Place]) -> dict[int, News]:
    return await asyncio.get_running_loop().run_in_executor(_threads, look, places)


async def _missed(run_id: int, place: Place) -> AsyncIterator[News]:
    """What the database holds after a place; who takes it moves the place."""
    has_more = not place.is_over
    while has_more:
        news = (await _look({run_id: replace(place)}))[run_id]
        yield news
        has_more = news.has_more


async def _next(listener: Listener) -> News:
    """None at all after KEEP_ALIVE_S: who listens must be told that the line is still there."""
    with suppress(TimeoutError):
        async with asyncio.timeout(KEEP_ALIVE_S):
            return await listener.get()
    return News()


class LiveStreams:
    """Sends the events where Django's answer says so by HEADER; all else passes through."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.watch = Watch()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and PATH.fullmatch(scope["path"]):
            await self._answer(scope, receive, send)
        else:
            await self.application(scope, receive, send)

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        asked: list[int] = []
        wants_events = scope["method"] == "GET"  # HEAD has the header, too

        async def pass_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = {name.lower(): value for name, value in message["headers"]}
                asked.extend(int(number) for number in headers.get(_MARK, b"").split())
                if asked:
                    kept = [(name, value) for name, value in message["headers"] if name.lower() not in _OURS]
                    message = {**message, "headers": kept}
            elif asked and wants_events:  # Django's empty body
                return
            await send(message)

        await self.application(scope, receive, pass_on)
        if asked and wants_events:
            await _until_gone(receive, self._send_events(send, *asked))

    async def _send_events(self, send: Send, run_id: int, after: int) -> None:
        async with aclosing(self.watch.events(run_id, after)) as events:
            try:
                async for text in events:
                    if text:
                        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
            except DatabaseError as error:  # it comes back by itself
                logger.warning("An event stream ends early: %s", error)
        await send({"type": "http.response.body", "body": b""})


async def _until_gone(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do the work unless the client leaves before, or is so slow to read that its time is over."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait([working, leaving], timeout=STREAM_S + KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
