"""Habits of every request: API paths tolerate one trailing slash and speak UTC; a database that is away is a 503."""

from collections.abc import Callable
from datetime import UTC

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.translation import gettext as _

API_PREFIX = "/bert-training/api"
RETRY_AFTER_S = 5

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


class DatabaseAway:
    """Answers 503 with Retry-After while the database cannot be reached, so that clients wait instead of failing."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Only what the connection says counts; a programming error stays an error."""
        if not isinstance(error, OperationalError | InterfaceError):
            return None
        detail = _("The database cannot be reached at the moment. Try again in a few seconds.")
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        if request.path.startswith(API_PREFIX):
            return JsonResponse({"code": "unavailable", "detail": detail}, status=503, headers=headers)
        return HttpResponse(detail, status=503, headers=headers, content_type="text/plain; charset=utf-8")
