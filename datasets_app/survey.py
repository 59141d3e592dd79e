"""What is noticed while the rows of a sheet go by: counts, lengths, repeats. Pure, without Django.

Texts are not kept, only 64-bit hashes of them, so that a million rows fit; two texts of one hash would be taken as
equal, which is less likely than a disk error.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets_app.preview import preview_of
from datasets_app.report import ReportedWarning, SplitPlan
from worker_client.formats import TOKEN_CLASSIFICATION, Record, Sheet
from worker_client.formats.batch import Batch, Rows, batches_of
from worker_client.formats.columns import fold
from worker_client.formats.faces import NUMBER
from worker_client.formats.judge import Judged, Usual
from worker_client.formats.split import SplitRows

MAX_ROWS = 1_000
MAX_NAMES = 50
RARE_ROWS = 5
IMBALANCE_RATIO = 10
MAX_LENGTH = 256  # the default max_length of a run
# A Portuguese word costs BERTimbau about one and a half pieces, punctuation included; only the tokenizer knows exactly.
PIECES_PER_WORD = 1.5
SPECIAL_PIECES = 2
LENGTH_STEPS = (128, 256, 512)
LONG_WORDS = int((MAX_LENGTH - SPECIAL_PIECES) / PIECES_PER_WORD)


class Survey:
    """Collects facts of one sheet's good rows; `warnings` and `quality` tell them."""

    def __init__(self, sheet: Sheet, plan: SplitPlan | None) -> None:
        self._sheet = sheet
        self._of_tokens = sheet.task_type == TOKEN_CLASSIFICATION
        self._rows, self._outcomes = array("q"), bytearray()
        self._split_rows = SplitRows()
        self._joins = self._split_rows.joins
        self._plan = plan
        self._identifiers = {name: _Noted() for name in ("cnj", "cpf", "oab")}
        self._class_rows: defaultdict[str, list[int]] = defaultdict(list)
        self._characters: Counter[int] = Counter()
        self._words: Counter[int] = Counter()
        self._splits: Counter[str] = Counter()
        self._groups: set[int] = set()
        self._noted: dict[str, _Noted] = {code: _Noted() for code in ("repaired_bio", "date_label", "formula_cells")}
        self._long = _Noted()
        self._plain_rows = 0  # token rows without any entity
        self.tags: Counter[str] = Counter()
        self.class_counts: Counter[str] = Counter()  # rows of each label, or rows that hold each entity type

    @property
    def num_rows(self) -> int:
        return len(self._rows)

    def add(self, judged: Usual | Judged) -> None:
        """Take the good rows in, in sheet order."""
        for batch in batches_of(judged):
            self._add(batch)

    def _add(self, batch: Batch) -> None:
        words = batch.words()
        self._rows.extend(batch.rows)
        self._outcomes += batch.outcomes.tobytes()
        self._split_rows.add(batch)
        _tally(self._characters, batch.characters())
        _tally(self._words, words)
        self._note_classes(batch)
        for place in np.flatnonzero(words > LONG_WORDS).tolist():
            self._long.add(batch.rows[place])
        for place, found in batch.identifiers:
            for name, count in (("cnj", len(found.cnj)), ("cpf", found.cpf), ("oab", found.oab)):
                if count:
                    self._identifiers[name].add(batch.rows[place], count)
        for record in batch.records:
            if record.repaired or record.dates or record.formulas or record.group or record.split:
                self._add_rare_facts(record)

    def _types(self, record: Record) -> tuple[str, ...]:
        self.tags.update(record.tags)
        types = {tag[2:] for tag in record.tags if tag != "O"}
        self._plain_rows += not types
        return tuple(types)

    def _note_classes(self, batch: Batch) -> None:
        rows, names = batch.rows, batch.labels
        if batch.of_tokens:
            types = [self._types(record) for record in batch.records]
            rows = [row for row, found in zip(rows, types, strict=True) for _ in found]
            names = list(chain.from_iterable(types))
        self.class_counts.update(names)
        # Of a class whose list is full nothing is to be done: after the first rows that is nearly every class.
        open_rows = {name: noted for name in set(names) if len(noted := self._class_rows[name]) < MAX_ROWS}
        for row, name in zip(rows, names, strict=True) if open_rows else ():
            if name in open_rows and len(open_rows[name]) < MAX_ROWS:
                open_rows[name].append(row)

    def _add_rare_facts(self, record: Record) -> None:
        facts = {"repaired_bio": record.repaired, "date_label": record.dates, "formula_cells": record.formulas}
        for code, count in facts.items():
            if count:
                self._noted[code].add(record.row, count)
        if record.group:
            self._groups.add(hash(record.group))
        if record.split:
            self._splits[record.split] += 1

    def labels(self) -> list[dict[str, Any]]:
        """{name, count}: labels by name; tags with O first, then by type, B before I."""
        if not self._of_tokens:
            return [{"name": name, "count": count} for name, count in sorted(self.class_counts.items())]
        order = sorted(self.tags, key=lambda tag: (tag != "O", tag[2:], tag))
        return [{"name": tag, "count": self.tags[tag]} for tag in order]

    def warnings(self) -> list[ReportedWarning]:
        """In a fixed order; only those with something to say."""
        found = [
            *self._class_warnings(),
            *self._repeats(),
            self._long_text(),
            *(self._noted[code].warning(code, unit) for code, unit in UNITS.items()),
            self._number_labels(),
            self._shared_cases(),
            self._extra_columns(),
            *self._about_the_sheet(),
        ]
        return [warning for warning in found if warning.count]

    def _class_warnings(self) -> list[ReportedWarning]:
        counts = self.class_counts
        rare = sorted(name for name, count in counts.items() if count < RARE_ROWS)
        spellings: defaultdict[str, list[str]] = defaultdict(list)
        for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            spellings[fold(name)].append(name)
        groups = [names for names in spellings.values() if len(names) > 1]
        variants = [name for names in groups for name in names[1:]]
        sizes = self._class_sizes()
        top = max(sizes, key=lambda name: (sizes[name], name), default="")
        small = sorted(name for name in sizes if sizes[name] * IMBALANCE_RATIO <= sizes[top])
        about = {"unit": "classes", "largest": top, "classes": small[:MAX_NAMES], "ratio": IMBALANCE_RATIO}
        return [
            self._of_classes("rare_class", rare, classes=rare[:MAX_NAMES], below=RARE_ROWS),
            self._of_classes("label_variant", variants, groups=[names[:MAX_NAMES] for names in groups[:MAX_NAMES]]),
            ReportedWarning("imbalance", len(small), [], about),
        ]

    def _of_classes(self, code: str, names: Iterable[str], **params: Any) -> ReportedWarning:
        names = list(names)
        rows = sorted({row for name in names for row in self._class_rows[name]})[:MAX_ROWS]
        return ReportedWarning(code, sum(self.class_counts[name] for name in names), rows, {"unit": "rows", **params})

    def _class_sizes(self) -> dict[str, int]:
        """Rows of each label, or entities of each type (an entity begins with B)."""
        if not self._of_tokens:
            return dict(self.class_counts)
        return {name: self.tags[f"B-{name}"] for name in self.class_counts}

    def _repeats(self) -> list[ReportedWarning]:
        """Rows after the first of their text; all rows of texts with two outcomes; rows that only look different."""
        self._joins.likeness.settle()
        first, family = self._joins.likeness.first, self._joins.likeness.family
        outcomes = np.frombuffer(self._outcomes, np.uint64)
        torn = np.zeros(len(first), bool)
        torn[first[outcomes != outcomes[first]]] = True
        repeated = first != np.arange(len(first))
        self._distinct = int((~repeated).sum())
        return [
            self._of_rows("duplicate_text", repeated),
            self._of_rows("contradictory_labels", torn[first], texts=int(torn.sum())),
            self._of_rows("near_duplicate", first != family),
        ]

    def _of_rows(self, code: str, chosen: NDArray[np.bool_], **params: Any) -> ReportedWarning:
        rows = np.frombuffer(self._rows, np.int64)[chosen]
        return ReportedWarning(code, len(rows), rows[:MAX_ROWS].tolist(), {"unit": "rows", **params})

    def _long_text(self) -> ReportedWarning:
        share = round(self._long.count / max(self.num_rows, 1), 4)
        return self._long.warning(
            "long_text", "rows", max_length=MAX_LENGTH, share=share, basis="words", pieces_per_word=PIECES_PER_WORD
        )

    def _number_labels(self) -> ReportedWarning:
        """Labels that are numbers: often the codes of a list that stands elsewhere, or a column that was not meant."""
        numbers = [] if self._of_tokens else sorted(name for name in self.class_counts if NUMBER.fullmatch(name))
        return self._of_classes("number_label", numbers, classes=numbers[:MAX_NAMES])

    def _shared_cases(self) -> ReportedWarning:
        """Rows that share a case number where no column names groups: a random split would put a case on both sides."""
        shared = np.zeros(self.num_rows, bool)
        shared[self._joins.shared_cases()] = True
        return self._of_rows("shared_case", shared)

    def _about_the_sheet(self) -> list[ReportedWarning]:
        hidden, header = self._sheet.hidden_sheets, self._sheet.header_row
        return [
            ReportedWarning("hidden_sheet", len(hidden), [], {"unit": "sheets", "sheets": hidden[:MAX_NAMES]}),
            ReportedWarning("late_header", int(header > 1), [header], {"unit": "rows"}),
        ]

    def _extra_columns(self) -> ReportedWarning:
        extra = self._sheet.extra_columns
        return ReportedWarning("extra_columns", len(extra), [], {"unit": "columns", "columns": extra[:MAX_NAMES]})

    def quality(self) -> dict[str, Any]:
        """Lengths in characters and words, estimated shares beyond common max_lengths, class shares, entities, splits.

        Call after `warnings`. Shares are 0 to 1. Words are counted by the blanks between them, or are the tokens.
        """
        sizes = self._class_sizes()
        total = sum(sizes.values()) or 1
        by_size = sorted(sizes, key=lambda name: (-sizes[name], name))
        told: dict[str, Any] = {
            "characters": _distribution(self._characters),
            "words": _distribution(self._words),
            "beyond": [self._beyond(step) for step in LENGTH_STEPS],
            "distinct_texts": self._distinct,
            "classes": [{"name": n, "count": sizes[n], "share": round(sizes[n] / total, 4)} for n in by_size],
            "groups": len(self._groups),
            "identifiers": {
                name: {"count": noted.count, "rows_count": noted.rows_count}
                for name, noted in self._identifiers.items()
            },
            "splits": dict(sorted(self._splits.items())),
        }
        if self._of_tokens:
            told["tokens"] = sum(self.tags.values())
            told["tokens_outside"] = self.tags["O"]
            told["rows_without_entity"] = self._plain_rows
            told["entity_rows"] = {name: self.class_counts[name] for name in by_size}
        if self._plan is not None:
            told["split"] = preview_of(self._split_rows, self._plan)
        return told

    def _beyond(self, max_length: int) -> dict[str, Any]:
        rows = sum(n for words, n in self._words.items() if words * PIECES_PER_WORD + SPECIAL_PIECES > max_length)
        return {
            "max_length": max_length,
            "rows": rows,
            "share": round(rows / max(self.num_rows, 1), 4),
            "basis": "words",
        }


