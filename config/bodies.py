"""How long a request may be, in front of Django, which keeps all of its body on disk before it asks who sends it."""

from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.utils.translation import gettext as _

from config.middleware import API_PREFIX
from runs_app.api.waiting_claims import Application, Message, Receive, Send

MARGIN = 1.1  # within it Django answers, which tells a person in the form what was wrong with the file


class TooLong(Exception):
    """More bytes than any route takes."""


class BoundedBodies:
    """413 for what is declared longer than a sheet may be, or turns out to be. What still arrives is not kept."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.limit = max(settings.MAX_UPLOAD_MB * 2**20 * MARGIN, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        try:
            if int(dict(scope["headers"]).get(b"content-length", 0)) > self.limit:
                raise TooLong
            await self.application(scope, self._counting(receive), send)
        except TooLong:
            await _send(_refusal(scope["path"]), send)

    def _counting(self, receive: Receive) -> Receive:
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.limit:
                raise TooLong
            return message

        return counted


def _refusal(path: str) -> HttpResponse:
    detail = _("The request body is larger than the server accepts.")
    if path.startswith(API_PREFIX):
        return JsonResponse({"code": "too_large", "detail": detail}, status=413)
    return HttpResponse(detail, status=413, content_type="text/plain; charset=utf-8")


async def _send(response: HttpResponse, send: Send) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in response.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
