"""Habits of every request: plain cookies; API paths tolerate one trailing slash and speak UTC; outages are told."""

from datetime import UTC
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.deprecation import MiddlewareMixin
from whitenoise.middleware import WhiteNoiseMiddleware  # type: ignore[import-untyped]

from config.outages import outage_of

API_PREFIX = "/bert-training/api"


class StaticFiles(WhiteNoiseMiddleware):
    """WhiteNoise with files read at once: an event loop cannot send a plain file piece by piece."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        """The whole file."""
        streamed = WhiteNoiseMiddleware.serve(static_file, request)
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
        with timezone.override(UTC):
            return self.get_response(request)


class PlainCookies(MiddlewareMixin):
    """Cookies as we set them. A quoted one may hold a NUL, which PostgreSQL refuses where a session is looked up."""

    def process_request(self, request: HttpRequest) -> None:
        """Any other is as good as none."""
        request.COOKIES = {name: value for name, value in request.COOKIES.items() if value.isprintable()}


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
