"""What our templates need beyond Django's tags."""

from collections.abc import Iterable
from typing import Any

from django import template
from django.utils.html import format_html, strip_tags
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from config.admin import GROUP_OF
from config.display import NOTHING

register = template.Library()


@register.filter
def menu_group(opts: Any) -> Any:
    """The group of the menu that a model belongs to, by its `_meta`."""
    return GROUP_OF.get(opts.object_name, opts.app_config.verbose_name)


@register.filter
def labelled(cells: Iterable[str], headers: Iterable[dict[str, Any]]) -> list[SafeString]:
    """The cells of a row, each naming its column: on a phone a row is read as a card, without the table's head."""
    return [_labelled(cell, strip_tags(str(header["text"]))) for cell, header in zip(cells, headers, strict=True)]


def _labelled(cell: str, label: str) -> SafeString:
    attributes = format_html(' data-label="{}"', capfirst(label)) if label else ""
    if strip_tags(cell).strip() in ("", NOTHING, "-") and "<img" not in cell and label:  # yes and no are pictures
        attributes += " data-nothing"
    return SafeString(f"{cell[:3]}{attributes}{cell[3:]}")  # Django's own <td ...> or <th ...>, escaped already
