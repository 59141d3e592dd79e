"""Lines over epochs as numbers of an SVG: drawn by a template, styled by classes, so that no script is needed."""

import math
from dataclasses import dataclass

from config.display import figure, parameter

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 34
TICKS = 5
LARGEST = 1e9
SMALLEST_SPAN = 0.02  # of an axis, as a share of its largest value: a flat line is no mountain of rounding errors
INSET = 10  # between the axis and the first point, whose marker would hide a label
# One for each run: the outline within a box of 10 by 10 around the point. The second five are hollow.
SHAPES = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",  # circle
    "M-3.5-3.5h7v7h-7z",  # square
    "M0-4.5L4.5 3.5h-9z",  # triangle
    "M0-5L5 0L0 5L-5 0z",  # diamond
    "M0 4.5L4.5-3.5h-9z",  # triangle on its point
)
MARKERS = SHAPES * 2

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Tick:
    """A labelled place of an axis; `at` as an attribute of the SVG holds it."""

    at: str
    text: str


@dataclass(frozen=True)
class Line:
    """One run. number: its class and marker; path: the points of a polyline; told: its figures in words."""

    number: int
    name: str
    path: str
    marker: str
    places: list[tuple[str, str]]
    told: str


@dataclass(frozen=True)
class Chart:
    """A drawing, and the same figures as rows: (epoch, figure of each run)."""

    title: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    names: list[str]
    table: list[tuple[str, list[str]]]


class Scale:
    """From values to places of the drawing."""

    def __init__(self, values: list[float], start: float, end: float) -> None:
        self.low, high = min(values), max(values)
        self.span = (high - self.low) or 1.0  # one value alone stands at the start
        self.start, self.end = start, end

    def __call__(self, value: float) -> str:
        """With one decimal and a point, whatever the language."""
        return f"{self.start + (value - self.low) / self.span * (self.end - self.start):.1f}"


def chart_of(title: str, names: list[str], series: list[Points]) -> Chart | None:
    """The chart of several runs; None where none has a point. series: (epoch, value) of each, in order."""
    finite = [[(x, y) for x, y in points if _is_drawable(x) and _is_drawable(y)] for points in series]
    everything = [point for points in finite for point in points]
    if not everything:
        return None
    epochs = sorted({x for x, _y in everything})
    x = Scale(epochs, LEFT + INSET, WIDTH - RIGHT)
    y_values = _round_ticks(min(y for _x, y in everything), max(y for _x, y in everything))
    y = Scale(y_values, HEIGHT - BOTTOM, TOP)
    return Chart(
        title=title,
        lines=[
            _line(number, name, points, x, y) for number, (name, points) in enumerate(zip(names, finite, strict=True))
        ],
        x_ticks=[Tick(x(epoch), parameter(epoch)) for epoch in _some(epochs)],
        y_ticks=[Tick(y(value), parameter(value)) for value in y_values],
        names=names,
        table=[(parameter(epoch), [_at(points, epoch) for points in finite]) for epoch in epochs],
    )


def _line(number: int, name: str, points: Points, x: Scale, y: Scale) -> Line:
    places = [(x(epoch), y(value)) for epoch, value in points]
    path = " ".join(f"{left},{top}" for left, top in places)
    told = "; ".join(f"{parameter(epoch)}: {figure(value)}" for epoch, value in points)
    return Line(number, name, path, MARKERS[number], places, told)


def _at(points: Points, epoch: float) -> str:
    return figure(dict(points).get(epoch))


def _is_drawable(value: float) -> bool:
    """No figure of a training is larger; what a worker tells may be, and opens the page all the same."""
    return abs(value) < LARGEST


def _some(epochs: list[float]) -> list[float]:
    """At most ten, evenly taken."""
    return epochs[:: math.ceil(len(epochs) / 10)]


def _round_ticks(low: float, high: float) -> list[float]:
    """Round values that enclose both: steps of 1, 2 or 5 times a power of ten."""
    span = max(high - low, max(abs(low), abs(high)) * SMALLEST_SPAN) or 1.0
    if span > high - low:  # a figure that is never negative has no axis below 0
        low, high = max((low + high - span) / 2, min(low, 0.0)), (low + high + span) / 2
    power = 10.0 ** math.floor(math.log10(span / TICKS))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= TICKS)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]
