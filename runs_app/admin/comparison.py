"""Runs side by side: what was put in, what came out, where they differ, and whether that may be compared at all."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.formats import get_format
from django.utils.functional import cached_property
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from config.admin import is_key
from config.display import NOTHING, duration, figure, parameter
from runs_app.admin.line_chart import MARKERS, Chart, chart_of
from runs_app.admin.parallel import LEAST, MOST, Parallel, parallel_of
from runs_app.admin.words import METRIC_WORDS, option_word, parameter_label
from runs_app.choices import Split
from runs_app.models import EpochMetric, Run
from runs_app.presets import preset_label, preset_of

FEWEST, SIDE_BY_SIDE = 2, len(MARKERS)
SMALLER_IS_BETTER = {"loss"}
ONLY_TOLD = {"baseline_f1", "baseline_accuracy"}  # of the sheet and not of the model: nothing to win
DANGEROUS_STARTS = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet takes a cell for a formula


@dataclass(frozen=True)
class Row:
    """One line of the table. raw: per run, for machines; shown: for people; best: the columns of the best value."""

    label: str
    raw: list[Any]
    shown: list[str]
    best: frozenset[int] = frozenset()

    @property
    def differs(self) -> bool:
        """Whether not all runs have the same."""
        return any(value != self.raw[0] for value in self.raw)

    @property
    def cells(self) -> list[tuple[str, bool]]:
        """What is shown of each run, and whether it is the best."""
        return [(text, column in self.best) for column, text in enumerate(self.shown)]


@dataclass(frozen=True)
class Asked:
    """What the address names: the runs that exist, in its order, and words that name none."""

    runs: list[Run]
    unknown: list[str]

    @classmethod
    def of(cls, words: str, visible: QuerySet[Run]) -> "Asked":
        """`words`: run numbers, separated by commas or blanks. At most `MOST` + 1 are looked up."""
        words_in_order = words.replace(",", " ").replace("#", " ").split()
        named = dict.fromkeys(str(int(word)) if is_key(word) else word for word in words_in_order)
        wanted = list(named)[: MOST + 1]
        found = {str(run.pk): run for run in visible.filter(pk__in=[word for word in wanted if is_key(word)])}
        return cls([found[word] for word in wanted if word in found], [word for word in wanted if word not in found])

    @property
    def ids(self) -> str:
        """As the address names them."""
        return ",".join(str(run.pk) for run in self.runs)

    @property
    def problems(self) -> list[str]:
        """Why less is shown than was asked for."""
        told = []
        if self.unknown:
            text = ngettext("There is no run %(names)s.", "There are no runs %(names)s.", len(self.unknown))
            told.append(text % {"names": ", ".join(f"“{word[:20]}”" for word in self.unknown)})
        limits = {"fewest": FEWEST, "most": SIDE_BY_SIDE, "lines": MOST}
        if self.runs and len(self.runs) < FEWEST:
            told.append(_("Choose at least %(fewest)d runs to compare.") % limits)
        if len(self.runs) > MOST:
            told.append(_("At most %(lines)d runs can be compared at once. Choose fewer.") % limits)
        elif len(self.runs) > SIDE_BY_SIDE:
            told.append(_("Table and curves are for up to %(most)d runs. Choose fewer to see them.") % limits)
            if not _is_of_one_dataset(self.runs):
                told.append(_("More than that can be drawn as lines only if all are of one dataset."))
        return told


def _is_of_one_dataset(runs: list[Run]) -> bool:
    return len({run.dataset_id for run in runs}) == 1


class Comparison:
    """Everything that the page shows of two to ten runs; of up to fifty of one dataset the lines alone."""

    def __init__(self, runs: list[Run]) -> None:
        self.runs = runs

    @property
    def is_side_by_side(self) -> bool:
        """Whether there are few enough for columns."""
        return FEWEST <= len(self.runs) <= SIDE_BY_SIDE

    @property
    def notice(self) -> str:
        """Why the results say nothing about each other; empty where they do."""
        if not _is_of_one_dataset(self.runs):
            return _("Different datasets: the results are not comparable.")
        digests = {_split_digest(run) for run in self.runs}
        inputs = {(run.train_split, run.seed) for run in self.runs}
        if len(inputs if "" in digests else digests) > 1:
            return _("The datasets are split differently: the runs were tested with different examples.")
        return ""

    @property
    def heads(self) -> list[dict[str, Any]]:
        """One column each."""
        return [
            {"run": run, "number": number, "marker": MARKERS[number], "url": _page_of(run)}
            for number, run in enumerate(self.runs)
        ]

    def rows(self, *, only_differences: bool) -> list[tuple[str, list[Row]]]:
        """Groups of lines; `only_differences` leaves out what all have alike."""
        groups = [(_("Results"), self._results()), (_("Inputs"), self._inputs()), (_("Parameters"), self._parameters())]
        if only_differences:
            groups = [(title, [row for row in rows if row.differs]) for title, rows in groups]
        return [(title, rows) for title, rows in groups if rows]

    @cached_property
    def charts(self) -> list[Chart]:
        """Validation loss and F1 by epoch."""
        points: dict[int, list[tuple[float, dict[str, Any]]]] = {run.pk: [] for run in self.runs}
        measured = EpochMetric.objects.filter(run__in=points, split=Split.VALIDATION).order_by("step", "id")
        for run_id, epoch, values in measured.values_list("run_id", "epoch", "values"):
            points[run_id].append((epoch, values))
        names = [f"#{run.pk} {run}" for run in self.runs]
        wanted = [("loss", _("Validation loss by epoch")), ("f1", _("Validation F1 by epoch"))]
        drawn = [chart_of(title, names, [_series(points[run.pk], key) for run in self.runs]) for key, title in wanted]
        return [chart for chart in drawn if chart is not None]

    @cached_property
    def parallel(self) -> Parallel | None:
        """Parameters against F1, for enough runs of one dataset."""
        return parallel_of(self.runs) if LEAST <= len(self.runs) <= MOST and _is_of_one_dataset(self.runs) else None

    def _results(self) -> list[Row]:
        names = [name for name in METRIC_WORDS if any(name in run.metrics for run in self.runs)]
        took = [_seconds(run) for run in self.runs]
        return [
            _row(_("Status"), [run.get_status_display() for run in self.runs]),
            *(self._metric(name) for name in names),
            _row(
                _("Best epoch"), [run.best_epoch for run in self.runs], [_number(run.best_epoch) for run in self.runs]
            ),
            _row(_("Duration"), took, [duration(seconds) for seconds in took]),
        ]

    def _metric(self, name: str) -> Row:
        values = [run.metrics.get(name) for run in self.runs]
        label = str(capfirst(METRIC_WORDS[name]))
        best = _best(name, values) if _is_of_one_dataset(self.runs) else ()
        return Row(label, values, [figure(value) for value in values], frozenset(best))

    def _inputs(self) -> list[Row]:
        return [
            _row(_("Dataset"), [str(run.dataset) for run in self.runs]),
            _row(_("SHA-256 of the sheet"), [run.dataset_sha256 for run in self.runs], cut=12),
            _row(_("Split"), [_split_digest(run) for run in self.runs], cut=12),
            _row(_("Base model"), [run.base_model for run in self.runs]),
            _row(_("Revision"), [run.base_model_revision for run in self.runs], cut=12),
            _row(_("Seed"), [run.seed for run in self.runs]),
        ]

    def _parameters(self) -> list[Row]:
        each = [run.hyperparameters for run in self.runs]
        presets = [preset_of(values) for values in each]
        told = [_row(_("Preset"), presets, [preset_label(name) for name in presets])]
        for name in each[0]:
            values = [values[name] for values in each]
            told.append(_row(parameter_label(name), values, [str(_parameter_word(name, value)) for value in values]))
        return told


def _split_digest(run: Run) -> str:
    """Equal ones mean equal parts; empty before the end."""
    told = run.report.get("split_digest")
    return told if isinstance(told, str) else ""


def _page_of(run: Run) -> str:
    return reverse("admin:runs_app_run_change", args=[run.pk])


def _parameter_word(name: str, value: Any) -> Any:
    return option_word(name, value) if isinstance(value, str) else parameter(value)


def _row(label: str, raw: list[Any], shown: list[str] | None = None, cut: int | None = None) -> Row:
    texts = shown if shown is not None else [str(value)[:cut] for value in raw]
    return Row(label, raw, [text or NOTHING for text in texts])


def _number(value: float | None) -> str:
    return NOTHING if value is None else parameter(value)


def _seconds(run: Run) -> float | None:
    if run.started_at is None or run.finished_at is None:
        return None
    return (run.finished_at - run.started_at).total_seconds()


def is_figure(value: Any) -> bool:
    """Whether a worker's word is a number: metrics are its JSON."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _best(name: str, values: list[Any]) -> Iterable[int]:
    """The columns of the best value; none where all are the same, or fewer than two were measured."""
    measured = [value for value in values if is_figure(value)]
    if name in ONLY_TOLD or len(set(measured)) < 2:
        return []
    best = min(measured) if name in SMALLER_IS_BETTER else max(measured)
    return [column for column, value in enumerate(values) if is_figure(value) and value == best]


