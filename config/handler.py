"""How the event loop calls Django."""

import codecs
from http import HTTPStatus
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import SuspiciousOperation
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _

ENCODINGS = ("utf-8", "ascii", "iso8859-1")  # as Python names them


class OneThreadHandler(ASGIHandler):
    """All middleware and the view of a request in one go in its thread.

    Django's own handler goes there and back for each middleware, twice. Where other threads are at work each of these
    ways waits for the interpreter's lock, some milliseconds each time.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        """As for WSGI: none of ours, and none of the views, has anything to await."""
        super().load_middleware(is_async=False)

    def create_request(self, scope: Any, body_file: Any) -> Any:
        """(request, None), or (None, the refusal) for what no middleware could answer yet.

        Where a charset is named Django reads the address at once. Forms are decoded by whatever Python knows of that
        name: `idna` raises there, and `unicode_escape` makes text that no database takes.
        """
        try:
            request, refusal = super().create_request(scope, body_file)
        except (ValueError, SuspiciousOperation):  # a header in no known encoding; more parameters than Django reads
            return None, _refusal(HTTPStatus.BAD_REQUEST, "bad_request", _("The request could not be read."))
        if request is not None and codecs.lookup(request.encoding or "utf-8").name not in ENCODINGS:
            return None, _refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", _("Send text in UTF-8."))
        return request, refusal

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """In the thread that `request_started` and the end of the request also use, with its database connection."""
        response: Any = await sync_to_async(self.get_response)(request)
        return response


def _refusal(status: HTTPStatus, code: str, detail: str) -> JsonResponse:
    return JsonResponse({"code": code, "detail": detail}, status=status)
