"""What a run has to tell after a place, as frames of an event stream; for many runs at one look."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any

from django.db import connection
from django.db.models import Model, OuterRef, QuerySet, Subquery
from django.utils import timezone
from rest_framework.serializers import BaseSerializer
from rest_framework.utils.encoders import JSONEncoder

from runs_app.api.serializers import JobSerializer, LogSerializer, MetricSerializer
from runs_app.choices import TERMINAL
from runs_app.models import EpochMetric, Job, LogEntry

MOST_ROWS = 500  # of lines, and of figures, that one look reads of a run

Numbered = tuple[int, str]  # the id of a row, and its frame


@dataclass(frozen=True)
class News:
    """Frames after a place. The states are told whole each time: who hears them leaves out what he knows."""

    lines: tuple[Numbered, ...] = ()
    points: tuple[Numbered, ...] = ()
    states: tuple[str, ...] = ()
    end: str = ""  # the last frame of all, once the run is over and nothing is left to be read
    newest: tuple[int, int] = (0, 0)  # ids of the last line and the last figure that were there at the look

    @property
    def has_more(self) -> bool:
        """Whether another look finds more at once."""
        return MOST_ROWS in (len(self.lines), len(self.points))

    def place(self) -> "Place":
        """Of somebody who has heard all of it. By what is there: anybody may claim to know a line that is to come."""
        return Place(*self.newest, self.states)


@dataclass
class Place:
    """How far somebody has heard of a run."""

    line: int = 0  # ids of rows
    point: int = 0
    states: tuple[str, ...] = ()
    is_over: bool = False

    def take(self, news: News) -> str:
        """The frames that are new here, and the place behind them."""
        frames = [frame for number, frame in news.lines if number > self.line]
        frames += [frame for number, frame in news.points if number > self.point]
        frames += [frame for frame in news.states if frame not in self.states]
        self.line = max([self.line, *(number for number, _frame in news.lines[-1:])])
        self.point = max([self.point, *(number for number, _frame in news.points[-1:])])
        self.states = news.states or self.states
        self.is_over = bool(news.end)
        return "".join([*frames, news.end])


@timezone.override(UTC)  # it runs in a thread of its own, out of the middleware's reach
def look(places: Mapping[int, Place]) -> dict[int, News]:
    """The news of each run after its place: one query, and one more for each run with new lines or figures.

    Gives its connection back: who listens must not hold the pool.
    """
    try:
        found = {job.run_id: _news(job, places[job.run_id]) for job in _jobs(places)}
    finally:
        connection.close()
    deleted = News(end=_frame("end", {"status": None}))
    return {run_id: found.get(run_id, deleted) for run_id in places}


def _jobs(run_ids: Iterable[int]) -> QuerySet[Job]:
    """With the ids of their newest line and figure, read at the same moment as the status."""
    line = LogEntry.objects.filter(job=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    point = EpochMetric.objects.filter(run=OuterRef("run")).order_by("-pk").values("pk")[:1]
    jobs = Job.objects.filter(run__in=list(run_ids)).select_related("worker").order_by()
    return jobs.annotate(newest_line=Subquery(line), newest_point=Subquery(point))


def _news(job: Any, place: Place) -> News:
    # The status was read before the lines: when it says that the run is over, all lines are there to be read.
    newest = (job.newest_line or 0, job.newest_point or 0)
    lines = job.logs.order_by("pk")
    points = EpochMetric.objects.filter(run=job.run_id).order_by("pk")
    news = News(
        lines=_after(place.line, newest[0], lines, LogSerializer, "log"),
        points=_after(place.point, newest[1], points, MetricSerializer, "metric"),
        states=_states(job),
        newest=newest,
    )
    if job.status not in TERMINAL or news.has_more:
        return news
    return replace(news, end=_frame("end", {"status": job.status}))


def _after(
    known: int, newest: int, rows: QuerySet[Any], serializer: type[BaseSerializer[Any]], event: str
) -> tuple[Numbered, ...]:
    if newest <= known:
        return ()
    return tuple((row.pk, _row_frame(event, row, serializer)) for row in rows.filter(pk__gt=known)[:MOST_ROWS])


def _row_frame(event: str, row: Model, serializer: type[BaseSerializer[Any]]) -> str:
    """Only lines carry an id: what a browser sends back is that of its last line."""
    return _frame(event, serializer(row).data, row.pk if event == "log" else None)


def _states(job: Job) -> tuple[str, ...]:
    state = JobSerializer(job).data
    status = {key: state[key] for key in ("status", "attempt", "worker")}
    status |= {"cancel_requested": job.cancel_requested_at is not None}
    status |= {"pause_requested": job.pause_requested_at is not None}
    return _frame("status", status), _frame("progress", state["progress"])


def _frame(event: str, data: Any, event_id: int | None = None) -> str:
    identity = f"id: {event_id}\n" if event_id is not None else ""
    return f"event: {event}\n{identity}data: {json.dumps(data, cls=JSONEncoder, ensure_ascii=False)}\n\n"
