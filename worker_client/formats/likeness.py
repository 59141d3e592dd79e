"""Which texts of a sheet are equal, and which only nearly so, in compact bookkeeping: no text is kept.

Two texts are near-duplicates when their letters are the same (case, accents, digits, signs and blanks aside), or when
more than half of their sampled letter sequences are. The samples are MinHash's bottom-k sketch of the sequences
behind each occurrence of one chosen letter: found by one search over many texts, the same wherever a passage stands in
a text. Everything follows from the contents alone, so the families are the same in any order of the rows and on every
machine.
"""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker_client.formats.batch import END, Batch, Rows, counts_of
from worker_client.formats.marks import MARK_BYTES, Marks, mixed

Pairs = tuple[Rows, Rows]
Sketches = NDArray[np.uint32]  # one row each: SKETCH smallest hashes, ascending, filled up with NO_HASH

MIN_SHAPE_LETTERS = 12  # shorter ones are headings: "Art. 1", "Art. 2"
EIGHT = 8  # letters that one number holds
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no two numbers become one
SKETCH = 12  # hashes kept of each text
LEAST_HASHES = 4  # fewer say too little
NO_HASH = np.uint32(0xFFFFFFFF)  # fills up a sketch
SHARED = 0.55  # of the sketches of near-duplicates; on Portuguese court texts about 0.7 of their word triples
RANKS = 4  # candidates share two of their RANKS smallest hashes
MAX_LEADERS = 8  # compared within one bucket, so that a template in ten thousand rows costs no square
PAIRS_AT_ONCE, SKETCHES_AT_ONCE = 20_000, 200_000  # what is held for each at once is many times its size


class _Letters(dict[int, str]):
    def __missing__(self, code: int) -> str:
        apart = unicodedata.normalize("NFKD", chr(code).casefold())
        self[code] = letter = next((c for c in apart if c.isalpha()), "")
        return letter


_LETTERS = _Letters({END: chr(END)})


def _shape_table(encoding: str) -> tuple[bytes, bytes]:
    """(translation, bytes to drop) of an 8-bit encoding. Portuguese fits in one, where this is ten times as fast."""
    letters = [_LETTERS[ord(bytes([i]).decode(encoding, "replace"))] for i in range(256)]
    table = bytes(ord(letter) if letter.isascii() and letter else i for i, letter in enumerate(letters))
    return table, bytes(i for i, letter in enumerate(letters) if not letter)


_SHAPES = {encoding: _shape_table(encoding) for encoding in ("latin-1", "cp1252")}


def shape_of(text: str) -> bytes:
    """The letters of a text without case, accents, digits, punctuation and blanks."""
    shape = _plain_shape(text)
    return text.translate(_LETTERS).encode("latin-1", "xmlcharrefreplace") if shape is None else shape


def shapes_of(batch: Batch) -> bytes:
    """shape_of each text with NUL behind it: in one pass where all fit in one encoding."""
    if batch.latin is not None:
        return batch.latin.translate(*_SHAPES["latin-1"])
    shapes = _plain_shape(batch.joined)
    return b"".join([shape_of(text) + b"\0" for text in batch.texts]) if shapes is None else shapes


def _plain_shape(text: str) -> bytes | None:
    for encoding, (table, dropped) in _SHAPES.items():
        try:
            return text.encode(encoding).translate(table, dropped)
        except UnicodeEncodeError:
            continue
    return None


class _Shapes:
    """The shapes of one batch: letters with NUL behind each text; starts, ends and sizes of each."""

    def __init__(self, batch: Batch) -> None:
        self._joined = shapes_of(batch)
        self._letters = np.frombuffer(self._joined, np.uint8)
        self._ends = np.flatnonzero(self._letters == END)
        self.sizes = np.diff(self._ends, prepend=-1) - 1
        # The 8 letters from each place on as one number.
        self._eights = np.ndarray((max(len(self._joined) - EIGHT + 1, 0),), "<u8", self._joined, strides=(1,))

    def marks(self, rows: Rows) -> list[int]:
        """Equal for equal shapes."""
        ends = self._ends[rows]
        starts = ends - self.sizes[rows]
        return [hash(self._joined[start:end]) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]

    def sequences(self, letter: int, length: int) -> tuple[Rows, Marks]:
        """(row, hash) of the 8 to 16 letters behind each `letter`, where the text has so many."""
        places = np.flatnonzero(self._letters == letter)
        rows = np.repeat(np.arange(len(self._ends)), counts_of(places, self._ends))
        whole = places + length < self._ends[rows]
        places = places[whole] + 1
        last = self._eights[places + (length - EIGHT)] * SPREAD
        return rows[whole], mixed(self._eights[places] ^ last)


