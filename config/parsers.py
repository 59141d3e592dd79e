"""How bodies are read."""

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

MAX_DEPTH = 100  # ours need five; what is nested without end exhausts whoever walks through it


class BoundedJSONParser(JSONParser):
    """JSON that is nested no deeper than MAX_DEPTH."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """The body. Raises ParseError."""
        try:
            data = super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise _too_deep() from None
        if any(depth > MAX_DEPTH for depth, _level in enumerate(_levels(data), start=1)):
            raise _too_deep()
        return data


def _levels(data: Any) -> Iterator[list[Any]]:
    """What lies in `data`, level by level, without recursion."""
    level = [data]
    while level:
        yield level
        containers = [
            item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)
        ]
        level = [child for container in containers for child in container]


def _too_deep() -> ParseError:
    return ParseError(_("The JSON is nested deeper than %(limit)d levels.") % {"limit": MAX_DEPTH})
