"""Which texts of a sheet are equal, and which only nearly so, in compact bookkeeping: no text is kept.

Two texts are near-duplicates when their letters are the same (case, accents, digits, signs and blanks aside), or when
more than half of their sampled letter sequences are. The samples are MinHash's bottom-k sketch of the sequences
that begin at one chosen letter: found by one search in C, the same wherever a passage stands in a text. Everything
follows from the contents alone, so the families are the same in any order of the rows and on every machine.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations, compress, repeat
from operator import lshift, ne, or_
from zlib import crc32

MIN_SHAPE_LETTERS = 12  # shorter ones are headings: "Art. 1", "Art. 2"
SKETCH = 12  # hashes kept of each text
LEAST_HASHES = 4  # fewer say too little
SHARED = 0.55  # of the sketches of near-duplicates; on Portuguese court texts about 0.7 of their word triples
RANKS = 3  # candidates share two of their RANKS smallest hashes
KEYS_AT_ONCE = 600_000
MAX_LEADERS = 8  # compared within one bucket, so that a template in ten thousand rows costs no square


def shape_of(text: str) -> bytes:
    """The letters of a text without case, accents, digits, punctuation and blanks."""
    for encoding, (table, dropped) in _SHAPES.items():
        try:
            return text.encode(encoding).translate(table, dropped)
        except UnicodeEncodeError:
            continue
    return text.translate(_LETTERS).encode("latin-1", "xmlcharrefreplace")


class _Letters(dict[int, str]):
    def __missing__(self, code: int) -> str:
        apart = unicodedata.normalize("NFKD", chr(code).casefold())
        self[code] = letter = next((c for c in apart if c.isalpha()), "")
        return letter


_LETTERS = _Letters()


def _shape_table(encoding: str) -> tuple[bytes, bytes]:
    """(translation, bytes to drop) of an 8-bit encoding. Portuguese fits in one, where this is ten times as fast."""
    letters = [_LETTERS[ord(bytes([i]).decode(encoding, "replace"))] for i in range(256)]
    table = bytes(ord(letter) if letter.isascii() and letter else i for i, letter in enumerate(letters))
    return table, bytes(i for i, letter in enumerate(letters) if not letter)


_SHAPES = {encoding: _shape_table(encoding) for encoding in ("latin-1", "cp1252")}


@dataclass
class _Tier:
    """Sketches of texts of one range of lengths. ends: where the hashes of each text end in `hashes`."""

    shortest: int
    longest: int
    sequences: Callable[[bytes], list[bytes]]
    texts: array[int] = field(default_factory=lambda: array("I"))
    hashes: array[int] = field(default_factory=lambda: array("I"))
    ends: array[int] = field(default_factory=lambda: array("I"))

    def add(self, text: int, shape: bytes) -> None:
        sketch = sorted(set(map(crc32, self.sequences(shape))))[:SKETCH]
        if len(sketch) >= LEAST_HASHES:
            self.texts.append(text)
            self.hashes.extend(sketch)
            self.ends.append(len(self.hashes))

    def pairs(self, wanted: bytearray) -> Iterable[tuple[int, int]]:
        """Near-duplicates among the wanted texts (1 at their rows): each with the leader that it resembles."""
        places = array("I", compress(range(len(self.texts)), map(wanted.__getitem__, self.texts)))
        starts = array("I", (self.ends[place - 1] if place else 0 for place in places))
        ranks = [array("I", (self.hashes[start + rank] for start in starts)) for rank in range(RANKS)]
        # Built of C functions where it can be: these are the few steps that every row of a million takes.
        keys = [array("Q", map(or_, map(lshift, one, repeat(32)), other)) for one, other in combinations(ranks, 2)]
        owners = [places] * len(keys)
        for share in _shares(keys, owners):
            yield from self._meeting(*share)

    def _meeting(self, keys: Sequence[int], owners: Sequence[int]) -> Iterable[tuple[int, int]]:
        last = dict(zip(keys, owners, strict=True))
        if len(last) == len(keys):
            return
        buckets: dict[int, list[int]] = {}
        meeting = bytearray(map(ne, owners, map(last.__getitem__, keys)))
        for key, place in zip(compress(keys, meeting), compress(owners, meeting), strict=True):
            buckets.setdefault(key, [last[key]]).append(place)
        for bucket in buckets.values():
            yield from self._alike(bucket)

    def _alike(self, bucket: list[int]) -> Iterable[tuple[int, int]]:
        if len(bucket) == 2:
            one, other = bucket
            if resemble(set(self._sketch(one)), set(self._sketch(other))):
                yield self.texts[one], self.texts[other]
            return
        # Sorted by content, so that the leaders are the same in any order of the rows.
        sketches = sorted((self._sketch(place), self.texts[place]) for place in bucket)
        leaders: list[tuple[set[int], int]] = []
        for sketch, text in sketches:
            hashes = set(sketch)
            leader = next((number for known, number in leaders if resemble(hashes, known)), None)
            if leader is not None:
                yield leader, text
            elif len(leaders) < MAX_LEADERS:
                leaders.append((hashes, text))

    def _sketch(self, place: int) -> array[int]:
        return self.hashes[self.ends[place - 1] if place else 0 : self.ends[place]]


def _shares(keys: list[array[int]], owners: list[array[int]]) -> Iterable[tuple[array[int], array[int]]]:
    """All keys with their owners, in so many shares that none needs a large table; equal keys are in one share."""
    count = sum(map(len, keys)) // KEYS_AT_ONCE + 1
    for share in range(count):
        chosen = [[key % count == share for key in column] if count > 1 else repeat(True) for column in keys]
        yield (
            array("Q", chain.from_iterable(map(compress, keys, chosen))),
            array("I", chain.from_iterable(map(compress, owners, chosen))),
        )


def resemble(one: set[int], other: set[int]) -> bool:
    """Whether two bottom-k sketches share enough: Jaccard's index, estimated on the k smallest hashes of both."""
    shared = one & other
    if len(shared) < SHARED * min(SKETCH, max(len(one), len(other))):
        return False
    smallest = sorted(one | other)[:SKETCH]
    return sum(value in shared for value in smallest) >= SHARED * len(smallest)


