"""Which rows train, validate and test: one pure function for the server's preview and the worker.

The order comes from SHA-256 of the seed and the content, never from a random generator or the row order, so the
same rows and seed give the same parts in any Python version and for any order of the rows.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from worker_client.formats.joins import Joins
from worker_client.formats.terms import Record

PARTS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
DIGEST_BYTES = 32  # of SHA-256

Kind = tuple[tuple[str, int], ...]  # class -> how often, sorted: what a row or a unit holds


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
    joins = Joins()
    rows = SplitRows(joins)
    joins.add(records)
    rows.add(records)
    return rows.split(train_share=train_share, seed=seed)


class SplitRows:
    """What the split needs to know of each row, in few bytes; `joins` must have been given the same records."""

    def __init__(self, joins: Joins) -> None:
        self.joins = joins
        self.kinds: list[Kind] = []
        self.kind = array("I")  # of each row
        self.given = array("b")  # the part that a row names, or -1
        self._kind_of: dict[Kind, int] = {}
        self._prints = bytearray()

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def is_given(self) -> bool:
        """Whether any row names its part: then all are used as given."""
        return max(self.given, default=-1) >= 0

    def add(self, records: Sequence[Record]) -> None:
        for record in records:
            self._prints += _fingerprint(record)
            self.kind.append(self._intern(_kind(record)))
            self.given.append(PARTS.index(record.split) if record.split else -1)

    def split(self, *, train_share: float, seed: int) -> Split:
        """As split_rows."""
        side = self.sides(train_share=train_share, seed=seed)
        keys = array("Q", (_order(self._key(row, seed)) for row in range(len(self))))
        parts: tuple[list[int], ...] = ([], [], [])
        for row in sorted(range(len(self)), key=keys.__getitem__):
            parts[side[row]].append(row)
        train, validation, test = (tuple(part) for part in parts)
        return Split(train, validation, test, self.digest(side))

    def sides(self, *, train_share: float, seed: int) -> bytearray:
        """The part of each row."""
        if not 0 < train_share <= 1:
            raise ValueError(f"train_share must be above 0 and at most 1, not {train_share!r}")
        if self.is_given:
            return bytearray(max(part, TRAIN) for part in self.given)
        side = self._share_out(self.joins.units(), train_share, seed)
        # Near-duplicates may be too many to be kept together and still leave rows for each part.
        if train_share < 1 and len(set(side)) < len(PARTS):
            side = self._share_out(self.joins.units(alike=False), train_share, seed)
        return side

    def digest(self, side: Sequence[int]) -> str:
        """As Split.digest, of any sides."""
        whole = hashlib.sha256()
        for part, name in enumerate(PARTS):
            prints = sorted(bytes(self._print(row)) for row in range(len(self)) if side[row] == part)
            whole.update(b"%s %d\x00" % (name.encode(), len(prints)))
            for mark in prints:
                whole.update(mark)
        return whole.hexdigest()

    def _print(self, row: int) -> bytearray:
        return self._prints[DIGEST_BYTES * row : DIGEST_BYTES * (row + 1)]

    def _key(self, row: int, seed: int) -> bytes:
        return hashlib.sha256(b"%d\x00" % seed + self._print(row)).digest()

    def _intern(self, kind: Kind) -> int:
        found = self._kind_of.setdefault(kind, len(self.kinds))
        if found == len(self.kinds):
            self.kinds.append(kind)
        return found

    def _share_out(self, roots: Sequence[int], train_share: float, seed: int) -> bytearray:
        """roots: per row the first row of its unit, the rows that must stay on one side."""
        units = self._units(roots, seed)
        rest = (1 - train_share) / 2
        homes = _place(units, self.kinds, (train_share, rest, rest))
        if rest > 0:
            _fill_empty(units, homes, self.kinds)
        home = bytearray(len(self))
        for root, part in zip(units.roots, homes, strict=True):
            home[root] = part
        return bytearray(home[root] for root in roots)

    def _units(self, roots: Sequence[int], seed: int) -> _Units:
        """Units sorted by their rarest class (rare ones first), size (large first) and content."""
        members: dict[int, list[int]] = {}
        for row, root in enumerate(roots):
            if row != root:
                members.setdefault(root, [root]).append(row)
        heads = [row for row, root in enumerate(roots) if row == root]
        keys = array("Q", (_order(self._unit_key(members.get(root, (root,)), seed)) for root in heads))
        sizes = array("I", (len(members.get(root, (root,))) for root in heads))
        kind = array("I", (self._unit_kind(members.get(root, (root,))) for root in heads))
        totals: Counter[str] = Counter()
        for held, count in Counter(kind).items():
            totals.update({name: amount * count for name, amount in self.kinds[held]})
        rarest = [min((totals[name], name) for name, _ in held) for held in self.kinds]
        # Three stable sorts instead of one by a tuple: a million tuples are a hundred megabytes.
        order = sorted(range(len(heads)), key=keys.__getitem__)
        order.sort(key=sizes.__getitem__, reverse=True)
        order.sort(key=lambda place: rarest[kind[place]])
        return _Units(
            array("I", (heads[place] for place in order)),
            array("I", (sizes[place] for place in order)),
            array("I", (kind[place] for place in order)),
            array("Q", (keys[place] for place in order)),
            totals,
        )

    def _unit_key(self, rows: Sequence[int], seed: int) -> bytes:
        return hashlib.sha256(b"".join(sorted(self._key(row, seed) for row in rows))).digest()

    def _unit_kind(self, rows: Sequence[int]) -> int:
        if len(rows) == 1:
            return self.kind[rows[0]]
        whole: Counter[str] = Counter()
        for row in rows:
            whole.update(dict(self.kinds[self.kind[row]]))
        return self._intern(tuple(sorted(whole.items())))


@dataclass
class _Units:
    """Parallel columns, one entry per unit: its first row, how many rows, what it holds, its place in the order.

    totals: how often each class is there.
    """

    roots: array[int]
    sizes: array[int]
    kind: array[int]
    keys: array[int]
    totals: Counter[str]


def _place(units: _Units, kinds: Sequence[Kind], shares: tuple[float, float, float]) -> bytearray:
    """The part of each unit: where its rarest class is most below its share. A class that training lacks trains.

    What a class leaves over is carried on to the next, so that many small classes still give validation and test
    their share.
    """
    totals = units.totals
    owed = {name: [share * total for share in shares] for name, total in totals.items()}
    rarest_of = [min((totals[name], name) for name, _ in held)[1] for held in kinds]
    carried = [0.0, 0.0, 0.0]
    covered: set[str] = set()
    homes = bytearray()
    current: str | None = None
    for kind in units.kind:
        rarest = rarest_of[kind]
        if rarest != current:
            # Every unit with the class before is placed by now: they come before those of more frequent classes.
            if current is not None:
                carried = [one + other for one, other in zip(carried, owed[current], strict=True)]
            current = rarest
        held = kinds[kind]
        if all(name in covered for name, _ in held):
            wanted = [one + other for one, other in zip(carried, owed[rarest], strict=True)]
            home = wanted.index(max(wanted))
        else:
            home = TRAIN
            covered.update(name for name, _ in held)
        for name, amount in held:
            owed[name][home] -= amount
        homes.append(home)
    return homes


def _fill_empty(units: _Units, homes: bytearray, kinds: Sequence[Kind]) -> None:
    """Give an empty validation, then test, the smallest training unit that no class of training needs."""
    for part in (VALIDATION, TEST):
        if part in homes or len(homes) < 2:
            continue
        training = [place for place, home in enumerate(homes) if home == TRAIN]
        holders = Counter(name for place in training for name, _ in kinds[units.kind[place]])
        spare = [
            (units.sizes[place], units.keys[place], place)
            for place in training
            if all(holders[name] > 1 for name, _ in kinds[units.kind[place]])
        ]
        if len(training) > 1 and spare:
            homes[min(spare)[2]] = part


def _kind(record: Record) -> Kind:
    """The label, or how many entities of each type the row has; a row of nothing but O is a class of its own."""
    if not record.tags:
        return ((record.label, 1),)
    found = Counter(tag[2:] for tag in record.tags if tag[0] == "B")
    return tuple(sorted(found.items())) or (("", 1),)


def _fingerprint(record: Record) -> bytes:
    # XML 1.0 cannot hold U+001E and U+001F, so no two contents give one string.
    content = "\x1e".join((record.text, record.label, "\x1f".join(record.tokens), "\x1f".join(record.tags)))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).digest()


def _order(key: bytes) -> int:
    return int.from_bytes(key[:8], "big")
