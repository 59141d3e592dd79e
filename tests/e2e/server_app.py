"""config.asgi for a server that outlives tests: they empty the tables, after which content types have other numbers."""

from typing import Any

from config.asgi import application as served


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Each request looks its content types up again."""
    from django.contrib.contenttypes.models import ContentType

    ContentType.objects.clear_cache()
    await served(scope, receive, send)
