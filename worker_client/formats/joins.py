"""Which rows belong together: one group, one case, one text, one family of near-duplicates."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import compress

from worker_client.formats.identifiers import Identifiers, cnj_numbers
from worker_client.formats.likeness import Likeness, Union
from worker_client.formats.terms import Record

# A family of near-duplicates may hold this many rows, or this share of all, and is kept on one side; a larger one is
# a template ("Intimação do réu, prazo de 5 dias") that no split could keep whole and still test what it trains.
FAMILY_ROWS, FAMILY_SHARE = 3, 0.05


class Joins:
    """Takes rows in and tells which stay on one side of a split. Only hashes are kept, no text and no number."""

    def __init__(self) -> None:
        self.likeness = Likeness()
        self._groups = array("q")  # hash of each row's group, 0 for none
        self._case_rows, self._cases = array("I"), array("q")  # one entry per case number in a text
        self.large_families = 0
        self.large_rows = 0

    def add(
        self, records: Sequence[Record], texts: Sequence[str] = (), found: Sequence[Identifiers] | None = None
    ) -> None:
        """texts: text_of each record, and found: what they hold, where that is known already."""
        texts = texts or [text_of(record) for record in records]
        numbers = [each.cnj for each in found] if found is not None else [cnj_numbers(text) for text in texts]
        start = len(self._groups)
        self.likeness.add(texts)
        self._groups.extend(hash(record.group) if record.group else 0 for record in records)
        for row, cases in compress(enumerate(numbers, start=start), numbers):
            self._case_rows.extend([row] * len(cases))
            self._cases.extend(map(hash, cases))

    @property
    def basis(self) -> str:
        """What names a group: `group` (the column), `cnj` (case numbers in the texts), or `` where nothing does."""
        if any(self._groups):
            return "group"
        return "cnj" if self._cases else ""

    def groups(self) -> tuple[array[int], array[int]]:
        """(row, group) pairs as two columns; a row that names several cases is there several times."""
        if self.basis != "group":
            return self._case_rows, self._cases
        rows = array("I", compress(range(len(self._groups)), self._groups))
        return rows, array("q", compress(self._groups, self._groups))

    def shared_cases(self) -> list[int]:
        """The rows, in order, that name a case which another row names too; none where a column names groups."""
        if self.basis != "cnj":
            return []
        named = set(zip(self._case_rows, self._cases, strict=True))  # a text may repeat a number
        rows_of = Counter(case for _, case in named)
        return sorted({row for row, case in named if rows_of[case] > 1})

    def units(self, *, alike: bool = True) -> array[int]:
        """Per row the first row of its unit. alike: with near-duplicates, except families too large to keep whole."""
        self.likeness.settle()
        strict = Union(len(self._groups))
        for row, first in enumerate(self.likeness.first):
            strict.join(first, row)
        seen: dict[int, int] = {}
        for row, group in zip(*self.groups(), strict=True):
            strict.join(seen.setdefault(group, row), row)
        firm = strict.roots()
        return self._with_families(strict, firm) if alike else firm

    def _with_families(self, strict: Union, firm: array[int]) -> array[int]:
        for row, root in enumerate(self.likeness.family):
            strict.join(root, row)
        wide = strict.roots()
        limit = max(FAMILY_ROWS, int(len(wide) * FAMILY_SHARE))
        sizes = Counter(wide)
        # A unit that groups alone make this large stays whole: the person asked for it.
        cut = {wide[root] for root in set(firm) if root != wide[root] and sizes[wide[root]] > limit}
        self.large_families, self.large_rows = len(cut), sum(sizes[root] for root in cut)
        return array("I", (one if root in cut else root for one, root in zip(firm, wide, strict=True)))


def text_of(record: Record) -> str:
    """The text of a row, or its tokens joined by blanks."""
    return " ".join(record.tokens) if record.tokens else record.text
