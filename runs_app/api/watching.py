"""One look for all open pages of a process: a stream sleeps until something of its run has changed.

Pages of one run that have been told the same are told the next thing together, so that it is read and put into words
once. What a look costs grows with the runs that are watched, not with the pages.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection
from django.db.models import OuterRef, Subquery

from runs_app.models import EpochMetric, Job, LogEntry

LOOK_S = 0.5
SHOWN = ("status", "attempt", "worker", "phase", "epoch", "step", "total_steps", "eta_seconds", "progress_message")

logger = logging.getLogger(__name__)


class Watched:
    """A run that pages are open of; `version` grows with what happens to it."""

    def __init__(self) -> None:
        self.version = 0
        self.viewers = 0
        self._mark: Any = None
        self._changed = asyncio.Event()
        self._answers: dict[Hashable, asyncio.Future[Any]] = {}

    def notice(self, mark: Any) -> None:
        """What the latest look found; wakes whoever waits if that is new."""
        if mark == self._mark:
            return
        self._mark, self._answers = mark, {}
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def change_after(self, version: int, seconds: float) -> bool:
        """Wait until it is no longer as it was then; False when the time is over before."""
        if self.version == version:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), seconds)
        return self.version != version

    async def answer(self, asked: Hashable, find: Callable[[], Any]) -> Any:
        """What `find` returns, called in a thread, once for all who ask the same before the next change."""
        if asked not in self._answers:
            self._answers[asked] = asyncio.ensure_future(sync_to_async(find, thread_sensitive=False)())
        found = self._answers[asked]
        try:
            return await asyncio.shield(found)  # one page that is closed does not take it from the others
        except Exception:
            self._answers.pop(asked, None)  # the next one asks anew
            raise


class Watch:
    """The runs that are watched, and the task that looks at them while there are any."""

    def __init__(self) -> None:
        self._runs: dict[int, Watched] = {}
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def on(self, run_id: int) -> AsyncIterator[Watched]:
        """For as long as a page is open."""
        watched = self._runs.setdefault(run_id, Watched())
        watched.viewers += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())
        try:
            yield watched
        finally:
            watched.viewers -= 1
            if not watched.viewers:
                del self._runs[run_id]

    async def _look(self) -> None:
        while self._runs:
            await asyncio.sleep(LOOK_S)
            try:
                marks = await sync_to_async(_marks, thread_sensitive=False)(list(self._runs))
            except DatabaseError as error:
                logger.warning("open pages hear nothing at the moment: %s", error)
                continue
            for run_id, watched in self._runs.items():
                watched.notice(marks.get(run_id))


def _marks(run_ids: Iterable[int]) -> dict[int, tuple[Any, ...]]:
    """By run, what is different after anything that a stream tells. Gives its connection back."""
    line = LogEntry.objects.filter(job=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    point = EpochMetric.objects.filter(run=OuterRef("run")).order_by("-pk").values("pk")[:1]
    jobs = Job.objects.filter(run__in=run_ids).order_by()
    try:
        rows = jobs.values_list("run", *SHOWN, "progress_at", Subquery(line), Subquery(point))
        return {run_id: tuple(mark) for run_id, *mark in rows}
    finally:
        connection.close()


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = WeakKeyDictionary()


def watch() -> Watch:
    """That of the running event loop; a server process has one."""
    return _watches.setdefault(asyncio.get_running_loop(), Watch())