class _Tier(NamedTuple):
    """Texts of shortest <= letters < longest, by the sequences of `length` letters behind `letter`."""

    shortest: int
    longest: int
    letter: int
    length: int


# The letter before sequences is rarer the longer the texts, so that a sketch costs about the same; the ranges overlap,
# so that two texts of similar lengths always meet in one.
TIERS = (_Tier(40, 260, ord("a"), 8), _Tier(200, 700, ord("m"), 12), _Tier(500, 1 << 30, ord("v"), 12))


def _sketches(shapes: _Shapes, tier: _Tier) -> tuple[Rows, Sketches]:
    """The rows of this tier that have a sketch, and the sketches."""
    fits = (shapes.sizes >= tier.shortest) & (shapes.sizes < tier.longest)
    if not fits.any():
        return np.flatnonzero(fits), np.empty((0, SKETCH), np.uint32)
    rows, hashes = shapes.sequences(tier.letter, tier.length)
    fitting = fits[rows]
    keys = np.sort((rows[fitting].astype(np.uint64) << np.uint64(32)) | (hashes[fitting] >> np.uint64(32)))
    keys = keys[np.diff(keys, prepend=~keys[:1]) != 0]
    rows = (keys >> np.uint64(32)).astype(np.int64)
    ranks = np.arange(len(rows)) - np.searchsorted(rows, np.arange(len(fits)))[rows]
    small = ranks < SKETCH
    found = np.full((len(fits), SKETCH), NO_HASH)
    found[rows[small], ranks[small]] = keys[small].astype(np.uint32)
    enough = np.flatnonzero(found[:, LEAST_HASHES - 1] != NO_HASH)
    return enough, found[enough]


class Likeness:
    """Takes texts in, row by row; `settle` then tells which rows are equal and which are alike.

    first: per row, the first row of the same text. family: per row, the first row of all that are equal or nearly so,
    directly or through others.
    """

    def __init__(self) -> None:
        self._contents = bytearray()
        self._shape_rows, self._shapes = array("q"), array("q")
        self._sketched = [(bytearray(), bytearray()) for _ in TIERS]  # rows and their sketches
        self.first = self.family = np.empty(0, np.int64)

    def add(self, batch: Batch) -> None:
        start = len(self._contents) // MARK_BYTES
        shapes = _Shapes(batch)
        self._contents += batch.marks.tobytes()
        bare = shapes.sizes >= MIN_SHAPE_LETTERS
        for tier, (rows, sketches) in zip(TIERS, self._sketched, strict=True):
            found, sketch = _sketches(shapes, tier)
            rows += (found + start).tobytes()
            sketches += sketch.tobytes()
            bare[found] = False
        # Equal letters have equal sketches: only where there is none they are told by themselves.
        self._shape_rows.extend((np.flatnonzero(bare) + start).tolist())
        self._shapes.extend(shapes.marks(np.flatnonzero(bare)))

    def settle(self) -> None:
        """Compute `first` and `family`; after the last row."""
        if len(self.first) * MARK_BYTES == len(self._contents):
            return
        self.first = first_of(np.frombuffer(self._contents, np.uint64))
        every = np.arange(len(self.first))
        rows = np.array(self._shape_rows, np.int64)
        pairs = [(every, self.first), (rows, rows[first_of(np.array(self._shapes, np.int64))])]
        for rows_held, sketches in self._sketched:
            table = np.frombuffer(sketches, np.uint32).reshape(-1, SKETCH)
            pairs.extend(_near(np.frombuffer(rows_held, np.int64), table))
        self.family = joined(len(every), pairs)


