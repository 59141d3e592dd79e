"""What open pages share: one look at the database, in front of Django."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from runs_app.api import live_streams
from runs_app.api.live_streams import LiveStreams, Watch
from runs_app.api.news import News, Place, look
from runs_app.services import telemetry
from tests.factories import make_running_job

RETRY = "retry: 2000\n\n"


class Log:
    """Stands in for the database: one run, whose lines are numbered from 1."""

    def __init__(self) -> None:
        self.count, self.is_over, self.looks = 0, False, 0
        self.failures: list[Exception] = []

    def look(self, places: Mapping[int, Place]) -> dict[int, News]:
        self.looks += 1
        if self.failures:
            raise self.failures.pop()
        return {run_id: self._after(place) for run_id, place in places.items()}

    def _after(self, place: Place) -> News:
        lines = tuple((number, f"<{number}>") for number in range(place.line + 1, self.count + 1))
        return News(lines=lines, end="<end>" if self.is_over else "", newest=(self.count, 0))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr(live_streams, "look", log.look)
    monkeypatch.setattr(live_streams, "LOOK_S", 0.01)
    return log


async def read(watch: Watch, page: list[str], after: int = 0) -> None:
    """All that a page is told until its stream ends, without comments, as it comes."""
    async for text in watch.events(1, after):
        if not text.startswith(":"):
            page.append(text)


async def heard(watch: Watch, after: int = 0) -> str:
    page: list[str] = []
    await read(watch, page, after)
    return "".join(page)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():
            await asyncio.sleep(0.005)


async def seat(log: Log, *pages: list[str]) -> None:
    """A page asks twice before it listens, at its opening and once it has a seat: who has heard two lines does."""
    for _line in range(2):
        log.count += 1
        newest = f"<{log.count}>"
        await until(lambda newest=newest: all(newest in "".join(page) for page in pages))  # type: ignore[misc]


def expected(after: int, last: int) -> str:
    return RETRY + "".join(f"<{number}>" for number in range(after + 1, last + 1)) + "<end>"


def test_every_listener_hears_each_line_after_its_own_once_and_in_order(log: Log) -> None:
    async def listen() -> list[str]:
        watch = Watch()
        listeners = []
        for number in range(60):
            log.count += 3
            listeners.append(asyncio.ensure_future(heard(watch, after=number)))
            await asyncio.sleep(0.003)
        log.is_over = True
        return await asyncio.gather(*listeners)

    assert asyncio.run(listen()) == [expected(after, 180) for after in range(60)]


def test_a_listener_who_claims_to_know_lines_that_are_to_come_takes_none_from_the_others(log: Log) -> None:
    async def listen() -> list[str]:
        watch = Watch()
        listeners = [asyncio.ensure_future(heard(watch, after=10**9))]
        await asyncio.sleep(0.05)
        listeners.append(asyncio.ensure_future(heard(watch)))
        await asyncio.sleep(0.05)
        log.count = 3
        await asyncio.sleep(0.05)
        log.is_over = True
        return await asyncio.gather(*listeners)

    assert asyncio.run(listen()) == [RETRY + "<end>", expected(0, 3)]


def test_a_hundred_listeners_cost_no_more_looks_than_one(log: Log) -> None:
    async def listen() -> None:
        watch = Watch()
        pages: list[list[str]] = [[] for _number in range(100)]
        listeners = [asyncio.ensure_future(read(watch, page)) for page in pages]
        await seat(log, *pages)
        began, log.looks = time.monotonic(), 0
        for _number in range(8):
            log.count += 1
            await asyncio.sleep(0.02)
        assert 0 < log.looks <= (time.monotonic() - began) / live_streams.LOOK_S + 1
        log.is_over = True
        await asyncio.gather(*listeners)
        assert {"".join(page) for page in pages} == {expected(0, 10)}

    asyncio.run(listen())


def test_an_outage_is_followed_by_the_next_look(log: Log) -> None:
    async def listen() -> str:
        page: list[str] = []
        listener = asyncio.ensure_future(read(Watch(), page))
        await seat(log, page)
        log.failures = [OperationalError("away"), ValueError("a mistake")]
        log.count += 1
        await until(lambda: not log.failures)
        log.is_over = True
        await listener
        return "".join(page)

    assert asyncio.run(listen()) == expected(0, 3)


def test_an_outage_is_told_once(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    async def listen() -> None:
        page: list[str] = []
        listener = asyncio.ensure_future(read(Watch(), page))
        await seat(log, page)
        for _outage in range(2):
            log.failures = [OperationalError("away")] * 5
            await until(lambda: not log.failures)
            await seat(log, page)  # a look that finds the database there
        log.is_over = True
        await listener

    asyncio.run(listen())
    assert [record.getMessage() for record in caplog.records] == ["Open pages hear nothing at the moment: away"] * 2


def test_a_listener_far_behind_is_cut_off_and_the_others_are_not(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_streams, "MOST_UNHEARD", 3)

    async def slow(events: AsyncIterator[str], open_pages: asyncio.Event) -> list[str]:
        told = [await anext(events), await anext(events), await anext(events)]
        await open_pages.wait()
        return told + [text async for text in events]

    async def listen() -> tuple[list[str], str]:
        watch, open_pages = Watch(), asyncio.Event()
        page: list[str] = []
        first, second = (
            asyncio.ensure_future(each) for each in (slow(watch.events(1, 0), open_pages), read(watch, page))
        )
        await until(lambda: log.looks > 6)  # both have asked twice
        for _number in range(9):
            log.count += 1
            await until(lambda: f"<{log.count}>" in "".join(page))
        open_pages.set()
        told = await first
        log.is_over = True
        await second
        return told, "".join(page)

    told, all_of_it = asyncio.run(listen())
    assert told == [RETRY, "", ""]
    assert all_of_it == expected(0, 9)


def test_nothing_looks_after_the_last_page_was_closed_and_the_next_page_is_looked_for(log: Log) -> None:
    async def listen() -> str:
        watch = Watch()
        page = asyncio.ensure_future(heard(watch))
        await asyncio.sleep(0.05)
        page.cancel()
        with suppress(asyncio.CancelledError):
            await page
        await asyncio.sleep(0.05)
        log.looks = 0
        await asyncio.sleep(0.05)
        assert log.looks == 0
        page = asyncio.ensure_future(heard(watch))
        await asyncio.sleep(0.05)
        log.count, log.is_over = 1, True
        return await page

    assert asyncio.run(listen()) == expected(0, 1)


# In front of Django


def ask(application: Any, path: str, receive: Any, method: str = "GET") -> list[dict[str, Any]]:
    """The messages that the client gets."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(application({"type": "http", "method": method, "path": path}, receive, send))
    return sent


