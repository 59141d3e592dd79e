"""Habits of every request: API paths tolerate one trailing slash and speak UTC; outages are told."""

from collections.abc import Callable
from datetime import UTC

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone

from config.outages import outage_of

API_PREFIX = "/bert-training/api"

GetResponse = Callable[[HttpRequest], HttpResponse]


class TolerateTrailingSlash:
    """Reads `/bert-training/api/runs/` as `/bert-training/api/runs`, for every method: a redirect loses a body."""

    async_capable = False

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(API_PREFIX) and request.path_info.endswith("/"):
            request.path_info = request.path_info[:-1]
            request.path = request.path[:-1]
        return self.get_response(request)


class ApiSpeaksUtc:
    """Times of the API are UTC, whatever TIME_ZONE people read their pages in."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(API_PREFIX):
            return self.get_response(request)
        with timezone.override(UTC):
            return self.get_response(request)


class AnswerOutages:
    """Says that the database is away or a disk full, so that clients wait instead of failing."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

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
