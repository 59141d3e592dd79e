"""Which rows train, validate and test: one pure function for the server's preview and the worker.

The order comes from SHA-256 of the content mixed with the seed, never from a random generator or the row order, so the
same rows and seed give the same parts in any Python version and for any order of the rows.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker_client.formats.batch import Batch, Rows, batches_of
from worker_client.formats.joins import Joins
from worker_client.formats.marks import Marks, mark_of, mixed
from worker_client.formats.terms import Record

PARTS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)

Kind = tuple[tuple[str, int], ...]  # class -> how often, sorted: what a row or a unit holds
Sides = NDArray[np.int8]  # the part of each row


@dataclass(frozen=True)
class Split:
    """Indexes into the records, each part in an order that depends on content and seed alone.

    digest: hex SHA-256 of what stands in which part, by content; equal digests mean equal parts.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    digest: str


def split_rows(records: Sequence[Record], *, train_share: float, seed: int) -> Split:
    """Share the records out: `train_share` to training, the rest equally to validation and test.

    Stratified by label (by entity type for tokens). Rows of one group, of one case where no record names a group (by
    the case numbers in the texts), and of equal text stay on one side; so do near-duplicates, but for families too
    large (see Joins). Every class has a row in training. If any record names its split, all are used as given and
    those without a name train. Validation and test are filled where three or more units exist; else they may be empty.
    Raises ValueError for a share outside 0 < share <= 1.
    """
    rows = SplitRows()
    for batch in batches_of(records):
        rows.add(batch)
    return rows.split(train_share=train_share, seed=seed)


class SplitRows:
    """What the split needs to know of each row, in few bytes."""

    def __init__(self) -> None:
        self.joins = Joins()
        self.kinds: list[Kind] = []
        self._kind_of: dict[Kind, int] = {}
        self._kind = array("q")  # of each row
        self._given = array("b")  # the part that a row names, or -1
        self._contents = bytearray()

    def __len__(self) -> int:
        return len(self._kind)

    @property
    def kind(self) -> Rows:
        """The place in `kinds` of what each row holds."""
        return np.frombuffer(self._kind, np.int64)

    @property
    def is_given(self) -> bool:
        """Whether any row names its part: then all are used as given."""
        return max(self._given, default=-1) >= 0

    def add(self, batch: Batch) -> None:
        self.joins.add(batch)
        self._contents += batch.contents().tobytes()
        self._kind.extend(self._kinds_of(batch))
        named = [PARTS.index(record.split) if record.split else -1 for record in batch.records]
        self._given.extend(named or [-1] * len(batch.rows))

    def _kinds_of(self, batch: Batch) -> Iterable[int]:
        if batch.of_tokens:
            return map(self._intern, map(_entities, batch.records))
        known = {label: self._intern(((label, 1),)) for label in dict.fromkeys(batch.labels)}
        return map(known.__getitem__, batch.labels)

    def split(self, *, train_share: float, seed: int) -> Split:
        """As split_rows."""
        side = self.sides(train_share=train_share, seed=seed)
        order = np.argsort(self._keys(seed), kind="stable")
        train, validation, test = (tuple(order[side[order] == part].tolist()) for part in range(len(PARTS)))
        return Split(train, validation, test, self.digest(side))

    def sides(self, *, train_share: float, seed: int) -> Sides:
        """The part of each row."""
        if not 0 < train_share <= 1:
            raise ValueError(f"train_share must be above 0 and at most 1, not {train_share!r}")
        if self.is_given:
            return np.maximum(np.frombuffer(self._given, np.int8), TRAIN)
        side = self._share_out(self.joins.units, train_share, seed)
        # Near-duplicates may be too many to be kept together and still leave rows for each part.
        if train_share < 1 and np.bincount(side, minlength=len(PARTS)).min() == 0:
            side = self._share_out(self.joins.firm_units, train_share, seed)
        return side

    def digest(self, side: Sides) -> str:
        """As Split.digest, of any sides."""
        contents = np.frombuffer(self._contents, np.uint64)
        whole = hashlib.sha256()
        for part, name in enumerate(PARTS):
            marks = np.sort(contents[side == part])
            whole.update(b"%s %d\x00" % (name.encode(), len(marks)))
            whole.update(marks.astype("<u8").tobytes())
        return whole.hexdigest()

    def _keys(self, seed: int) -> Marks:
        """The place of each row in the order of this seed."""
        return mixed(np.frombuffer(self._contents, np.uint64) ^ np.uint64(mark_of(str(seed))))

    def _intern(self, kind: Kind) -> int:
        found = self._kind_of.setdefault(kind, len(self.kinds))
        if found == len(self.kinds):
            self.kinds.append(kind)
        return found

    def _share_out(self, roots: Rows, train_share: float, seed: int) -> Sides:
        """roots: per row the first row of its unit, the rows that must stay on one side."""
        units = self._units(roots, seed)
        rest = (1 - train_share) / 2
        homes = _place(units, self.kinds, (train_share, rest, rest))
        if rest > 0:
            _fill_empty(units, homes, self.kinds)
        home = np.empty(len(self), np.int8)
        home[units.roots] = homes
        return home[roots]

    def _units(self, roots: Rows, seed: int) -> _Units:
        """Units sorted by their rarest class (rare ones first), what they hold (most first) and content."""
        heads = np.flatnonzero(roots == np.arange(len(roots)))
        keys = np.zeros(len(roots), np.uint64)
        np.add.at(keys, roots, self._keys(seed))  # a sum is the same in any order of the rows
        sizes = np.bincount(roots, minlength=len(roots))
        kind = self._unit_kinds(roots, sizes)[heads]
        totals = _totals(self.kinds, kind)
        order = np.lexsort((keys[heads], _ranks(self.kinds, totals)[kind]))
        heads = heads[order]
        return _Units(heads, sizes[heads], kind[order], keys[heads], totals)

    def _unit_kinds(self, roots: Rows, sizes: Rows) -> Rows:
        """At the first row of each unit: what its rows hold together, as a place in `kinds`."""
        kind = self.kind.copy()
        several = np.flatnonzero(sizes[roots] > 1)
        held, counts = np.unique(roots[several] * len(self.kinds) + kind[several], return_counts=True)
        whole: defaultdict[int, Counter[str]] = defaultdict(Counter)
        heads, ones = np.divmod(held, len(self.kinds))
        for root, one, count in zip(heads.tolist(), ones.tolist(), counts.tolist(), strict=True):
            for name, amount in self.kinds[one]:
                whole[root][name] += amount * count
        for root, amounts in whole.items():
            kind[root] = self._intern(tuple(sorted(amounts.items())))
        return kind


