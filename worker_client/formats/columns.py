"""Which column plays which role: headers matched without case, accents, blanks and byte order marks."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from worker_client.formats.cells import column_letters
from worker_client.formats.terms import (
    TASK_TYPES,
    TEXT_CLASSIFICATION,
    TOKEN_CLASSIFICATION,
    SheetRefused,
    SheetRequest,
)

ROLES = {TEXT_CLASSIFICATION: ("text", "label"), TOKEN_CLASSIFICATION: ("tokens", "tags")}
OPTIONAL = ("id", "group", "split")
# The first that the sheet has plays the role; the others stay extra columns.
NAMES = {
    "text": ("text", "texto", "conteudo", "documento"),
    "label": ("label", "rotulo", "classe", "categoria"),
    "tokens": ("tokens",),
    "tags": ("tags",),
    "id": ("id",),
    "group": ("group", "grupo", "processo"),
    "split": ("split",),
}


def fold(text: str) -> str:
    """`text` without case, accents, blanks and invisible characters, for comparing."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in apart if not c.isspace() and unicodedata.category(c) not in ("Mn", "Cf"))


@dataclass(frozen=True)
class Match:
    """What a header row means. columns: role -> column number."""

    task_type: str
    columns: dict[str, int]


def match_header(header: Mapping[int, str], request: SheetRequest) -> Match:
    """header: column -> header text, no blanks. Raises SheetRefused: missing_columns, duplicate_column."""
    task_type = request.task_type or _guess_task(header, request)
    columns: dict[str, int] = {}
    missing: list[str] = []
    for role in (*ROLES[task_type], *OPTIONAL):
        found = _find(header, role, request.columns.get(role) or "")
        if found is not None:
            columns[role] = found
        elif role not in OPTIONAL or request.columns.get(role):
            missing.append(request.columns.get(role) or role)
    if missing:
        raise missing_columns(header, missing)
    _refuse_shared_columns(header, columns)
    return Match(task_type, columns)


def missing_columns(header: Mapping[int, str], missing: Iterable[str]) -> SheetRefused:
    found = [header[column].strip() for column in sorted(header)]
    missing = list(missing)
    listed = ", ".join(found[:50]) or "none"
    return SheetRefused(
        "missing_columns",
        f"missing: {', '.join(missing)}; columns found: {listed}; rename a column or name it in the request",
        missing=missing,
        found=found[:200],
    )


def _guess_task(header: Mapping[int, str], request: SheetRequest) -> str:
    """The task whose two columns are there: of those that a column was named for, or else text classification first."""
    named = {role for role, name in request.columns.items() if name}
    meant = [task for task in TASK_TYPES if named.intersection(ROLES[task])]
    meant.sort(key=lambda task: -len(named.intersection(ROLES[task])))
    for task in meant or TASK_TYPES:
        if all(_candidates(header, role, request.columns.get(role) or "") for role in ROLES[task]):
            return task
    if meant:
        return meant[0]
    folded = {fold(name) for name in header.values()}
    # Half of a pair tells what the person meant.
    return TOKEN_CLASSIFICATION if folded & {"tokens", "tags"} else TEXT_CLASSIFICATION


def _find(header: Mapping[int, str], role: str, wanted: str) -> int | None:
    found = _candidates(header, role, wanted)
    if len(found) > 1 and role != "id":
        name = header[found[0]].strip()
        letters = [column_letters(column) for column in found]
        raise SheetRefused(
            "duplicate_column",
            f"the column {name} is there {len(found)} times ({', '.join(letters)}); keep one",
            column=name,
            letters=letters,
        )
    return found[0] if found else None


def _candidates(header: Mapping[int, str], role: str, wanted: str) -> list[int]:
    if wanted:
        exact = [column for column in sorted(header) if header[column].strip() == wanted.strip()]
        return exact or [column for column in sorted(header) if fold(header[column]) == fold(wanted)]
    for name in NAMES[role]:
        if found := [column for column in sorted(header) if fold(header[column]) == name]:
            return found
    return []


def _refuse_shared_columns(header: Mapping[int, str], columns: Mapping[str, int]) -> None:
    owners: dict[int, str] = {}
    for role, column in columns.items():
        if column in owners:
            raise SheetRefused(
                "duplicate_column",
                f"the column {header[column].strip()} cannot be both {owners[column]} and {role}",
                column=header[column].strip(),
                roles=[owners[column], role],
            )
        owners[column] = role
