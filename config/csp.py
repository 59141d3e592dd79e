"""Content Security Policy, with the names and the meaning of Django 6 (`django.utils.csp`).

On Django 6 this module goes: the setting `SECURE_CSP` stays as it is, the middleware and the decorator are Django's.
"""

from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

HEADER = "Content-Security-Policy"
DEBUG_PAGES = {HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR}  # Django's own, written with inline styles

Policy = Mapping[str, Any]  # {directive: sources}: a list, tuple or set of them, one, True, False or None


class CSP(StrEnum):
    """The sources that a directive may name by a keyword."""

    NONE = "'none'"
    SELF = "'self'"
    UNSAFE_INLINE = "'unsafe-inline'"


def build_policy(policy: Policy) -> str:
    """The header's value. A directive of None or False is left out, one of True has no sources."""
    return "; ".join(
        f"{directive} {_sources(sources)}".rstrip()
        for directive, sources in policy.items()
        if sources is not None and sources is not False
    )


def _sources(sources: Collection[str] | str | bool) -> str:
    if isinstance(sources, bool):
        return ""
    if isinstance(sources, str):
        return str(sources)
    return " ".join(sorted(sources) if isinstance(sources, set) else sources)


def csp_override(policy: Policy) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """Give the pages of one view a policy of their own, in place of SECURE_CSP; an empty one sends no header."""

    def decorator(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @wraps(view)
        def with_policy(*args: Any, **kwargs: Any) -> HttpResponse:
            response = view(*args, **kwargs)
            response._csp_config = policy  # type: ignore[attr-defined]
            return response

        return with_policy

    return decorator


class ContentSecurityPolicyMiddleware(MiddlewareMixin):
    """Sends the policy with every answer that brings none."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """See the class."""
        if settings.DEBUG and response.status_code in DEBUG_PAGES:
            return response
        policy = getattr(response, "_csp_config", settings.SECURE_CSP)
        if policy and HEADER not in response.headers:
            response.headers[HEADER] = build_policy(policy)
        return response
