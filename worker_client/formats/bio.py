"""Token rows: lists in a cell, and strict BIO (IOB2) tags."""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

TAG = re.compile(r"O|[BI]-\S+")
_STRING = r"""(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")"""
# Python joins 'a' 'b' into one string; a list without commas (NumPy's print) must not pass as shorter than it is.
PYTHON_LIST = re.compile(rf"\[\s*(?:{_STRING}\s*(?:,\s*{_STRING}\s*)*,?\s*)?\]")

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class TagFault(NamedTuple):
    """position: 1 = first tag of the row. repaired: what the tag should be, empty where nothing can tell."""

    position: int
    tag: str
    repaired: str


def parse_list(cell: str) -> list[str]:
    """The strings of a JSON or Python list, if the whole cell is one, else its parts between white space."""
    if cell.startswith("[") and cell.endswith("]"):
        listed = _json_list(cell)
        if listed is None:
            listed = _python_list(cell)
        if listed is not None:
            return [unicodedata.normalize("NFC", item).strip() for item in listed]
    return cell.split()


def _json_list(cell: str) -> list[str] | None:
    try:
        return _strings(json.loads(cell))
    except (ValueError, RecursionError):
        return None


def _python_list(cell: str) -> list[str] | None:
    if not PYTHON_LIST.fullmatch(cell):
        return None
    try:
        return _strings(ast.literal_eval(cell))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _strings(value: object) -> list[str] | None:
    """`value` if it is a list of storable strings and nothing else: JSON can spell NUL and half a character."""
    if not isinstance(value, list):
        return None
    items = [item for item in value if isinstance(item, str) and not UNSTORABLE.search(item)]
    return items if len(items) == len(value) else None


def find_faults(tags: Sequence[str]) -> list[TagFault]:
    """What breaks IOB2: a tag of another form, or I-X after neither B-X nor I-X of the same type."""
    faults: list[TagFault] = []
    inside = ""
    for position, tag in enumerate(tags, start=1):
        if not TAG.fullmatch(tag):
            faults.append(TagFault(position, tag, ""))
            inside = ""
            continue
        if tag[0] == "I" and tag[2:] != inside:
            faults.append(TagFault(position, tag, f"B-{tag[2:]}"))
        inside = tag[2:]
    return faults


def repair(tags: Sequence[str], faults: Sequence[TagFault]) -> tuple[str, ...]:
    """The tags with every fault that has a repair mended."""
    mended = list(tags)
    for fault in faults:
        if fault.repaired:
            mended[fault.position - 1] = fault.repaired
    return tuple(mended)