class _Units(NamedTuple):
    """Parallel columns, one entry per unit: its first row, how many rows, what it holds, its place in the order.

    totals: how often each class is there.
    """

    roots: Rows
    sizes: Rows
    kind: Rows
    keys: Marks
    totals: Counter[str]


def _totals(kinds: Sequence[Kind], kind: Rows) -> Counter[str]:
    totals: Counter[str] = Counter()
    for held, count in zip(kinds, np.bincount(kind, minlength=len(kinds)).tolist(), strict=True):
        for name, amount in held:
            totals[name] += amount * count
    return totals


def _rarest(held: Kind, totals: Counter[str]) -> tuple[int, str]:
    return min((totals[name], name) for name, _ in held)


def _ranks(kinds: Sequence[Kind], totals: Counter[str]) -> Rows:
    """The turn of each kind: rare classes first, so that frequent ones can make up for what those leave uneven."""
    turns = [(_rarest(held, totals), -sum(amount for _, amount in held), held) for held in kinds]
    ranks = np.empty(len(kinds), np.int64)
    ranks[sorted(range(len(kinds)), key=turns.__getitem__)] = np.arange(len(kinds))
    return ranks


def _place(units: _Units, kinds: Sequence[Kind], shares: tuple[float, float, float]) -> Sides:
    """The part of each unit: where its rarest class is most below its share. A class that training lacks trains.

    What a class leaves over is carried on to the next, so that many small classes still give validation and test
    their share.
    """
    owed = {name: [share * total for share in shares] for name, total in units.totals.items()}
    carried = [0.0] * len(PARTS)
    covered: set[str] = set()
    homes = bytearray()
    current: str | None = None
    for kind, count in _runs(units.kind):
        held, (_, rarest) = kinds[kind], _rarest(kinds[kind], units.totals)
        if current is not None and rarest != current:
            # Every unit with the class before is placed by now: they come before those of more frequent classes.
            carried = [one + other for one, other in zip(carried, owed[current], strict=True)]
        current = rarest
        first = bytearray([TRAIN] * any(name not in covered for name, _ in held))
        covered.update(name for name, _ in held)
        _settle(owed, held, first)
        lacks = [one + other for one, other in zip(carried, owed[rarest], strict=True)]
        rest = _fill(lacks, dict(held)[rarest], count - len(first))
        _settle(owed, held, rest)
        homes += first + rest
    return np.frombuffer(homes, np.int8)


def _runs(kind: Rows) -> Iterator[tuple[int, int]]:
    """(kind, count) of each run of units that hold the same."""
    starts = np.flatnonzero(np.diff(kind, prepend=-1))
    return zip(kind[starts].tolist(), np.diff(starts, append=len(kind)).tolist(), strict=True)


def _settle(owed: dict[str, list[float]], held: Kind, homes: bytearray) -> None:
    for part in range(len(PARTS)):
        count = homes.count(part)
        for name, amount in held:
            owed[name][part] -= amount * count


def _fill(lacks: Sequence[float], amount: int, count: int) -> bytearray:
    """The part of each of `count` units of this amount: the one that lacks most by then, the first of equals."""
    train, validation, test = lacks
    homes = bytearray([TRAIN]) * count
    for unit in range(count):
        if train >= validation and train >= test:
            train -= amount
        elif validation >= test:
            validation -= amount
            homes[unit] = VALIDATION
        else:
            test -= amount
            homes[unit] = TEST
    return homes


def _fill_empty(units: _Units, homes: Sides, kinds: Sequence[Kind]) -> None:
    """Give an empty validation, then test, the smallest training unit that no class of training needs."""
    for part in (VALIDATION, TEST):
        training = np.flatnonzero(homes == TRAIN).tolist()
        if (homes == part).any() or len(training) < 2:
            continue
        holders = Counter(name for place in training for name, _ in kinds[units.kind[place]])
        spare = [
            (units.sizes[place], units.keys[place], place)
            for place in training
            if all(holders[name] > 1 for name, _ in kinds[units.kind[place]])
        ]
        if spare:
            homes[min(spare)[2]] = part


def _entities(record: Record) -> Kind:
    """How many entities of each type the row has; a row of nothing but O is a class of its own."""
    found = Counter(tag[2:] for tag in record.tags if tag[0] == "B")
    return tuple(sorted(found.items())) or (("", 1),)