# The letter after which sequences are taken is rarer the longer the texts, so that a sketch costs about the same; the
# ranges overlap, so that two texts of similar lengths always meet in one.
RANGES = ((30, 260, b"a(.{5})"), (200, 700, b"m(.{12})"), (500, 1 << 30, b"v(.{12})"))


class Likeness:
    """Takes texts in, row by row; `settle` then tells which rows are equal and which are alike.

    first: per row, the first row of the same text. family: per row, the first row of all that are equal or nearly so,
    directly or through others. Texts are held as 64-bit hashes; two of one hash would be taken as equal, which is less
    likely than a disk error.
    """

    def __init__(self) -> None:
        self._contents, self._shapes = array("q"), array("q")
        self._tiers = [_Tier(low, high, re.compile(pattern, re.DOTALL).findall) for low, high, pattern in RANGES]
        self.first, self.family = array("I"), array("I")

    def add(self, texts: Sequence[str]) -> None:
        """Whole batches, because a million single calls take seconds."""
        start = len(self._contents)
        self._contents.extend(map(hash, texts))
        for row, text in enumerate(texts, start=start):
            shape = shape_of(text)
            size = len(shape)
            self._shapes.append(hash(shape) if size >= MIN_SHAPE_LETTERS else 0)
            for tier in self._tiers:
                if tier.shortest <= size < tier.longest:
                    tier.add(row, shape)

    def settle(self) -> None:
        """Compute `first` and `family`; after the last row."""
        if len(self.first) == len(self._contents):
            return
        self.first = _first_of(self._contents)
        alike = _first_of(self._shapes, nothing=0)
        family = Union(len(self.first))
        # Of equal texts or letters one is compared with the rest.
        wanted = bytearray(b"\x01") * len(self.first)
        for row, (first, like) in enumerate(zip(self.first, alike, strict=True)):
            if first != row or like != row:
                wanted[row] = 0
                family.join(min(first, like), row)
                family.join(max(first, like), row)
        for tier in self._tiers:
            for one, other in tier.pairs(wanted):
                family.join(one, other)
        self.family = family.roots()


class Union:
    """Disjoint sets of rows; the root of each is its lowest row, so that it does not depend on the order of joining."""

    def __init__(self, size: int) -> None:
        self._parent = array("I", range(size))

    def copy(self) -> Union:
        other = Union(0)
        other._parent = self._parent[:]
        return other

    def root(self, row: int) -> int:
        parent = self._parent
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    def join(self, one: int, other: int) -> None:
        if one == other:
            return
        one, other = self.root(one), self.root(other)
        self._parent[max(one, other)] = min(one, other)

    def roots(self) -> array[int]:
        return array("I", map(self.root, range(len(self._parent))))


def _first_of(marks: array[int], nothing: int | None = None) -> array[int]:
    """Per row the first row of the same mark; rows marked `nothing` stand alone."""
    seen: dict[int, int] = {}
    return array("I", (row if mark == nothing else seen.setdefault(mark, row) for row, mark in enumerate(marks)))
