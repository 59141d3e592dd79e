"""What a split of the sheet would look like, next to what a plain random one would leak. Pure, without Django."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from datasets_app.report import SplitPlan
from worker_client.formats.joins import Joins
from worker_client.formats.marks import mark_of, mixed
from worker_client.formats.split import PARTS, TEST, TRAIN, Sides, SplitRows

MAX_CLASSES = 200


def preview_of(rows: SplitRows, plan: SplitPlan) -> dict[str, Any]:
    """The split that a run of this share and seed uses, as JSON.

    sizes, classes: rows of each part, and of each class in it (entities for tokens), the largest 200 classes.
    basis: `split` (the column), `group` (the column), `cnj` (case numbers in the texts) or empty. groups: how many
    there are. largest_unit: the most rows that one group, text or family holds together. split_families: families of
    near-duplicates too large to be kept on one side, with their rows. leaked_by_random, leaked_by_ours: groups that
    stand in training and in test, test rows whose text is also trained on, test rows nearly equal to a trained one.
    digest: as Split.digest; equal digests mean equal parts. Raises ValueError for a share outside 0 < share <= 1.
    """
    joins = rows.joins
    sides = rows.sides(train_share=plan.train_share, seed=plan.seed)
    return {
        "train_share": plan.train_share,
        "seed": plan.seed,
        "digest": rows.digest(sides),
        "sizes": {name: int((sides == part).sum()) for part, name in enumerate(PARTS)},
        "classes": _classes(rows, sides),
        "basis": "split" if rows.is_given else joins.basis,
        "groups": joins.num_groups,
        "largest_unit": int(np.bincount(joins.units).max(initial=0)),
        "split_families": joins.split_families(),
        "leaked_by_random": leaks(joins, random_sides(len(rows), plan)),
        "leaked_by_ours": leaks(joins, sides),
    }


def random_sides(count: int, plan: SplitPlan) -> Sides:
    """The part of each row in the split that looks at nothing: shuffled by the seed and cut."""
    order = np.argsort(mixed(np.arange(count, dtype=np.uint64) ^ np.uint64(mark_of(str(plan.seed)))))
    train = round(count * plan.train_share)
    rest = (count - train + 1) // 2
    sides = np.empty(count, np.int8)
    sides[order] = np.repeat(range(len(PARTS)), (train, rest, count - train - rest))
    return sides


def leaks(joins: Joins, sides: Sides) -> dict[str, int]:
    """What stands on both sides of a split, training and test."""
    joins.likeness.settle()
    first, family = joins.likeness.first, joins.likeness.family
    trained, tested = sides == TRAIN, sides == TEST
    trained_text, trained_family = np.zeros(len(sides), bool), np.zeros(len(sides), bool)
    trained_text[first[trained]] = True
    trained_family[family[trained]] = True
    same = trained_text[first[tested]]
    return {
        "groups": int((joins.has_group(trained) & joins.has_group(tested)).sum()),
        "texts": int(same.sum()),
        # A text that is trained on itself is counted above.
        "near_duplicates": int((trained_family[family[tested]] & ~same).sum()),
    }


def _classes(rows: SplitRows, sides: Sides) -> list[dict[str, Any]]:
    """{name, train, validation, test} of each class, the largest first; an empty name is a row without entities."""
    of_part = [np.bincount(rows.kind[sides == part], minlength=len(rows.kinds)).tolist() for part in range(len(PARTS))]
    counts: list[Counter[str]] = [Counter() for _ in PARTS]
    for kind, *held in zip(rows.kinds, *of_part, strict=True):
        for count, rows_held in zip(counts, held, strict=True):
            count.update({name: amount * rows_held for name, amount in kind if rows_held})
    total: Counter[str] = sum(counts, Counter())
    names = sorted(total, key=lambda name: (-total[name], name))[:MAX_CLASSES]
    return [{"name": name, **{part: counts[p][name] for p, part in enumerate(PARTS)}} for name in names]
