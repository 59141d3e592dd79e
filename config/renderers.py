"""The API's pages for a browser, for developers; what people use is the admin."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from rest_framework.renderers import BrowsableAPIRenderer

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
