"""Which rows train, validate and test: one pure function for the server's preview and the worker.

The order comes from SHA-256 of the seed and the content, never from a random generator or the row order, so the
same rows and seed give the same parts in any Python version and for any order of the rows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from worker_client.formats.terms import Record

PARTS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)


@dataclass(frozen=True)
class Split:
    """Indexes into the records, each part in an order that depends on content and seed alone.

    digest: hex SHA-256 of what stands in which part, by content; equal digests mean equal parts.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    digest: str


@dataclass
class _Unit:
    """Rows that must stay on one side: they share a group or their text."""

    rows: list[int]
    classes: frozenset[str]
    stratum: tuple[int, str]
    key: bytes


def split_rows(records: Sequence[Record], *, train_share: float, seed: int) -> Split:
    """Share the records out: `train_share` to training, the rest equally to validation and test.

    Stratified by label (by entity type for tokens). Rows of one group, and rows of equal text, stay on one side.
    Every class has a row in training. If any record names its split, all are used as given and those without a
    name train. Validation and test are filled where three or more units exist; else they may be empty.
    Raises ValueError for a share outside 0 < share <= 1.
    """
    if not 0 < train_share <= 1:
        raise ValueError(f"train_share must be above 0 and at most 1, not {train_share!r}")
    prints = [_fingerprint(record) for record in records]
    keys = [hashlib.sha256(b"%d\x00" % seed + mark).digest() for mark in prints]
    if any(record.split for record in records):
        side = [PARTS.index(record.split) if record.split else TRAIN for record in records]
    else:
        side = _share_out(records, keys, train_share)
    parts = [sorted((i for i in range(len(records)) if side[i] == p), key=lambda i: (keys[i], i)) for p in range(3)]
    return Split(tuple(parts[0]), tuple(parts[1]), tuple(parts[2]), _digest(parts, prints))


def _share_out(records: Sequence[Record], keys: Sequence[bytes], train_share: float) -> list[int]:
    units = _units(records, keys)
    rest = (1 - train_share) / 2
    homes = _place(units, (train_share, rest, rest))
    if rest > 0:
        _fill_empty(units, homes)
    side = [TRAIN] * len(records)
    for unit, home in zip(units, homes, strict=True):
        for row in unit.rows:
            side[row] = home
    return side


def _place(units: list[_Unit], shares: tuple[float, float, float]) -> list[int]:
    """The part of each unit. `units` is sorted: rare classes first, large units first.

    `owed` is what each part should have so far minus what it has, carried on from class to class, so that many
    small classes still give validation and test their share. A unit with a class that training lacks trains.
    """
    owed = [0.0, 0.0, 0.0]
    covered: set[str] = set()
    homes: list[int] = []
    quota: Counter[tuple[int, str]] = Counter()
    for unit in units:
        quota[unit.stratum] += len(unit.rows)
    current = None
    for unit in units:
        if unit.stratum != current:
            current = unit.stratum
            owed = [due + share * quota[current] for due, share in zip(owed, shares, strict=True)]
        home = max(range(3), key=lambda part: (owed[part], -part)) if unit.classes <= covered else TRAIN
        if home == TRAIN:
            covered |= unit.classes
        owed[home] -= len(unit.rows)
        homes.append(home)
    return homes


def _fill_empty(units: list[_Unit], homes: list[int]) -> None:
    """Give an empty validation, then test, the smallest training unit that no class of training needs."""
    for part in (VALIDATION, TEST):
        if part in homes or len(units) < 2:
            continue
        holders = Counter(
            name for unit, home in zip(units, homes, strict=True) if home == TRAIN for name in unit.classes
        )
        spare = [
            (len(unit.rows), unit.key, i)
            for i, unit in enumerate(units)
            if homes[i] == TRAIN and all(holders[name] > 1 for name in unit.classes)
        ]
        if homes.count(TRAIN) > 1 and spare:
            homes[min(spare)[2]] = part


def _units(records: Sequence[Record], keys: Sequence[bytes]) -> list[_Unit]:
    """Connected rows as units, sorted by stratum (its rarest class, rare ones first), size (large first), key."""
    totals = Counter(name for record in records for name in _classes(record))
    units = []
    for rows in _connected(records):
        classes = frozenset[str]().union(*(_classes(records[i]) for i in rows))
        key = hashlib.sha256(b"".join(sorted(keys[i] for i in rows))).digest()
        units.append(_Unit(rows, classes, min((totals[name], name) for name in classes), key))
    units.sort(key=lambda unit: (unit.stratum, -len(unit.rows), unit.key))
    return units


def _connected(records: Sequence[Record]) -> list[list[int]]:
    """Rows joined by an equal text or an equal group, directly or through others."""
    parent = list(range(len(records)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[str, object], int] = {}
    for i, record in enumerate(records):
        marks: list[tuple[str, object]] = [("text", record.tokens or record.text)]
        if record.group:
            marks.append(("group", record.group))
        for mark in marks:
            parent[root(i)] = root(first.setdefault(mark, i))
    members: dict[int, list[int]] = {}
    for i in range(len(records)):
        members.setdefault(root(i), []).append(i)
    return list(members.values())


def _classes(record: Record) -> frozenset[str]:
    """The label, or the entity types of the row; a row of nothing but O is a class of its own."""
    if not record.tags:
        return frozenset((record.label,))
    return frozenset(tag[2:] for tag in record.tags if tag != "O") or frozenset(("",))


def _fingerprint(record: Record) -> bytes:
    # XML 1.0 cannot hold U+001E and U+001F, so no two contents give one string.
    content = "\x1e".join((record.text, record.label, "\x1f".join(record.tokens), "\x1f".join(record.tags)))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).digest()


def _digest(parts: Sequence[Sequence[int]], prints: Sequence[bytes]) -> str:
    whole = hashlib.sha256()
    for name, rows in zip(PARTS, parts, strict=True):
        whole.update(b"%s %d\x00" % (name.encode(), len(rows)))
        whole.update(b"".join(sorted(prints[i] for i in rows)))
    return whole.hexdigest()
