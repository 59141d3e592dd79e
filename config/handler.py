"""How the event loop calls Django."""

from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class OneThreadHandler(ASGIHandler):
    """All middleware and the view of a request in one go in its thread.

    Django's own handler goes there and back for each middleware, twice. Where other threads are at work each of these
    ways waits for the interpreter's lock, some milliseconds each time.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        """As for WSGI: none of ours, and none of the views, has anything to await."""
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """In the thread that `request_started` and the end of the request also use, with its database connection."""
        response: Any = await sync_to_async(self.get_response)(request)
        return response