UNITS = {"repaired_bio": "tags", "date_label": "cells", "formula_cells": "cells"}


class _Noted:
    """A count and the first rows that it comes from."""

    def __init__(self) -> None:
        self.count = 0
        self.rows_count = 0
        self.rows: list[int] = []

    def add(self, row: int, count: int = 1) -> None:
        self.count += count
        self.rows_count += 1
        if len(self.rows) < MAX_ROWS:
            self.rows.append(row)

    def warning(self, code: str, unit: str, **params: Any) -> ReportedWarning:
        return ReportedWarning(code, self.count, self.rows, {"unit": unit, **params})


def _tally(counts: Counter[int], values: Rows) -> None:
    distinct, occurrences = np.unique(values, return_counts=True)
    counts.update(dict(zip(distinct.tolist(), occurrences.tolist(), strict=True)))


def _distribution(counts: Counter[int]) -> dict[str, float]:
    """Nearest-rank percentiles; all zero without rows."""
    total = sum(counts.values())
    if not total:
        return {"min": 0, "p50": 0, "p90": 0, "p99": 0, "max": 0, "mean": 0}
    told: dict[str, float] = {"min": min(counts), "max": max(counts)}
    told["mean"] = round(sum(value * n for value, n in counts.items()) / total, 1)
    ranks = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    seen = 0
    for value in sorted(counts):
        seen += counts[value]
        for name in [name for name, share in ranks.items() if seen >= share * total]:
            told[name] = value
            del ranks[name]
    return told
