"""The quality part of a report in sentences: lengths, split, identifiers, what changed. Absent parts say nothing."""

from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from config.display import figure
from datasets_app.admin.findings import rows_listed

POINTS = ("min", "p50", "p90", "p99", "max")


def whole(value: Any) -> str:
    """1.204"""
    return number_format(value, force_grouping=True)


def lengths(quality: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    """{head, rows: [(name, figures)]}: how long the texts are; empty where nothing is known.

    measured: base model -> token lengths, as the dataset keeps them.
    """
    found = [(_("Words"), quality.get("words")), (_("Characters"), quality.get("characters"))]
    found += [(_("Tokens of %(name)s") % {"name": name}, told) for name, told in sorted(measured.items())]
    rows = [
        (name, [*(whole(told[point]) if point in told else "–" for point in POINTS), figure(told.get("mean"), 1)])
        for name, told in found
        if told
    ]
    head = [_("Shortest"), _("Half up to"), _("9 of 10 up to"), _("99 of 100 up to"), _("Longest"), _("Mean")]
    return {"head": head, "rows": rows} if rows else {}


def beyond_sentences(quality: dict[str, Any]) -> list[str]:
    """The estimated share of texts beyond each maximum length."""
    return [
        _("Probably longer than %(length)d tokens: %(share)s of the texts.")
        % {"length": step["max_length"], "share": f"{figure(100 * step['share'], 1)} %"}
        for step in quality.get("beyond") or []
    ]


def measured_sentences(measured: dict[str, Any]) -> list[str]:
    """The share of texts beyond each maximum length, by the tokenizers of runs that were made."""
    return [_measured_sentence(name, told) for name, told in sorted(measured.items())]


def _measured_sentence(name: str, told: dict[str, Any]) -> str:
    text = _(
        "Measured with %(name)s in run %(run)d: %(share_128)s of the texts are longer than 128 tokens, "
        "%(share_256)s longer than 256, %(share_512)s longer than 512."
    )
    shares = {f"share_{step['max_length']}": f"{figure(100 * step['share'], 1)} %" for step in told["beyond"]}
    said = text % {"name": name, "run": told["run"], **shares}
    if told["learned_here"]:
        return said + " " + _("Its vocabulary was learned from these texts; another base model counts otherwise.")
    return said


def entity_words(quality: dict[str, Any]) -> str:
    """ "PESSOA 1.204, ORGAO 3.011"; empty for a task without entities."""
    if "tokens" not in quality:
        return ""
    return ", ".join(f"{item['name']} {whole(item['count'])}" for item in quality.get("classes") or [])


def identifier_sentences(quality: dict[str, Any]) -> list[str]:
    """How many there are of each kind; none that was not found."""
    names = {"cnj": _("Case numbers (CNJ, check digits verified)"), "cpf": "CPF", "oab": "OAB"}
    told = quality.get("identifiers") or {}
    return [
        _("%(name)s: %(count)s, rows: %(rows)s")
        % {"name": name, "count": whole(told[key]["count"]), "rows": whole(told[key].get("rows_count", 0))}
        for key, name in names.items()
        if told.get(key, {}).get("count")
    ]


def split_sentences(quality: dict[str, Any]) -> list[str]:
    """Sizes, what is kept together, and what a random split would have leaked."""
    split = quality.get("split") or {}
    if not split.get("sizes"):
        return []
    sizes = {name: whole(split["sizes"].get(name, 0)) for name in ("train", "validation", "test")}
    said = _("Rows with the usual settings: %(train)s to train, %(validation)s to validate, %(test)s to test.")
    return [said % sizes, *_kept_together(split), *_leaks(split)]


def _kept_together(split: dict[str, Any]) -> list[str]:
    sentences = {
        "split": _("The parts are those of the column “split”."),
        "group": _("Rows of one group stay together; groups: %(groups)s."),
        "cnj": _("Rows with the same case number stay together; cases: %(groups)s."),
    }
    said = [sentences[split["basis"]] % {"groups": whole(split.get("groups", 0))}] if split.get("basis") else []
    large = split.get("split_families") or {}
    if large.get("rows"):
        text = _("Rows of families of similar texts that are too large to stand on one side: %(rows)s.")
        said.append(text % {"rows": whole(large["rows"])})
    return said


def _leaks(split: dict[str, Any]) -> list[str]:
    by_random, by_ours = split.get("leaked_by_random") or {}, split.get("leaked_by_ours") or {}
    if not by_random:
        return []
    said = []
    for kind in ("texts", "near_duplicates", "groups"):
        leaked, ours = by_random.get(kind, 0), by_ours.get(kind, 0)
        if not leaked and not ours:
            continue
        facts = {"random": _random_sentence(kind, leaked), "ours": whole(ours)}
        said.append((_("%(random)s; ours leaks %(ours)s.") if ours else _("%(random)s; ours leaks none.")) % facts)
    return said or [_("Nothing leaks from training into test, nor would a random split have leaked anything.")]


def _random_sentence(kind: str, count: int) -> str:
    sentences = {
        "texts": ngettext(
            "A random split would have leaked %(count)s repeated text from training into test",
            "A random split would have leaked %(count)s repeated texts from training into test",
            count,
        ),
        "near_duplicates": ngettext(
            "A random split would have leaked %(count)s nearly equal text from training into test",
            "A random split would have leaked %(count)s nearly equal texts from training into test",
            count,
        ),
        "groups": ngettext(
            "A random split would have leaked %(count)s group from training into test",
            "A random split would have leaked %(count)s groups from training into test",
            count,
        ),
    }
    return sentences[kind] % {"count": whole(count)}


def change_sentences(difference: dict[str, Any]) -> list[str]:
    """What is different from the previous version."""
    if not difference:
        return []
    counts = {name: difference.get(name, 0) for name in ("added", "removed", "relabelled", "unchanged")}
    sentences = [
        ngettext("%(count)s row added", "%(count)s rows added", counts["added"]),
        ngettext("%(count)s row removed", "%(count)s rows removed", counts["removed"]),
        ngettext("%(count)s row relabelled", "%(count)s rows relabelled", counts["relabelled"]),
        ngettext("%(count)s row unchanged", "%(count)s rows unchanged", counts["unchanged"]),
    ]
    said = [text % {"count": whole(counts[name])} for name, text in zip(counts, sentences, strict=True)]
    rows = rows_listed(difference.get("relabelled_rows") or [], counts["relabelled"])
    if rows:
        said[2] = f"{said[2]}. {rows}"
    return [f"{text}." for text in said]
