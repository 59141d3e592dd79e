"""What a split of the sheet would look like, next to what a plain random one would leak. Pure, without Django."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker_client.formats import Limits, Record, SheetRequest
from worker_client.formats.joins import Joins
from worker_client.formats.records import DEFAULT_LIMITS, reading
from worker_client.formats.split import PARTS, TEST, TRAIN, SplitRows

MAX_CLASSES = 200


@dataclass(frozen=True)
class SplitPlan:
    """The share of the rows that trains (the rest is halved) and the seed: a run's defaults where none is named."""

    train_share: float = 0.8
    seed: int = 42


DEFAULT_PLAN = SplitPlan()


def preview_file(
    path: Path,
    request: SheetRequest,
    plan: SplitPlan,
    *,
    repair_bio: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> dict[str, Any]:
    """split_preview of a sheet that was found valid. Raises SheetRefused as the reader; faulty rows are left out."""
    with reading(path, request, repair_bio=repair_bio, limits=limits) as (_, records):
        return split_preview([item for item in records if isinstance(item, Record)], plan)


def split_preview(records: Sequence[Record], plan: SplitPlan) -> dict[str, Any]:
    """preview_of the rows that these records are. Raises ValueError for a share outside 0 < share <= 1."""
    joins = Joins()
    rows = SplitRows(joins)
    joins.add(records)
    rows.add(records)
    return preview_of(rows, plan)


def preview_of(rows: SplitRows, plan: SplitPlan) -> dict[str, Any]:
    """The split that a run of this share and seed uses, as JSON.

    sizes, classes: rows of each part, and of each class in it (entities for tokens), the largest 200 classes.
    basis: `split` (the column), `group` (the column), `cnj` (case numbers in the texts) or empty. groups: how many
    there are. largest_unit: the most rows that one group, text or family holds together. split_families: families of
    near-duplicates too large to be kept on one side, with their rows. leaked_by_random, leaked_by_ours: groups that
    stand in training and in test, test rows whose text is also trained on, test rows nearly equal to a trained one.
    digest: as Split.digest; equal digests mean equal parts.
    """
    joins = rows.joins
    joins.likeness.settle()
    sides = rows.sides(train_share=plan.train_share, seed=plan.seed)
    members, groups = joins.groups()
    leaks = Leaks(joins, members, groups)
    return {
        "train_share": plan.train_share,
        "seed": plan.seed,
        "digest": rows.digest(sides),
        "sizes": {name: sides.count(part) for part, name in enumerate(PARTS)},
        "classes": _classes(rows, sides),
        "basis": "split" if rows.is_given else joins.basis,
        "groups": len(set(groups)),
        "largest_unit": max(Counter(joins.units()).values(), default=0),
        "split_families": {"families": joins.large_families, "rows": joins.large_rows},
        "leaked_by_random": leaks.count(random_sides(len(rows), plan)),
        "leaked_by_ours": leaks.count(sides),
    }


def random_sides(count: int, plan: SplitPlan) -> bytearray:
    """The part of each row in the split that looks at nothing: shuffled by the seed and cut."""
    order = list(range(count))
    random.Random(plan.seed).shuffle(order)
    train = round(count * plan.train_share)
    rest = (count - train + 1) // 2
    sides = bytearray(count)
    for place, row in enumerate(order):
        sides[row] = (place >= train) + (place >= train + rest)
    return sides


class Leaks:
    """Counts what stands on both sides of a split, training and test."""

    def __init__(self, joins: Joins, members: array[int], groups: array[int]) -> None:
        self._first, self._family = joins.likeness.first, joins.likeness.family
        self._members, self._groups = members, groups

    def count(self, sides: Sequence[int]) -> dict[str, int]:
        trained, one_text, several = bytearray(len(sides)), array("q", [-1]) * len(sides), bytearray(len(sides))
        for first, family, side in zip(self._first, self._family, sides, strict=True):
            if side == TRAIN:
                trained[first] = 1
                several[family] |= one_text[family] not in (-1, first)
                one_text[family] = first
        tested = [
            (first, family) for first, family, s in zip(self._first, self._family, sides, strict=True) if s == TEST
        ]
        return {
            "groups": self._groups_on_both(sides),
            "texts": sum(trained[first] for first, _ in tested),
            # A text that is trained on itself is counted above.
            "near_duplicates": sum(
                not trained[first] and (several[family] or one_text[family] not in (-1, first))
                for first, family in tested
            ),
        }

    def _groups_on_both(self, sides: Sequence[int]) -> int:
        seen: dict[int, int] = {}
        for row, group in zip(self._members, self._groups, strict=True):
            seen[group] = seen.get(group, 0) | 1 << sides[row]
        both = 1 << TRAIN | 1 << TEST
        return sum(parts & both == both for parts in seen.values())


def _classes(rows: SplitRows, sides: Sequence[int]) -> list[dict[str, Any]]:
    """{name, train, validation, test} of each class, the largest first; an empty name is a row without entities."""
    counts: list[Counter[str]] = [Counter() for _ in PARTS]
    for (kind, side), count in Counter(zip(rows.kind, sides, strict=True)).items():
        for name, amount in rows.kinds[kind]:
            counts[side][name] += amount * count
    total: Counter[str] = sum(counts, Counter())
    names = sorted(total, key=lambda name: (-total[name], name))[:MAX_CLASSES]
    return [{"name": name, **{part: counts[p][name] for p, part in enumerate(PARTS)}} for name in names]
