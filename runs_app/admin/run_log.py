"""The log of a run's page: any stretch of it by position, filtered, and the whole as a file."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django import forms
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.db.models import Count, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils.formats import date_format
from django.utils.http import content_disposition_header
from django.utils.timezone import localtime
from django.utils.translation import gettext_lazy as _

from runs_app.models import Job, LogEntry, Run

LINES_SHOWN = 100  # with the page itself: more than its box holds
LINES_OF_FAILURE = 20
STRETCH = 200  # lines that one request gives
PIECE = 2000  # lines of the file that are read at once
LEVELS = {
    "WARNING": (_("warnings and errors"), ("WARNING", "ERROR", "CRITICAL")),
    "ERROR": (_("errors only"), ("ERROR", "CRITICAL")),
}


class LogQuery(forms.Form):
    """Which lines; without `start` the last ones."""

    start = forms.IntegerField(required=False, min_value=0, max_value=10**9)
    level = forms.ChoiceField(
        required=False, choices=[("", ""), *((name, word) for name, (word, _in) in LEVELS.items())]
    )
    search = forms.CharField(required=False, max_length=200, strip=False)


def stretch(job: Job, start: int | None, level: str = "", search: str = "") -> dict[str, Any]:
    """STRETCH lines from position `start` of those that match, the number of all that match, and the newest id given.

    Lines stand in the order of attempt and number, which an index holds: ids of one run have those of others between.
    """
    found = _matching(job, level, search)
    if start is None:
        return tail(found, STRETCH)
    return {"start": start, "lines": [_line(entry) for entry in found[start : start + STRETCH]]}


def tail(found: QuerySet[LogEntry], count: int) -> dict[str, Any]:
    """The last `count` of `found`, and the number of all: in one query, so that no line comes in between."""
    number = found.order_by().values("job").annotate(n=Count("pk")).values("n")
    lines: list[Any] = newest(found.annotate(number=Subquery(number)), count)
    total = lines[0].number if lines else 0
    last_id = max((line.pk for line in lines), default=0)
    return {"total": total, "start": total - len(lines), "last_id": last_id, "lines": [_line(line) for line in lines]}


def newest(found: QuerySet[LogEntry], count: int) -> list[LogEntry]:
    """The last ones, oldest first."""
    return list(found.order_by("-attempt", "-seq")[:count])[::-1]


def last_lines(job: Job, count: int = LINES_SHOWN) -> dict[str, Any]:
    """What the page begins with."""
    return tail(_matching(job), count)


def end_of_log(job: Job) -> str:
    """What a failed run shows beside the cause."""
    lines = newest(_matching(job), LINES_OF_FAILURE)
    return "\n".join(f"{date_format(localtime(line.timestamp), 'H:i:s')} {line.level} {line.message}" for line in lines)


def _matching(job: Job, level: str = "", search: str = "") -> QuerySet[LogEntry]:
    found = LogEntry.objects.filter(job=job.pk).order_by("attempt", "seq")
    if level:
        found = found.filter(level__in=LEVELS[level][1])
    return found.filter(message__icontains=search) if search else found


def _line(entry: LogEntry) -> dict[str, Any]:
    names = ("timestamp", "level", "message", "attempt")
    return {"id": entry.pk, **{name: getattr(entry, name) for name in names}}


def log_file(request: HttpRequest, run: Run) -> HttpResponseBase:
    """All lines as a text file, read piece by piece."""
    pieces = _async_pieces(run.job) if isinstance(request, ASGIRequest) else _pieces(run.job)
    response = StreamingHttpResponse(pieces, content_type="text/plain; charset=utf-8")
    response.headers["Content-Disposition"] = content_disposition_header(True, f"run-{run.pk}.log") or "attachment"
    response.headers["Cache-Control"] = "private, no-store"
    return response


def _piece(job: Job, after: tuple[int, int]) -> tuple[str, tuple[int, int] | None]:
    """The lines after (attempt, seq) as text, and where the next piece begins; None at the end."""
    attempt, seq = after
    rest = _matching(job).filter(Q(attempt__gt=attempt) | Q(attempt=attempt, seq__gt=seq))
    lines = list(rest[:PIECE])
    text = "".join(f"{line.timestamp.isoformat()} {line.level} {line.message}\n" for line in lines)
    return text, (lines[-1].attempt, lines[-1].seq) if len(lines) == PIECE else None


def _pieces(job: Job) -> Iterator[str]:
    after: tuple[int, int] | None = (0, 0)
    while after is not None:
        text, after = _piece(job, after)
        yield text


async def _async_pieces(job: Job) -> AsyncIterator[str]:
    """Django would read a plain iterator to its end before sending the first byte under ASGI."""
    after: tuple[int, int] | None = (0, 0)
    while after is not None:
        text, after = await sync_to_async(_piece_and_away, thread_sensitive=False)(job, after)
        yield text


def _piece_and_away(job: Job, after: tuple[int, int]) -> tuple[str, tuple[int, int] | None]:
    """In a thread of its own, whose connection nobody else would close."""
    try:
        return _piece(job, after)
    finally:
        connection.close()
