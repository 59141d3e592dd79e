"""Habits of every request: API paths tolerate one trailing slash and speak UTC; outages are told.

All of them can be awaited: one that cannot would hold a thread for as long as a page with a live log is open.
"""

from collections.abc import Awaitable
from datetime import UTC
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.deprecation import MiddlewareMixin
from whitenoise.middleware import WhiteNoiseMiddleware  # type: ignore[import-untyped]

from config.outages import outage_of

API_PREFIX = "/bert-training/api"


class StaticFiles(WhiteNoiseMiddleware):
    """WhiteNoise, which by itself takes every request into a thread, its own or not."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        return self._later(request) if iscoroutinefunction(self) else super().__call__(request)

    async def _later(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(self.static_prefix):
            return await cast(Awaitable[HttpResponseBase], self.get_response(request))
        response = await sync_to_async(self._whole_file)(request)
        return response or await cast(Awaitable[HttpResponseBase], self.get_response(request))

    def _whole_file(self, request: HttpRequest) -> HttpResponse | None:
        """Read at once: an event loop cannot send a plain file piece by piece."""
        found = self.find_file(request.path_info) if self.autorefresh else self.files.get(request.path_info)
        if found is None:
            return None
        streamed = self.serve(found, request)
        content = b"".join(streamed.streaming_content)
        streamed.close()
        return HttpResponse(content, status=streamed.status_code, headers=dict(streamed.items()))


class TolerateTrailingSlash(MiddlewareMixin):
    """Reads `/bert-training/api/runs/` as `/bert-training/api/runs`, for every method: a redirect loses a body."""

    def process_request(self, request: HttpRequest) -> None:
        """See the class."""
        if request.path_info.startswith(API_PREFIX) and request.path_info.endswith("/"):
            request.path_info = request.path_info[:-1]
            request.path = request.path[:-1]


class ApiSpeaksUtc(MiddlewareMixin):
    """Times of the API are UTC, whatever TIME_ZONE people read their pages in."""

    def __call__(self, request: HttpRequest) -> Any:
        if not request.path_info.startswith(API_PREFIX):
            return self.get_response(request)
        if self.async_mode:
            return self._in_utc(request)
        with timezone.override(UTC):
            return self.get_response(request)

    async def _in_utc(self, request: HttpRequest) -> Any:
        with timezone.override(UTC):
            return await cast(Awaitable[HttpResponseBase], self.get_response(request))


class AnswerOutages(MiddlewareMixin):
    """Says that the database is away or a disk full, so that clients wait instead of failing."""

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Only an outage is answered; a programming error stays an error."""
        outage = outage_of(error)
        if outage is None:
            return None
        if request.path.startswith(API_PREFIX):
            body = {"code": outage.code, "detail": outage.detail}
            return JsonResponse(body, status=outage.status, headers=outage.headers)
        kind = "text/plain; charset=utf-8"
        return HttpResponse(outage.detail, status=outage.status, headers=outage.headers, content_type=kind)