def _near(rows: Rows, sketches: Sketches) -> Iterator[Pairs]:
    """(one, other) for each two of these rows that were found to be nearly equal."""
    content = _content(sketches)
    first = first_of(content)
    yield rows, rows[first]
    distinct = np.flatnonzero(first == np.arange(len(rows)))
    shares = 1 << (len(distinct) // SKETCHES_AT_ONCE).bit_length()
    for share in range(shares):
        keys, places = _keys(sketches, distinct, share, shares)
        for leaders, others in _led(sketches, *_buckets(keys, places, content)):
            yield rows[leaders], rows[others]


def _keys(sketches: Sketches, distinct: Rows, share: int, shares: int) -> tuple[Marks, Rows]:
    """(key, place) of two of the smallest hashes each, of one share of all keys: equal keys are in the same."""
    keys, places = [], []
    for one, other in combinations(range(RANKS), 2):
        chosen = distinct[(sketches[distinct, one] & (shares - 1)) == share]
        keys.append((sketches[chosen, one].astype(np.uint64) << np.uint64(32)) | sketches[chosen, other])
        places.append(chosen)
    return np.concatenate(keys), np.concatenate(places)


def _buckets(keys: Marks, places: Rows, content: Marks) -> tuple[Rows, Rows]:
    """(bucket, place) of those that share a key, by bucket and content."""
    order = np.argsort(keys)
    keys = keys[order]
    starts = np.diff(keys, prepend=~keys[:1]) != 0
    shared = ~starts
    shared[:-1] |= shared[1:]
    buckets, places = np.cumsum(starts)[shared], places[order[shared]]
    by_content = np.lexsort((content[places], buckets))
    return buckets[by_content], places[by_content]


def _led(sketches: Sketches, buckets: Rows, places: Rows) -> Iterator[Pairs]:
    """(leader, other) places of those that resemble the leader of their bucket.

    A bucket's first leader is its first sketch by content, whatever the order of the rows; the next is the first that
    no leader before resembles.
    """
    for _ in range(MAX_LEADERS):
        firsts = np.diff(buckets, prepend=-1) != 0
        leaders = places[firsts][np.cumsum(firsts) - 1][~firsts]
        buckets, places = buckets[~firsts], places[~firsts]
        alike = resemble(sketches, leaders, places)
        yield leaders[alike], places[alike]
        buckets, places = buckets[~alike], places[~alike]


def _content(sketches: Sketches) -> Marks:
    """Equal for equal sketches."""
    content = np.zeros(len(sketches), np.uint64)
    for column in sketches.T:
        content = mixed(content ^ column)
    return content


def resemble(sketches: Sketches, ones: Rows, others: Rows) -> NDArray[np.bool_]:
    """Per pair whether both share enough: Jaccard's index, estimated on the SKETCH smallest hashes of the two."""
    alike = np.empty(len(ones), bool)
    for start in range(0, len(ones), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        both = np.sort(np.hstack([sketches[ones[part]], sketches[others[part]]]))
        new = np.diff(both, prepend=NO_HASH) != 0
        smallest = (np.cumsum(new, axis=1) <= SKETCH) & (both != NO_HASH)
        # A hash is once in a sketch: one that is not new is in both.
        alike[part] = (smallest & ~new).sum(axis=1) >= SHARED * (smallest & new).sum(axis=1)
    return alike


def first_of(marks: NDArray[Any]) -> Rows:
    """Per row the first row of the same mark."""
    order = np.argsort(marks, kind="stable")
    in_order = marks[order]
    new = np.ones(len(marks), bool)
    new[1:] = in_order[1:] != in_order[:-1]
    first = np.empty(len(marks), np.int64)
    first[order] = order[new][np.cumsum(new) - 1]
    return first


def joined(count: int, pairs: Sequence[Pairs]) -> Rows:
    """Per row of `count` the lowest row that pairs lead to, directly or through others."""
    pairs = [(one[one != other], other[one != other]) for one, other in pairs]
    one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
    root = np.arange(count)
    while True:
        one, other = root[one], root[other]
        apart = one != other
        if not apart.any():
            return root
        one, other = one[apart], other[apart]
        np.minimum.at(root, np.maximum(one, other), np.minimum(one, other))
        while (root[root] != root).any():
            root = root[root]
