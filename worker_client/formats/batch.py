"""A batch of rows, and what passes over all their bytes at once tell of each: many times as fast as row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from worker_client.formats.identifiers import OAB_DIGITS, Identifiers, find_identifiers
from worker_client.formats.judge import Usual
from worker_client.formats.marks import Marks, encoded, mark_of, marks_of, mixed
from worker_client.formats.terms import Record, RowFault

Rows = NDArray[np.int64]
BATCH_ROWS = 2_000  # what is held for each, several times its text, should stay near the processor
END = 0  # XML cannot hold NUL, so it ends each text


class Batch:
    """Rows of one sheet, in order; all that is told of them is in their order, too.

    texts: of token rows the tokens joined by blanks. records: the same rows, if any has more than a text and a label.
    """

    def __init__(
        self, rows: Sequence[int], texts: Sequence[str], labels: Sequence[str], records: Sequence[Record] = ()
    ) -> None:
        self.rows, self.texts, self.labels, self.records = rows, texts, labels, records
        self.of_tokens = bool(records and records[0].tokens)
        self.joined = "\0".join([*self.texts, ""])

    @cached_property
    def latin(self) -> bytes | None:
        """`joined` in Latin-1, if all its characters are there: Portuguese mostly is."""
        try:
            return self.joined.encode("latin-1")
        except UnicodeEncodeError:
            return None

    @cached_property
    def marks(self) -> Marks:
        """Equal for equal texts."""
        return marks_of(map(encoded, self.texts) if self.latin is None else self.latin.split(b"\0")[:-1])

    @cached_property
    def outcomes(self) -> Marks:
        """Equal for equal labels, or tags."""
        if self.of_tokens:
            return marks_of(encoded("\x1f".join(record.tags)) for record in self.records)
        known = {label: mark_of(label) for label in set(self.labels)}
        return np.fromiter(map(known.__getitem__, self.labels), np.uint64, len(self.labels))

    def contents(self) -> Marks:
        """Equal for rows of equal text and outcome, token for token."""
        if not self.of_tokens:
            return mixed(self.marks ^ mixed(self.outcomes))
        # XML 1.0 cannot hold U+001E and U+001F, so no two contents give one string.
        return marks_of(encoded("\x1f".join((*record.tokens, "\x1e", *record.tags))) for record in self.records)

    @cached_property
    def _codes(self) -> NDArray[np.uint8]:
        """All characters of `joined` as far as Latin-1 has them; one that it lacks is a question mark."""
        return np.frombuffer(self.latin or self.joined.encode("latin-1", "replace"), np.uint8)

    @cached_property
    def _starts(self) -> Rows:
        return np.append(0, np.flatnonzero(self._codes == END)[:-1] + 1)

    def _count(self, chosen: NDArray[np.bool_]) -> Rows:
        return np.add.reduceat(chosen.view(np.uint8), self._starts, dtype=np.int64)

    def characters(self) -> Rows:
        """The length of each text, in code points."""
        return np.diff(self._starts, append=len(self._codes)) - 1

    def words(self) -> Rows:
        """The words of each text, one more than the blanks, or its tokens."""
        if self.of_tokens:
            return np.fromiter((len(record.tokens) for record in self.records), np.int64, len(self.records))
        return self._count((self._codes == ord(" ")) | (self._codes == ord("\n"))) + 1

    @cached_property
    def identifiers(self) -> list[tuple[int, Identifiers]]:
        """(place in the batch, what it holds) of each row with any identifier."""
        digits = self._count(self._codes - np.uint8(ord("0")) < 10)  # what is below wraps around
        places = np.flatnonzero(digits >= OAB_DIGITS).tolist()
        found = ((place, find_identifiers(self.texts[place], int(digits[place]))) for place in places)
        return [(place, held) for place, held in found if any(held)]


def batches_of(judged: Usual | Sequence[Record | RowFault]) -> Iterator[Batch]:
    """The good rows of these, BATCH_ROWS at a time."""
    records = [] if isinstance(judged, Usual) else [item for item in judged if isinstance(item, Record)]
    rows, texts, labels = judged if isinstance(judged, Usual) else _columns(records)
    for start in range(0, len(rows), BATCH_ROWS):
        part = slice(start, start + BATCH_ROWS)
        yield Batch(rows[part], texts[part], labels[part], records[part])


def _columns(records: Sequence[Record]) -> Usual:
    texts = [" ".join(record.tokens) if record.tokens else record.text for record in records]
    return Usual([record.row for record in records], texts, [record.label for record in records])


def counts_of(places: Rows, ends: Rows) -> Rows:
    """How many of the places, ascending, lie before each of the ends and behind the one before it."""
    return np.diff(np.searchsorted(places, ends), prepend=0)
