"""The log of a run: live as Server-Sent Events, or one JSON page."""

import json
from typing import Any

from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from runs_app.api.exceptions import RunsAPIView
from runs_app.api.live_streams import HEADER
from runs_app.api.serializers import LogSerializer
from runs_app.models import LogEntry, Run

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
        response = HttpResponse(content_type="text/event-stream", headers={HEADER: f"{pk} {after}"})
        response.headers["Cache-Control"] = "no-cache, no-transform"
        response.headers["X-Accel-Buffering"] = "no"
        return response


def _after(request: Request) -> int:
    """The id of the last line that the caller has. Raises ValidationError.

    The header wins: a browser that comes back sends it along with the address, `?after=` and all, that it began with.
    """
    text = request.headers.get("Last-Event-ID") or request.query_params.get("after") or "0"
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValidationError({"after": [_("Send the id of a log line: a whole number.")]})
    return int(text)


def _page(job_id: int, after: int) -> dict[str, Any]:
    lines = list(LogEntry.objects.filter(job=job_id, pk__gt=after)[:PAGE_LINES])
    return {"results": LogSerializer(lines, many=True).data, "next_after": lines[-1].pk if lines else after}
