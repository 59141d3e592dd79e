"""The words of the sheet reader: what is asked, what comes back, what refuses a file. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TEXT_CLASSIFICATION = "text_classification"
TOKEN_CLASSIFICATION = "token_classification"  # noqa: S105  (a task, not a secret)
TASK_TYPES = (TEXT_CLASSIFICATION, TOKEN_CLASSIFICATION)

MIB = 1024 * 1024


class SheetRefused(Exception):
    """The whole file is refused.

    code: one of not_xlsx, encrypted, corrupt, unsafe_xml, too_large, too_many_rows, sheet_not_found,
    missing_columns, duplicate_column, no_rows, too_few_classes. params: facts for a translated message
    (JSON types only). str() is plain English and never holds text of the sheet's rows.
    """

    def __init__(self, code: str, detail: str, **params: Any) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.params: dict[str, Any] = params


@dataclass(frozen=True)
class Limits:
    """Caps of one reading, enforced on what really appears, never on what the file declares about itself."""

    max_file_bytes: int = 512 * MIB
    max_entries: int = 2_000
    max_inflated_bytes: int = 768 * MIB  # a million rows of 400 characters are 550
    max_part_bytes: int = 16 * MIB  # each of workbook, relationships and styles
    max_strings: int = 5_000_000  # entries of the shared string table
    max_rows: int = 1_000_000
    max_cells: int = 20_000_000
    max_cell_chars: int = 32_767  # Excel's own
    max_row_bytes: int = 16 * MIB


@dataclass(frozen=True)
class SheetRequest:
    """What the person asked for. Empty means: find out.

    columns: role -> header; roles are text, label, tokens, tags, id, group, split.
    """

    task_type: str | None = None
    sheet: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, unsafe_hash=True)
class Record:
    """One data row that passed: every text NFC-normalised and trimmed, `split` empty or train, validation, test.

    Never change one: it is not frozen only because that makes a million of them seven times slower to build.
    row: the number that Excel shows. The last three are facts for the report: BIO tags repaired in this row,
    cells taken from a formula's cached value, cells that held a date (now ISO text).
    """

    row: int
    text: str = ""
    label: str = ""
    tokens: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    id: str = ""
    group: str = ""
    split: str = ""
    repaired: int = 0
    formulas: int = 0
    dates: int = 0


@dataclass(frozen=True, slots=True)
class RowFault:
    """One thing wrong in one cell.

    column: Excel's letters (`B`); the header is in params["header"]. code: empty_text, empty_label, error_cell,
    length_mismatch, invalid_bio, unknown_split. value: the cell, shortened to 80 characters.
    """

    row: int
    column: str
    code: str
    params: dict[str, Any] = field(default_factory=dict)
    value: str = ""


@dataclass(frozen=True)
class Sheet:
    """A sheet that was chosen and whose header matched.

    columns: role -> header as written, trimmed. letters: role -> Excel's column letters.
    extra_columns: headers that nothing uses, in sheet order. header_row: its number in the sheet.
    hidden_sheets: names of those that a person does not see and that were not asked for.
    """

    name: str
    task_type: str
    columns: dict[str, str]
    extra_columns: list[str]
    letters: dict[str, str]
    header_row: int
    hidden_sheets: list[str] = field(default_factory=list)
