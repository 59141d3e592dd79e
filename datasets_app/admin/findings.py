"""What was noticed in a sheet, in sentences: from the codes and facts of the report to the reader's language."""

from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from config.display import figure

ROWS_SHOWN = 20
NAMES_SHOWN = 8


def finding_sentence(warning: dict[str, Any]) -> str:
    """One warning of the report, with what it means for the training."""
    count = int(warning.get("count", 0))
    params = warning.get("params") or {}
    facts = {
        "count": number_format(count, force_grouping=True),
        "names": _listed(params.get("classes") or params.get("columns") or params.get("sheets") or []),
        "share": figure(100 * float(params.get("share") or 0), 1),
        "below": params.get("below", 5),
        "row": next(iter(warning.get("rows") or []), ""),
        "ratio": params.get("ratio", 10),
        "largest": params.get("largest", ""),
        "length": params.get("max_length", 256),
        "spellings": "; ".join(_listed(group) for group in params.get("groups", [])[:NAMES_SHOWN]),
    }
    return _sentence(warning.get("code", ""), count) % facts


def _sentence(code: str, n: int) -> str:
    """The template of a code; one that is not known yet is told by its name."""
    if code == "rare_class":
        return _("Labels with fewer than %(below)s examples: %(names)s. A model hardly learns them.")
    if code == "label_variant":
        return _("Labels that differ only in case, accents or blanks: %(spellings)s. They count as different labels.")
    if code == "imbalance":
        return _(
            "Labels with less than 1/%(ratio)s of the examples of “%(largest)s”: %(names)s. "
            "Consider balanced class weights."
        )
    if code == "long_text":
        return _(
            "%(share)s %% of the texts are probably longer than %(length)s tokens; "
            "what is beyond the maximum length is cut off unless windows are chosen."
        )
    if code == "extra_columns":
        return _("Columns that are not used: %(names)s.")
    if code == "number_label":
        return _("Labels that are numbers: %(names)s. If they are codes of a list, better write what they mean.")
    if code == "hidden_sheet":
        return _("Hidden sheets that were not read: %(names)s.")
    if code == "late_header":
        return _("The header stands in row %(row)s; what is above it was not read.")
    return _counted(code, n)


def _counted(code: str, n: int) -> str:
    sentences = {
        "duplicate_text": ngettext(
            "%(count)s text is there more than once. Copies stay together when the sheet is split.",
            "%(count)s rows repeat a text that came before. Copies stay together when the sheet is split.",
            n,
        ),
        "contradictory_labels": ngettext(
            "%(count)s row has a text that carries another label elsewhere. Decide which one is right.",
            "%(count)s rows have texts that carry different labels. Decide which one is right.",
            n,
        ),
        "near_duplicate": ngettext(
            "%(count)s row differs from an earlier one only in digits, case, accents, punctuation or a few words.",
            "%(count)s rows differ from an earlier one only in digits, case, accents, punctuation or a few words.",
            n,
        ),
        "shared_case": ngettext(
            "%(count)s row shares its case number. Rows of one case stay together when the sheet is split.",
            "%(count)s rows share case numbers. Rows of one case stay together when the sheet is split.",
            n,
        ),
        "repaired_bio": ngettext("%(count)s BIO tag was repaired.", "%(count)s BIO tags were repaired.", n),
        "date_label": ngettext(
            "%(count)s cell was a date and was read as text (2026-11-22).",
            "%(count)s cells were dates and were read as text (2026-11-22).",
            n,
        ),
        "formula_cells": ngettext(
            "%(count)s cell holds a formula; its last computed value was used.",
            "%(count)s cells hold formulas; their last computed values were used.",
            n,
        ),
    }
    return sentences.get(code, code.replace("%", "%%"))


def row_words(warning: dict[str, Any]) -> str:
    """ "Rows 3, 17, 21 and 4 more"; empty where the finding is of no row."""
    rows = warning.get("rows") or []
    of_rows = (warning.get("params") or {}).get("unit", "rows") == "rows"
    return rows_listed(rows, int(warning.get("count", 0)) if of_rows else 0)


def rows_listed(rows: list[int], count: int) -> str:
    """The first twenty, and how many more of `count` there are."""
    if not rows:
        return ""
    shown = ", ".join(str(row) for row in rows[:ROWS_SHOWN])
    rest = max(count, len(rows)) - len(rows[:ROWS_SHOWN]) if count else 0
    if rest <= 0:
        return ngettext("Row %(rows)s", "Rows %(rows)s", len(rows)) % {"rows": shown}
    return _("Rows %(rows)s and %(count)d more") % {"rows": shown, "count": rest}


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"“{name}”" for name in names[:NAMES_SHOWN])
    return shown + (" …" if len(names) > NAMES_SHOWN else "")
