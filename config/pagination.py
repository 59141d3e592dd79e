"""Pages of long lists, for the admin and the API."""

from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet


class KeysFirst(Paginator):
    """Looks up which rows a page has before it reads them.

    What a database sorts and skips on the way to a page far behind are then keys, and not whole rows with everything
    that is joined to them.
    """

    def page(self, number: Any) -> Page[Any]:
        """As Django's; the rows are a list."""
        page: Page[Any] = super().page(number)
        if isinstance(page.object_list, QuerySet):
            page.object_list = self._in_order(page.object_list.values_list("pk", flat=True))
        return page

    def _in_order(self, keys: QuerySet[Any, Any]) -> list[Any]:
        rows: Any = self.object_list
        wanted = list(keys)
        found = {row.pk: row for row in rows.order_by().filter(pk__in=wanted)}
        return [found[key] for key in wanted if key in found]  # one may be deleted between the two
