"""What open pages of one run share: a look, an answer, the end of a wait."""

import asyncio
from typing import Any

import pytest

from runs_app.api.watching import Watch, Watched


def test_pages_that_were_told_the_same_are_answered_by_one_look() -> None:
    looks: list[str] = []

    async def ask_thrice() -> list[Any]:
        watched = Watched()
        asked = [watched.answer(place, lambda place=place: looks.append(place) or len(looks)) for place in "aab"]
        return await asyncio.gather(*asked)

    answers = asyncio.run(ask_thrice())
    assert sorted(looks) == ["a", "b"]
    assert answers[0] == answers[1]


def test_after_a_change_it_is_looked_again() -> None:
    async def ask_around_a_change() -> list[Any]:
        watched, answers = Watched(), iter("12")
        before = await watched.answer("place", lambda: next(answers))
        watched.notice("a line")
        return [before, await watched.answer("place", lambda: next(answers))]

    assert asyncio.run(ask_around_a_change()) == ["1", "2"]


def test_a_failed_look_is_told_to_those_who_asked_and_tried_again_by_the_next() -> None:
    async def ask_twice() -> Any:
        watched = Watched()
        with pytest.raises(ZeroDivisionError):
            await watched.answer("place", lambda: 1 // 0)
        return await watched.answer("place", lambda: "well")

    assert asyncio.run(ask_twice()) == "well"


def test_a_page_that_is_closed_does_not_take_the_answer_from_the_others() -> None:
    async def close_one() -> Any:
        watched, go_on = Watched(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def find() -> str:
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(5)
            return "found"

        closed, open_ = (asyncio.create_task(watched.answer("place", find)) for _ in range(2))
        await asyncio.sleep(0)
        closed.cancel()
        go_on.set()
        return await open_

    assert asyncio.run(close_one()) == "found"


def test_a_change_ends_the_wait_and_the_same_again_does_not() -> None:
    async def wait_twice() -> list[bool]:
        watched = Watched()
        watched.notice("a line")
        loop, version = asyncio.get_running_loop(), watched.version
        loop.call_soon(watched.notice, "a line")
        same = await watched.change_after(version, 0.05)
        loop.call_soon(watched.notice, "another")
        return [same, await watched.change_after(version, 5)]

    assert asyncio.run(wait_twice()) == [False, True]


def test_a_change_before_the_wait_is_not_missed() -> None:
    async def change_first() -> bool:
        watched = Watched()
        version = watched.version
        watched.notice("a line")
        return await watched.change_after(version, 5)

    assert asyncio.run(change_first())


def test_a_run_is_watched_together_and_only_while_a_page_is_open() -> None:
    async def open_and_close() -> list[Any]:
        watch = Watch()
        async with watch.on(7) as first, watch.on(7) as second:
            together = first is second
        async with watch.on(7) as later:
            return [together, later is first]

    assert asyncio.run(open_and_close()) == [True, False]
