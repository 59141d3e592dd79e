"""What changed between two versions of a sheet: rows added, removed, relabelled. Pure, without Django.

Rows are told apart by their text as the reader normalises it. Texts are not kept, only 64-bit hashes of them.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from worker_client.formats import Limits, Record, SheetRequest
from worker_client.formats.judge import items_of
from worker_client.formats.records import reading

ROWS_NAMED = 100

Side = tuple[Path, SheetRequest, bool]  # file, how it is read, whether its BIO tags are repaired


def compare_sheets(old: Side, new: Side, limits: Limits) -> dict[str, Any]:
    """{added, removed, relabelled, unchanged: rows; relabelled_rows: the first 100 of them in the new sheet}.

    A text that stands n times counts n times. Raises SheetRefused.
    """
    same: Counter[int] = Counter()  # of a text with its outcome
    left: Counter[int] = Counter()  # of a text: rows of the old sheet that found nothing yet
    for _row, text, outcome in _rows(old, limits):
        same[hash((text, outcome))] += 1
        left[text] += 1
    rows, texts, unchanged = array("L"), array("q"), 0
    for row, text, outcome in _rows(new, limits):
        pair = hash((text, outcome))
        if same.get(pair):
            same[pair] -= 1
            left[text] -= 1
            unchanged += 1
        else:
            rows.append(row)
            texts.append(text)
    # Only now, when every row that is the same found its own, are the others of one text each other's changes.
    relabelled, named = 0, []
    for row, text in zip(rows, texts, strict=True):
        if left.get(text):
            left[text] -= 1
            relabelled += 1
            named.append(row)
    return {
        "added": len(rows) - relabelled,
        "removed": left.total(),
        "relabelled": relabelled,
        "unchanged": unchanged,
        "relabelled_rows": sorted(named)[:ROWS_NAMED],
    }


def _rows(side: Side, limits: Limits) -> Iterator[tuple[int, int, int]]:
    """Row number, text and outcome (label or tags) of each good row, the last two hashed."""
    path, request, repair_bio = side
    with reading(path, request, repair_bio=repair_bio, limits=limits) as (_sheet, batches):
        for item in chain.from_iterable(map(items_of, batches)):
            if isinstance(item, Record):
                yield item.row, hash(item.text or " ".join(item.tokens)), hash(item.label or item.tags)
