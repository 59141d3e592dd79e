"""What the API answers in: its pages for a browser, for developers (what people use is the admin), and files."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer
from rest_framework.request import Request

from config.csp import CSP, Policy

# These two pages come with inline styles, which hold no words of ours and no secrets; scripts stay in files.
INLINE_STYLES: Policy = {**settings.SECURE_CSP, "style-src": [CSP.SELF, CSP.UNSAFE_INLINE]}


class BrowsablePages(BrowsableAPIRenderer):
    """DRF's pages under our policy, with their inline styles."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> Any:
        """See the class."""
        if renderer_context is not None:
            renderer_context["response"]._csp_config = INLINE_STYLES
        return super().render(data, accepted_media_type, renderer_context)


class FileAnyhow(DefaultContentNegotiation):
    """For a view that answers a file, of one type whatever types the caller lists. Renderers are for its errors."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """The one asked for; the first where what is asked for is none of them."""
        known = list(renderers)
        try:
            return super().select_renderer(request, known, format_suffix)
        except NotAcceptable:
            return known[0], str(known[0].media_type)
