"""What is wrong with a sheet, in a sentence that says what to do: from code and facts to the reader's language."""

from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext


def refusal_sentence(code: str, params: dict[str, Any]) -> str:
    """Why the whole file is refused."""
    facts = {name: _listed(value) for name, value in params.items()}
    sentences = {
        "not_xlsx": _("This is not an Excel workbook (.xlsx). Open it in Excel and save it as an .xlsx workbook."),
        "encrypted": _("The workbook is protected by a password. Save a copy without the password and send that one."),
        "corrupt": _("The file is damaged or was cut short. Open it in Excel, save it again and send the new copy."),
        "unsafe_xml": _("The file holds XML declarations that no spreadsheet program writes. It was not read."),
        "too_large": _("The workbook holds more than this server reads. Split it into several files."),
        "no_rows": _("The sheet has a header but no rows below it. Fill in at least two examples."),
    }
    if code in sentences:
        return sentences[code]
    if code == "too_many_rows":
        return _("The sheet has more than %(limit)s rows, the most that this server reads.") % {
            "limit": facts.get("limit", "?")
        }
    if code == "sheet_not_found":
        return _("There is no sheet “%(wanted)s” in this workbook. Its visible sheets: %(sheets)s.") % {
            "wanted": facts.get("wanted", ""),
            "sheets": facts.get("sheets", ""),
        }
    if code == "missing_columns" and params.get("header_row"):
        return _(
            "Column not found: %(missing)s. Columns read: %(found)s. Row %(row)s looks like the header: delete the "
            "rows above it."
        ) % {"missing": facts.get("missing", ""), "found": facts.get("found", ""), "row": facts["header_row"]}
    if code == "missing_columns":
        return _("Column not found: %(missing)s. Columns read: %(found)s. Rename a column, or say which one it is.") % {
            "missing": facts.get("missing", ""),
            "found": facts.get("found", "") or _("none"),
        }
    if code == "duplicate_column":
        return _("The column “%(column)s” is there more than once. Keep one of them, or rename the others.") % {
            "column": facts.get("column", "")
        }
    if code == "too_few_classes" and params.get("needed") == 1:
        return _("All words are tagged O. An entity recogniser needs at least one kind of entity.")
    if code == "too_few_classes":
        return _("All rows have the same label. A classifier needs at least two different labels.")
    count = int(params.get("count", 0))
    return ngettext(
        "%(count)d cell must be corrected before this sheet can be used.",
        "%(count)d cells must be corrected before this sheet can be used.",
        count,
    ) % {"count": count}


def too_large_sentence() -> str:
    """Why a file is not even looked at."""
    said = _("The file is larger than %(limit)d MB, the most that this server accepts.")
    return said % {"limit": settings.MAX_UPLOAD_MB}


def row_sentence(code: str, row: int, column: str, params: dict[str, Any]) -> str:
    """What is wrong in one cell, and how to mend it."""
    where = {"row": row, "column": column, **{name: _listed(value) for name, value in params.items()}}
    sentences = {
        "empty_text": _("Row %(row)d, column %(column)s: the text is empty. Fill it in or delete the row."),
        "empty_label": _("Row %(row)d, column %(column)s: the label is empty. Fill it in or delete the row."),
        "error_cell": _("Row %(row)d, column %(column)s: the cell shows an Excel error. Correct its formula or value."),
        "unknown_split": _("Row %(row)d, column %(column)s: use train, validation or test, or leave the cell empty."),
    }
    if code in ("empty_text", "empty_label") and "merged" in where:
        return (
            _(
                "Row %(row)d, column %(column)s: the cell is part of the merged range %(merged)s, of which only the "
                "first cell holds a value. Unmerge it and fill in every row."
            )
            % where
        )
    if code in ("empty_text", "empty_label") and "formula" in where:
        return (
            _(
                "Row %(row)d, column %(column)s: the formula was saved without its result. Open the workbook in Excel, "
                "save it again, or paste the values."
            )
            % where
        )
    if code in sentences:
        return sentences[code] % where
    if code == "length_mismatch":
        where = {"tokens": "?", "tags": "?", **where}
        return _("Row %(row)d: %(tokens)s tokens and %(tags)s tags. Both lists must have the same length.") % where
    if code == "invalid_bio":
        where = {"position": "?", "tag": "?", "repaired": "?", **where}
        return (
            _("Row %(row)d, position %(position)s: the tag “%(tag)s” is not allowed there. Expected: “%(repaired)s”.")
            % where
        )
    return _("Row %(row)d, column %(column)s: the value cannot be used.") % where


def _listed(value: Any) -> str:
    return ", ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)
