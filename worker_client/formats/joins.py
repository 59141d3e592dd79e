"""Which rows belong together: one group, one case, one text, one family of near-duplicates."""

from __future__ import annotations

from array import array
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from worker_client.formats.batch import Batch, Rows
from worker_client.formats.likeness import Likeness, Pairs, first_of, joined

# A family of near-duplicates may hold this many rows, or this share of all, and is kept on one side; a larger one is
# a template ("Intimação do réu, prazo de 5 dias") that no split could keep whole and still test what it trains.
FAMILY_ROWS, FAMILY_SHARE = 3, 0.05


class Joins:
    """Takes rows in and tells which stay on one side of a split. Only hashes are kept, no text and no number."""

    def __init__(self) -> None:
        self.likeness = Likeness()
        self._rows = 0
        self._group_rows, self._groups = array("q"), array("q")  # one entry per row that names its group
        self._case_rows, self._cases = array("q"), array("q")  # one entry per case number in a text

    def add(self, batch: Batch) -> None:
        self.likeness.add(batch)
        for row, record in enumerate(batch.records, start=self._rows):
            if record.group:
                self._group_rows.append(row)
                self._groups.append(hash(record.group))
        for place, found in batch.identifiers:
            self._case_rows.extend([self._rows + place] * len(found.cnj))
            self._cases.extend(map(hash, found.cnj))
        self._rows += len(batch.rows)

    @property
    def basis(self) -> str:
        """What names a group: `group` (the column), `cnj` (case numbers in the texts), or `` where nothing does."""
        if self._groups:
            return "group"
        return "cnj" if self._cases else ""

    @cached_property
    def groups(self) -> Pairs:
        """(row, group) pairs as two columns, groups numbered from 0.

        A row that names several cases is there several times.
        """
        rows, groups = (self._group_rows, self._groups) if self._groups else (self._case_rows, self._cases)
        return np.array(rows, np.int64), np.unique(np.array(groups, np.int64), return_inverse=True)[1]

    @property
    def num_groups(self) -> int:
        return int(self.groups[1].max(initial=-1)) + 1

    def has_group(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Per group whether any of the chosen rows is in it."""
        rows, groups = self.groups
        return np.bincount(groups[chosen[rows]], minlength=self.num_groups) > 0

    def shared_cases(self) -> Rows:
        """The rows, in order, that name a case which another row names too; none where a column names groups."""
        if self.basis != "cnj":
            return np.empty(0, np.int64)
        rows, cases = np.unique(np.stack(self.groups), axis=1)  # a text may repeat a number
        return np.unique(rows[np.bincount(cases)[cases] > 1])

    @cached_property
    def firm_units(self) -> Rows:
        """Per row the first row of its unit: what equal texts and groups hold together."""
        self.likeness.settle()
        return joined(self._rows, self._firm_pairs())

    def _firm_pairs(self) -> list[Pairs]:
        rows, groups = self.groups
        return [(np.arange(self._rows), self.likeness.first), (rows, rows[first_of(groups)])]

    @cached_property
    def units(self) -> Rows:
        """The same with near-duplicates, except families too large to keep whole."""
        return np.where(self.is_torn, self.firm_units, self._wide_units)

    @cached_property
    def _wide_units(self) -> Rows:
        self.likeness.settle()
        return joined(self._rows, [*self._firm_pairs(), (np.arange(self._rows), self.likeness.family)])

    @cached_property
    def is_torn(self) -> NDArray[np.bool_]:
        """Whether each row is of a family too large to keep whole.

        A unit that groups alone make this large stays whole: the person asked for it.
        """
        wide, firm = self._wide_units, self.firm_units
        sizes = np.bincount(wide, minlength=1)
        limit = max(FAMILY_ROWS, int(len(wide) * FAMILY_SHARE))
        widened = np.zeros(len(sizes), bool)
        widened[wide[firm != wide]] = True
        return (widened & (sizes > limit))[wide]

    def split_families(self) -> dict[str, int]:
        """How many families are too large to keep whole, and how many rows they have."""
        sizes = np.bincount(self._wide_units[self.is_torn])
        return {"families": int((sizes > 0).sum()), "rows": int(sizes.sum())}