def _series(points: list[tuple[float, dict[str, Any]]], key: str) -> list[tuple[float, float]]:
    return [(epoch, values[key]) for epoch, values in points if is_figure(values.get(key))]


def as_csv(comparison: Comparison, *, only_differences: bool) -> HttpResponse:
    """The table as a file with full values, as the reader's Excel takes it: with its decimal mark and separator."""
    answer = HttpResponse("\ufeff", content_type="text/csv; charset=utf-8")  # the mark tells Excel that it is UTF-8
    filename = _("comparison.csv")
    answer["Content-Disposition"] = f'attachment; filename="{filename}"'
    writer = csv.writer(answer, delimiter=";" if get_format("DECIMAL_SEPARATOR") == "," else ",")
    writer.writerow(["", *(_cell(f"#{run.pk} {run}") for run in comparison.runs)])
    for _title, rows in comparison.rows(only_differences=only_differences):
        writer.writerows([_cell(row.label), *map(_cell, row.raw)] for row in rows)
    return answer


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, float):
        return str(value).replace(".", get_format("DECIMAL_SEPARATOR"))
    return f"'{value}" if isinstance(value, str) and value.startswith(DANGEROUS_STARTS) else value


def context(request: HttpRequest, visible: QuerySet[Run]) -> dict[str, Any]:
    """What the page is made of; `comparison` is missing where there is nothing to compare."""
    asked = Asked.of(request.GET.get("ids", ""), visible)
    only_differences = request.GET.get("diff") == "1"
    told: dict[str, Any] = {"asked": asked, "only_differences": only_differences}
    if FEWEST <= len(asked.runs) <= MOST:
        told["comparison"] = comparison = Comparison(asked.runs)
        told["groups"] = comparison.rows(only_differences=only_differences)
    return told
