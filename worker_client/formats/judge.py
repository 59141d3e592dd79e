"""One row: a Record, or what is wrong with it. No file is opened here."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from worker_client.formats.bio import find_faults, parse_list, repair
from worker_client.formats.cells import Cell, OddCell, Rows, Stretch, column_letters, rows_of
from worker_client.formats.columns import OPTIONAL, ROLES, Match, fold
from worker_client.formats.terms import TEXT_CLASSIFICATION, Record, RowFault

VALUE_CHARS = 80
MAX_KNOWN = 100_000
# White space and characters without any face; a cell of nothing else is blank to a person.
BLANK = re.compile(r"[\s\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]*")
SPLITS = {
    "train": "train", "treino": "train", "treinamento": "train",
    "validation": "validation", "validacao": "validation", "valid": "validation", "val": "validation",
    "dev": "validation", "test": "test", "teste": "test",
}  # fmt: skip


class Usual(NamedTuple):
    """Rows that have a text, a label and nothing else to tell: columns, for a Record each takes time."""

    rows: list[int]
    texts: list[str]
    labels: list[str]


Judged = list[Record | RowFault]


def items_of(judged: Usual | Judged) -> Iterable[Record | RowFault]:
    return map(Record, *judged) if isinstance(judged, Usual) else judged


def faults_of(judged: Usual | Judged) -> list[RowFault]:
    return [] if isinstance(judged, Usual) else [item for item in judged if isinstance(item, RowFault)]


def normalise(text: str) -> str:
    """NFC and trimmed; empty when nothing in it can be seen."""
    return normalise_all([text])[0]


def normalise_all(texts: Sequence[str]) -> list[str]:
    """normalise of each."""
    try:
        "".join(texts).encode("latin-1")  # such text is NFC already, and finding out this way is ten times as fast
    except UnicodeEncodeError:
        texts = [unicodedata.normalize("NFC", text) for text in texts]
    stripped = map(str.strip, texts)
    return ["" if text >= "\u00ad" and BLANK.fullmatch(text) else text for text in stripped]


class _Normalised(dict[str, str]):
    """Texts that many rows have, each normalised once."""

    def __missing__(self, text: str) -> str:
        clean = normalise(text)
        if len(self) < MAX_KNOWN:
            self[text] = clean
        return clean


def face(cell: Cell | None) -> str:
    if cell is None:
        return ""
    return normalise(cell if isinstance(cell, str) else cell.text)


class Judge:
    """Judges the rows of one sheet. header: column -> header as written."""

    def __init__(self, header: Mapping[int, str], match: Match, repair_bio: bool) -> None:
        self._header = header
        self._columns = match.columns
        self._repair_bio = repair_bio
        self._first, self._second = (match.columns[role] for role in ROLES[match.task_type])
        self._extras = [role for role in OPTIONAL if role in match.columns]
        self._plain_text = match.task_type == TEXT_CLASSIFICATION
        self._read = self._read_text if self._plain_text else self._read_tokens
        self._labels = _Normalised()
        self.rows = 0  # that are not blank

    def judge_all(self, stretch: Rows) -> Usual | Judged:
        """What `judge` finds in each row, in order."""
        if isinstance(stretch, Stretch) and (usual := self._usual(stretch)) is not None:
            self.rows += len(usual.rows)
            return usual
        judged: Judged = []
        for number, cells in rows_of(stretch):
            found = self.judge(number, cells)
            self.rows += bool(found)
            judged += found
        return judged

    def _usual(self, stretch: Stretch) -> Usual | None:
        if not self._plain_text or self._extras or not {self._first, self._second} <= stretch.texts.keys():
            return None
        texts = normalise_all(stretch.texts[self._first])
        labels = [self._labels[label] for label in stretch.texts[self._second]]
        return Usual(stretch.numbers, texts, labels) if all(texts) and all(labels) else None

    def judge(self, row: int, cells: dict[int, Cell]) -> Judged:
        """An empty list for a blank row, one Record, or every RowFault of the row."""
        first, second = cells.get(self._first), cells.get(self._second)
        if type(first) is str and type(second) is str and not self._extras:
            text = normalise(first)
            if text and normalise(second):
                return self._read(row, text, second, {})
        used = {role: cells[column] for role, column in self._columns.items() if column in cells}
        odd = [(role, cell) for role, cell in used.items() if isinstance(cell, OddCell)]
        if faults := [self._error(row, role, cell) for role, cell in odd if cell.kind == "error"]:
            return [*faults]
        facts: dict[str, Any] = {role: face(used.get(role)) for role in self._extras}
        facts["formulas"] = sum(cell.formula for _, cell in odd)
        if not facts["formulas"] and not any(face(cells.get(column)) for column in self._header):
            return []
        facts["dates"] = sum(cell.kind == "date" for _, cell in odd)
        if facts.get("split"):
            named = SPLITS.get(fold(facts["split"]))
            if named is None:
                return [
                    self._fault(row, "split", "unknown_split", facts["split"], allowed=["train", "validation", "test"])
                ]
            facts["split"] = named
        judged = self._read(row, face(first), face(second), facts)
        return [self._note_formula(fault, used) if isinstance(fault, RowFault) else fault for fault in judged]

    def _read_text(self, row: int, text: str, label: str, facts: dict[str, Any]) -> Judged:
        clean = self._labels[label]
        if text and clean:
            return [Record(row, text, clean, **facts)]
        return self._empty(row, text, clean, "text", "label")

    def _read_tokens(self, row: int, cell: str, tag_cell: str, facts: dict[str, Any]) -> Judged:
        tokens, tags = parse_list(cell), parse_list(normalise(tag_cell))
        if not tokens or not tags:
            return self._empty(row, "".join(tokens), "".join(tags), "tokens", "tags")
        if len(tokens) != len(tags):
            return [self._fault(row, "tags", "length_mismatch", tag_cell, tokens=len(tokens), tags=len(tags))]
        faults = find_faults(tags)
        if not faults:
            return [Record(row, tokens=tuple(tokens), tags=tuple(tags), **facts)]
        # A tag that is no tag at all cannot be mended: it is named first.
        worst = min(faults, key=lambda fault: (bool(fault.repaired), fault.position))
        if self._repair_bio and worst.repaired:
            mended = repair(tags, faults)
            return [Record(row, tokens=tuple(tokens), tags=mended, repaired=len(faults), **facts)]
        about = {"position": worst.position, "token": tokens[worst.position - 1][:VALUE_CHARS], "count": len(faults)}
        about |= {"tag": worst.tag[:VALUE_CHARS], "repaired": worst.repaired[:VALUE_CHARS]}
        return [self._fault(row, "tags", "invalid_bio", worst.tag, **about)]

    def _empty(self, row: int, first: str, second: str, role: str, other: str) -> Judged:
        faults: Judged = []
        if not first:
            faults.append(self._fault(row, role, "empty_text", ""))
        if not second:
            faults.append(self._fault(row, other, "empty_label", ""))
        return faults

    def _error(self, row: int, role: str, cell: OddCell) -> RowFault:
        return self._fault(row, role, "error_cell", cell.text, error=cell.text[:VALUE_CHARS])

    def _note_formula(self, fault: RowFault, used: Mapping[str, Cell]) -> RowFault:
        """An empty cell that holds a formula looks full in Excel until one knows that its result was never saved."""
        role = next(role for role, column in self._columns.items() if column_letters(column) == fault.column)
        cell = used.get(role)
        if fault.code in ("empty_text", "empty_label") and isinstance(cell, OddCell) and cell.formula:
            fault.params["formula"] = True
        return fault

    def _fault(self, row: int, role: str, code: str, value: str, **params: Any) -> RowFault:
        column = self._columns[role]
        params["header"] = self._header[column].strip()
        return RowFault(row, column_letters(column), code, params, value[:VALUE_CHARS])