async def stays() -> dict[str, Any]:
    await asyncio.sleep(60)
    return {"type": "http.disconnect"}


async def leaves() -> dict[str, Any]:
    await asyncio.sleep(0.05)
    return {"type": "http.disconnect"}


def answer(*headers: tuple[bytes, bytes]) -> Any:
    """An application that answers with an empty body."""

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [*headers, (b"Content-Length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    return application


LOGS = "/bert-training/api/runs/1/logs"


def test_events_follow_where_django_says_so(log: Log) -> None:
    log.count, log.is_over = 3, True
    start, *bodies = ask(LiveStreams(answer((b"X-Live-Stream", b"1 2"), (b"Vary", b"Cookie"))), LOGS, stays)
    assert start["headers"] == [(b"Vary", b"Cookie")]
    assert b"".join(body["body"] for body in bodies).decode() == RETRY + "<3><end>"
    assert [body.get("more_body", False) for body in bodies] == [True] * (len(bodies) - 1) + [False]


def test_who_asks_for_the_head_of_a_stream_gets_no_events(log: Log) -> None:
    start, body = ask(LiveStreams(answer((b"X-Live-Stream", b"1 0"), (b"Vary", b"Cookie"))), LOGS, stays, "HEAD")
    assert start["headers"] == [(b"Vary", b"Cookie")]
    assert body == {"type": "http.response.body", "body": b""}
    assert log.looks == 0


def test_an_answer_that_is_no_stream_passes_as_it_is(log: Log) -> None:
    start, body = ask(LiveStreams(answer()), LOGS, stays)
    assert start["headers"] == [(b"Content-Length", b"0")]
    assert body["body"] == b""
    assert log.looks == 0


def test_a_stream_ends_when_its_page_is_closed(log: Log) -> None:
    application = LiveStreams(answer((b"X-Live-Stream", b"1 0")))
    sent = ask(application, LOGS, leaves)
    assert [message.get("more_body") for message in sent] == [None, True]


def test_a_stream_ends_though_its_client_never_reads(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_streams, "STREAM_S", 0.1)
    monkeypatch.setattr(live_streams, "KEEP_ALIVE_S", 0.1)

    async def is_stuck(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def listen() -> None:
        application = LiveStreams(answer((b"X-Live-Stream", b"1 0")))
        await asyncio.wait_for(application({"type": "http", "method": "GET", "path": LOGS}, stays, is_stuck), 2)

    asyncio.run(listen())


def test_a_stream_ends_when_the_database_is_away_at_its_beginning(log: Log) -> None:
    log.failures = [OperationalError("away")]
    sent = ask(LiveStreams(answer((b"X-Live-Stream", b"1 0"))), LOGS, stays)
    assert sent[-1] == {"type": "http.response.body", "body": b""}


# The look


@pytest.mark.django_db
def test_a_look_costs_one_query_and_one_more_for_each_run_with_lines_or_figures(
    django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.db.connection.close", lambda: None)  # it is the test's own
    jobs = [make_running_job() for _number in range(3)]
    places = {job.run_id: Place() for job in jobs}
    with django_assert_num_queries(1):
        look(places)
    point = {"epoch": 1.0, "step": 1, "split": "train", "values": {"loss": 1.0}}
    telemetry.record_metrics(job=jobs[0], points=[point])
    line = {"seq": 1, "timestamp": timezone.now(), "level": "INFO", "message": "Olá"}
    telemetry.record_logs(attempt=jobs[1].attempts.get(), lines=[line])
    with django_assert_num_queries(3):
        news = look(places)
    assert [(len(found.lines), len(found.points)) for found in news.values()] == [(0, 1), (1, 0), (0, 0)]


def test_a_place_takes_nothing_twice() -> None:
    place = Place(line=1)
    news = News(lines=((1, "<1>"), (2, "<2>")), points=((5, "<p>"),), states=("<a>", "<b>"))
    assert place.take(news) == "<2><p><a><b>"
    assert place.take(news) == ""
    assert place.take(News(states=("<a>", "<c>"))) == "<c>"
