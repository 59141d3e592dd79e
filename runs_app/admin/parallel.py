"""Parallel coordinates: one axis for each parameter that differs, F1 the last, one line for each run."""

import math
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from config.display import figure, parameter
from runs_app.admin.line_chart import LARGEST, Tick
from runs_app.admin.words import option_word, parameter_label
from runs_app.hyperparameters import HYPERPARAMETERS
from runs_app.models import Run

LEAST, MOST = 5, 50
HEIGHT, TOP, BOTTOM = 320, 52, 24
AXIS_WIDTH, MARGIN = 140, 70
SHADES = 5  # of the lines, by F1
LOGARITHMIC = {"learning_rate", "batch_size"}


@dataclass(frozen=True)
class Axis:
    """One parameter. at: its place from the left; ticks: every value, or the least and the greatest of many."""

    label: str
    at: str
    ticks: list[Tick]


@dataclass(frozen=True)
class Path:
    """One run, which leads to its page. shade: 0 for the lowest F1 to SHADES - 1; told: its values in words."""

    url: str
    name: str
    points: str
    shade: int
    is_best: bool
    told: str


@dataclass(frozen=True)
class Parallel:
    """The drawing. left_out: runs without F1."""

    width: int
    axes: list[Axis]
    paths: list[Path]
    left_out: int


def parallel_of(runs: list[Run]) -> Parallel | None:
    """Lines of the runs that have an F1; None where they are too few or differ in nothing."""
    measured = [run for run in runs if _is_number(run.metrics.get("f1"))]
    names = [name for name in ("base_model", *HYPERPARAMETERS, "seed") if len({getattr(r, name) for r in measured}) > 1]
    if len(measured) < LEAST or not names:
        return None
    columns = [_Column(name, [getattr(run, name) for run in measured]) for name in names]
    columns.append(_Column("f1", [run.metrics["f1"] for run in measured]))
    axes = [column.axis(MARGIN + number * AXIS_WIDTH) for number, column in enumerate(columns)]
    paths = [_path(run, row, columns, axes) for row, run in enumerate(measured)]
    width = 2 * MARGIN + (len(columns) - 1) * AXIS_WIDTH
    # The best line last: what is drawn later lies above.
    return Parallel(width, axes, sorted(paths, key=lambda path: path.shade), len(runs) - len(measured))


class _Column:
    """The values of one axis, and the share of its height at which each stands."""

    def __init__(self, name: str, values: list[Any]) -> None:
        self.name, self.values = name, values
        self.distinct = sorted(set(values))
        self.is_number = all(_is_number(value) for value in values)

    def share(self, value: Any) -> float:
        """0 at the bottom, 1 at the top."""
        if not self.is_number:
            return self.distinct.index(value) / max(len(self.distinct) - 1, 1)
        low, high, here = (self._place(number) for number in (self.distinct[0], self.distinct[-1], value))
        return (here - low) / ((high - low) or 1.0)

    def _place(self, value: float) -> float:
        return math.log(value) if self.name in LOGARITHMIC else float(value)

    def top(self, value: Any) -> str:
        """The place from above."""
        return f"{HEIGHT - BOTTOM - self.share(value) * (HEIGHT - BOTTOM - TOP):.1f}"

    def axis(self, at: float) -> Axis:
        ends = self.distinct if len(self.distinct) <= 4 or not self.is_number else [self.distinct[0], self.distinct[-1]]
        return Axis(self.label(), f"{at:.1f}", [Tick(self.top(value), self.word(value)) for value in ends])

    def label(self) -> str:
        return "F1" if self.name == "f1" else parameter_label(self.name)

    def word(self, value: Any) -> str:
        if self.name == "f1":
            return figure(value)
        return str(option_word(self.name, value)) if isinstance(value, str) else parameter(value)


def _path(run: Run, row: int, columns: list[_Column], axes: list[Axis]) -> Path:
    values = [column.values[row] for column in columns]
    places = [f"{axis.at},{column.top(value)}" for axis, column, value in zip(axes, columns, values, strict=True)]
    told = [f"{column.label()} {column.word(value)}" for column, value in zip(columns, values, strict=True)]
    share = columns[-1].share(values[-1])
    return Path(
        url=reverse("admin:runs_app_run_change", args=[run.pk]),
        name=f"#{run.pk} {run}",
        points=" ".join(places),
        shade=min(int(share * SHADES), SHADES - 1),
        is_best=values[-1] == columns[-1].distinct[-1],
        told="; ".join(told),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST
