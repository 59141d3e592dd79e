"""Who calls: one header, two kinds of bearer."""

from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from workers_app import services
from workers_app.models import ApiToken, Worker, WorkerUser
from workers_app.tokens import WORKER_TOKEN_PREFIX, token_sha256


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer btp_…` (a person) or `btw_…` (a worker).

    The row is found by the token's hash, so no comparison of secrets takes place in Python; unknown, revoked and
    disabled get the same 401.
    """

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """(user, token row) or (WorkerUser, worker); None when the request brings no bearer."""
        scheme, _space, value = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        token = value.strip().decode("latin-1")
        return self._worker(token) if token.startswith(WORKER_TOKEN_PREFIX) else self._person(token)

    def authenticate_header(self, request: Request) -> str:
        """Makes the refusal a 401; without it DRF answers 403."""
        return "Bearer"

    def _worker(self, token: str) -> tuple[WorkerUser, Worker]:
        worker = Worker.objects.filter(token_sha256=token_sha256(token), enabled=True).first()
        if worker is None:
            raise _refused()
        return WorkerUser(worker), worker

    def _person(self, token: str) -> tuple[Any, ApiToken]:
        row = ApiToken.objects.valid().select_related("user").filter(token_sha256=token_sha256(token)).first()
        if row is None:
            raise _refused()
        services.note_token_use(token=row, now=timezone.now())
        return row.user, row


class BearerScheme(OpenApiAuthenticationExtension):  # registers itself by existing
    """How the OpenAPI document describes it."""

    target_class = BearerAuthentication
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """One header for both kinds of token."""
        return {"type": "http", "scheme": "bearer"}


def _refused() -> AuthenticationFailed:
    return AuthenticationFailed(_("The token is unknown, revoked or disabled."), code="not_authenticated")
