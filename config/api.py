"""What every API answer shares: the page of a list and the shape of an error, `{code, detail, errors?}`."""

import logging
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import DatabaseError
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from rest_framework import exceptions, status
from rest_framework.pagination import PageNumberPagination
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_exception_handler

from config.fields import storable_tree
from config.middleware import API_PREFIX
from config.outages import outage_of
from config.pagination import KeysFirst

logger = logging.getLogger(__name__)


class Page(PageNumberPagination):
    """count, next, previous, results."""

    django_paginator_class = KeysFirst
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 500


class CodedError(exceptions.APIException):
    """An error with a code of the contract. `errors` holds the rows or fields concerned, where there are any."""

    status_code: int = status.HTTP_400_BAD_REQUEST

    def __init__(
        self, *, code: str, detail: str, status_code: int | None = None, extra: dict[str, Any] | None = None
    ) -> None:
        super().__init__(detail=detail, code=code)
        self.status_code = status_code or self.status_code
        self.extra = extra or {}


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Turn what a view raised into `{code, detail, errors?}`; None lets an unforeseen error surface as a 500."""
    if (outage := outage_of(error)) is not None:
        logger.warning("outage: %s", error)
        return _answer(outage.status, outage.code, outage.detail, outage.headers)
    if isinstance(error, DatabaseError) and _is_gone(context["request"].auth):
        headers = {"WWW-Authenticate": context["view"].get_authenticate_header(context["request"])}
        return _answer(401, "not_authenticated", str(exceptions.NotAuthenticated.default_detail), headers)
    if isinstance(error, RequestDataTooBig):
        return _answer(413, "too_large", _("The request body is larger than the server accepts."))
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    if isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if isinstance(error, exceptions.ValidationError):
        return _invalid(error)
    response = drf_exception_handler(error, context)
    if response is None or not isinstance(error, exceptions.APIException):
        return response
    code = str(getattr(error.detail, "code", error.default_code))
    response.data = {"code": code, "detail": str(error.detail), **getattr(error, "extra", {})}
    return response


def _is_gone(row: Any) -> bool:
    """Whether the token's row, or the worker's, was deleted after it had let this request in."""
    return isinstance(row, Model) and not type(row)._default_manager.filter(pk=row.pk).exists()


def _answer(status_code: int, code: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    return Response({"code": code, "detail": detail}, status=status_code, headers=headers)


def _invalid(error: exceptions.ValidationError) -> Response:
    # Messages quote what was sent, and what was sent may hold a lone surrogate, which no answer can.
    errors = storable_tree(error.detail if isinstance(error.detail, dict) else {"non_field_errors": error.detail})
    sentences = "; ".join(f"{field}: {message}" for field, message in _flatten(errors))
    return Response({"code": "invalid", "detail": sentences, "errors": errors}, status=400)


def _flatten(errors: Any, path: str = "") -> list[tuple[str, str]]:
    """Each message with the dotted name of its field: ("hyperparameters.epochs", "…")."""
    if isinstance(errors, dict):
        below = {f"{path}.{key}" if path else str(key): value for key, value in errors.items()}
        return [pair for key, value in below.items() for pair in _flatten(value, key)]
    if isinstance(errors, list):
        return [pair for value in errors for pair in _flatten(value, path)]
    return [(path, str(errors))]


def json_error(status_code: int, code: str) -> Any:
    """A handler for urls.py: JSON below the API, a page elsewhere."""

    def handler(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
        details = {
            400: _("The request could not be read."),
            403: _("You may not do this."),
            404: _("There is nothing at this address."),
            500: _("Something went wrong on the server. It was written to the server's log."),
        }
        if request.path.startswith(API_PREFIX):
            return JsonResponse({"code": code, "detail": details[status_code]}, status=status_code)
        return error_page(status_code, details[status_code])

    return handler


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """What a form is answered whose page is older than the session: after a login in another window, say.

    reason: Django's own sentence, in English; one about the origin, or the referer, is for who set the server up.
    """
    if reason.startswith(("Origin", "Referer")):
        return error_page(403, _("The server does not expect forms from this address. See CSRF_TRUSTED_ORIGINS."))
    return error_page(403, _("This page was open for too long. Go back, load it again and repeat."))


def error_page(status_code: int, sentence: str) -> HttpResponse:
    """A sentence in the admin's looks. It knows nobody and asks no database: whatever failed, it can be shown."""
    words = {"title": sentence, "site_header": admin.site.site_header, "site_title": admin.site.site_title}
    return HttpResponse(render_to_string("error.html", words), status=status_code)
