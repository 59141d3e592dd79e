"""The face of a stored number: what Excel shows for it, with dates as ISO text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

# Number formats that need no code in the file. Source: ECMA-376 part 1, 18.8.30.
BUILTIN_FORMATS = {
    1: "0", 2: "0.00", 9: "0%", 10: "0.00%", 14: "dd/mm/yyyy", 15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy",
    18: "h:mm AM/PM", 19: "h:mm:ss AM/PM", 20: "h:mm", 21: "h:mm:ss", 22: "d/m/yyyy h:mm",
    45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss.0",
    **dict.fromkeys((*range(27, 37), *range(50, 59)), "yyyy/m/d"),
}  # fmt: skip
NOISE = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
FIXED = re.compile(r"(0+)(?:\.(0+))?(%?)")
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?", re.ASCII)
EPOCH = date(1899, 12, 30)
LAST_SERIAL = 2_958_466  # the day after 9999-12-31
LEAP_BUG = 60  # Excel counts a 29 February 1900 that never was
DAYS_1904 = 1_462
DAY_SECONDS = 86_400


class Face(NamedTuple):
    """How a style shows numbers. digits: least digits before the point, 0 for Excel's General."""

    date: bool = False
    time: bool = False
    elapsed: bool = False
    digits: int = 0
    decimals: int = 0
    percent: bool = False


GENERAL = Face()


def face_of(code: str) -> Face:
    """The face that a number format code means; what this reader does not render counts as General."""
    section = NOISE.sub("", code.split(";")[0]).strip().lower()
    if fixed := FIXED.fullmatch(section):
        return Face(digits=len(fixed[1]), decimals=len(fixed[2] or ""), percent=bool(fixed[3]))
    if section in ("general", "@", ""):
        return GENERAL
    elapsed = "[" in section
    time = elapsed or any(letter in section for letter in "hs")
    day = any(letter in section for letter in "yd") or ("m" in section and not time)
    return Face(date=day, time=time, elapsed=elapsed)


def faces_of(codes: dict[int, str], format_ids: Iterable[int]) -> list[Face]:
    known = {**BUILTIN_FORMATS, **codes}
    cache: dict[int, Face] = {}
    return [cache.setdefault(i, face_of(known.get(i, ""))) for i in format_ids]


def show(raw: str, face: Face, date1904: bool) -> tuple[str, bool]:
    """(what Excel shows, whether it is a date or time). Raises ValueError when raw is no number."""
    if raw.isdigit() and face is GENERAL and len(raw) < 16 and raw.isascii() and raw[0] != "0":
        return raw, False
    if not NUMBER.fullmatch(raw):
        raise ValueError("not a number")
    value = float(raw)
    if face.date or face.time:
        shown = _date(value + DAYS_1904 * date1904, face)
        if shown is not None:
            return shown, True
    return (_fixed(value, face) if face.digits else _general(value)), False


def _general(value: float) -> str:
    """15 significant digits, as Excel keeps them: `1`, not `1.0`; `0.1`, not `0.10000000000000001`."""
    shown = f"{value:.15g}".upper()
    return "0" if shown == "-0" else shown


def _fixed(value: float, face: Face) -> str:
    if abs(value) >= 1e15:
        return _general(value)
    number = Decimal(f"{value:.15g}") * (100 if face.percent else 1)
    rounded = number.quantize(Decimal(1).scaleb(-face.decimals), ROUND_HALF_UP)
    width = face.digits + (face.decimals + 1 if face.decimals else 0)
    sign = "-" if rounded < 0 else ""
    return sign + f"{abs(rounded):f}".zfill(width) + ("%" if face.percent else "")


def _date(serial: float, face: Face) -> str | None:
    if not 0 <= serial < LAST_SERIAL:
        return None
    days, seconds = divmod(round(serial * DAY_SECONDS), DAY_SECONDS)
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    if face.elapsed:
        return f"{days * 24 + seconds // 3600:02d}{clock[2:]}"
    if not face.date:
        return clock
    day = (EPOCH + timedelta(days + (days < LEAP_BUG))).isoformat()
    return f"{day}T{clock}" if face.time and seconds else day
