"""A browser without a browser: sign in, read the page's text, count its queries."""

import html
import re
from typing import Any

from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.factories import make_user


def signed_in(*permissions: str) -> Client:
    """The client of a member of staff with these permissions; of a superuser where none are named."""
    client = Client()
    client.force_login(make_user(*permissions, is_staff=True, is_superuser=not permissions))
    return client


def text_of(response: Any) -> str:
    """What a person reads of a page: no tags, single blanks."""
    words = re.sub(r"<[^>]+>", " ", response.content.decode())
    return re.sub(r"\s+", " ", html.unescape(words))


def messages_of(response: Any) -> list[str]:
    """What the page says after a redirect was followed."""
    return [str(message) for message in response.context["messages"]]


def query_count(client: Client, url: str) -> int:
    """Queries of one page. Asked twice: the first request fills caches such as content types."""
    client.get(url)
    with CaptureQueriesContext(connection) as queries:
        response: HttpResponse = client.get(url)
    assert response.status_code == 200
    return len(queries)
