"""How values look in the admin: badges, bars, figures, durations. Widths are attributes, never inline styles (CSP)."""

from datetime import datetime
from typing import Any

from django.utils import formats
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _

NOTHING = "–"
SMALL = 1e-3  # below it people write 5e-5


def badge(kind: str, word: Any) -> SafeString:
    """A coloured word; the colour only repeats what the word says."""
    return format_html('<span class="badge badge-{}">{}</span>', kind, word)


def bar(share: float, text: Any) -> SafeString:
    """A bar filled to `share` (0 to 1), followed by `text`."""
    filled = f"{min(max(share, 0), 1):.4f}"
    return format_html(
        '<span class="bar"><progress max="1" value="{}" aria-hidden="true"></progress> <span>{}</span></span>',
        filled,
        text,
    )


def shortened(text: Any, limit: int = 48) -> SafeString:
    """A name that fits into a column; the whole of it on hover."""
    return format_html('<span title="{}">{}</span>', text, Truncator(text).chars(limit))


def percent(share: float) -> str:
    """0.425 as "42 %"; rounded down, so that 100 % means all."""
    return f"{int(share * 100 + 1e-9)} %"


def figure(value: Any, digits: int = 4) -> str:
    """A metric: 0,9123; a dash where it was not measured or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NOTHING
    # Rounded first: number_format alone cuts digits off.
    return formats.number_format(f"{value:.{digits}f}", digits)


def parameter(value: Any) -> str:
    """A hyperparameter as people write it: 5e-5, 0,1, 16, yes."""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, float) and 0 < abs(value) < SMALL:
        mantissa, exponent = f"{value:e}".split("e")
        return f"{formats.number_format(f'{float(mantissa):.6g}')}e{int(exponent)}"
    if isinstance(value, float):
        return formats.number_format(f"{value:.10g}")
    return str(value)


def duration(seconds: float | None) -> str:
    """Short and the same in every language: "40 s", "12 min", "1 h 05 min", "2 d 3 h"."""
    if seconds is None:
        return NOTHING
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if hours < 1:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60:02} min" if days < 1 else f"{days} d {hours % 24} h"


def ago(then: datetime | None, now: datetime) -> str:
    """ "12 min ago"; a dash for never."""
    if then is None:
        return NOTHING
    return _("%(time)s ago") % {"time": duration((now - then).total_seconds())}
