"""The log of a run: live as Server-Sent Events, or one JSON page."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from runs_app.api.exceptions import RunsAPIView
from runs_app.api.serializers import JobSerializer, LogSerializer, MetricSerializer
from runs_app.choices import TERMINAL
from runs_app.models import Job, LogEntry, Run

POLL_S = 1.0
KEEP_ALIVE_S = 10.0
# A platform's edge may cut long requests; the stream ends by itself before that and EventSource comes back with
# the id of its last line.
STREAM_S = 240.0
PAGE_LINES = 500


class EventStreamRenderer(BaseRenderer):
    """Lets content negotiation accept `text/event-stream`; what is no stream on that route is JSON."""

    media_type = "text/event-stream"
    format = "sse"
    charset = "utf-8"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        """Only the browsable API asks, for its view of an empty stream."""
        return json.dumps(data, cls=JSONEncoder, ensure_ascii=False).encode()


class RunLogsView(RunsAPIView):
    """Log lines, figures, progress and status of a run as they come; or the lines as a JSON page."""

    required_permissions = {"GET": ["runs_app.view_run"]}
    renderer_classes = [EventStreamRenderer, JSONRenderer, BrowsableAPIRenderer]

    def handle_exception(self, exc: Exception) -> Response:
        """Errors are JSON, whatever kind of stream was asked for."""
        self.request.accepted_renderer = JSONRenderer()
        self.request.accepted_media_type = JSONRenderer.media_type
        return super().handle_exception(exc)

    @extend_schema(
        parameters=[OpenApiParameter("after", OpenApiTypes.INT), OpenApiParameter("format", OpenApiTypes.STR)],
        responses={(200, "text/event-stream"): str, (200, "application/json"): dict},
    )
    def get(self, request: Request, pk: int) -> HttpResponseBase:
        """By `Accept` or `?format=json`; from the line after `Last-Event-ID` or `?after=`."""
        run = get_object_or_404(Run.objects.select_related("job"), pk=pk)
        after = _after(request)
        if request.accepted_renderer.format != EventStreamRenderer.format:
            return Response(_page(run.job.pk, after))
        _give_back()
        response = StreamingHttpResponse(_events(pk, after), content_type="text/event-stream")
        response.headers["Cache-Control"] = "no-cache, no-transform"
        response.headers["X-Accel-Buffering"] = "no"
        return response


def _give_back() -> None:
    """The request's own connection would be held as long as the page is open."""
    if not connection.in_atomic_block:
        connection.close()


def _after(request: Request) -> int:
    """The id of the last line that the caller has. Raises ValidationError.

    The header wins: a browser that comes back sends it along with the address, `?after=` and all, that it began with.
    """
    text = request.headers.get("Last-Event-ID") or request.query_params.get("after") or "0"
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValidationError({"after": ["Send the id of a log line: a whole number."]})
    return int(text)


def _page(job_id: int, after: int) -> dict[str, Any]:
    lines = list(LogEntry.objects.filter(job=job_id, pk__gt=after)[:PAGE_LINES])
    return {"results": LogSerializer(lines, many=True).data, "next_after": lines[-1].pk if lines else after}


@dataclass
class _Seen:
    """What one viewer has been sent."""

    log_id: int
    metric_id: int = 0
    progress: str = ""
    status: str = ""
    over: bool = False
    frames: list[str] = field(default_factory=list)


async def _events(run_id: int, after: int) -> AsyncIterator[str]:
    """Frames until the run is over and all is sent, or STREAM_S have passed."""
    seen, started, spoke = _Seen(after), time.monotonic(), time.monotonic()
    yield "retry: 2000\n\n"
    while not seen.over and time.monotonic() - started < STREAM_S:
        frames = await sync_to_async(_news, thread_sensitive=False)(run_id, seen)
        if frames:
            spoke = time.monotonic()
            yield "".join(frames)
            continue  # there may be more than one page; the pause comes when there is nothing new
        if time.monotonic() - spoke > KEEP_ALIVE_S:
            spoke = time.monotonic()
            yield ": alive\n\n"
        await asyncio.sleep(POLL_S)


@timezone.override(UTC)  # it runs in a thread of its own, out of the middleware's reach
def _news(run_id: int, seen: _Seen) -> list[str]:
    """What happened since the last look, as frames. Gives its connection back: viewers must not hold the pool."""
    try:
        # The status is read before the lines: when it says that the run is over, all lines are there to be read.
        job = Job.objects.select_related("worker").filter(run=run_id).first()
        if job is None:  # the run was deleted meanwhile
            seen.over = True
            return [_frame("end", {"status": None})]
        frames = [*_log_frames(job, seen), *_metric_frames(run_id, seen), *_state_frames(job, seen)]
        if not frames and job.status in TERMINAL:
            seen.over = True
            frames = [_frame("end", {"status": job.status})]
        return frames
    finally:
        connection.close()


def _log_frames(job: Job, seen: _Seen) -> list[str]:
    lines = list(LogEntry.objects.filter(job=job, pk__gt=seen.log_id)[:PAGE_LINES])
    if lines:
        seen.log_id = lines[-1].pk
    return [_frame("log", LogSerializer(line).data, event_id=line.pk) for line in lines]


def _metric_frames(run_id: int, seen: _Seen) -> list[str]:
    points = list(Run(pk=run_id).epoch_metrics.filter(pk__gt=seen.metric_id).order_by("pk")[:PAGE_LINES])
    if points:
        seen.metric_id = points[-1].pk
    return [_frame("metric", MetricSerializer(point).data) for point in points]


def _state_frames(job: Job, seen: _Seen) -> list[str]:
    frames = []
    state = JobSerializer(job).data
    progress = json.dumps(state["progress"], cls=JSONEncoder)
    status = json.dumps({key: state[key] for key in ("status", "attempt", "worker")})
    if status != seen.status:
        seen.status = status
        frames.append(_frame("status", json.loads(status)))
    if progress != seen.progress:
        seen.progress = progress
        frames.append(_frame("progress", json.loads(progress)))
    return frames


def _frame(event: str, data: Any, event_id: int | None = None) -> str:
    identity = f"id: {event_id}\n" if event_id is not None else ""
    return f"event: {event}\n{identity}data: {json.dumps(data, cls=JSONEncoder, ensure_ascii=False)}\n\n"
