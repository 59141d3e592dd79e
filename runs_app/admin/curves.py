"""The curves of a run's page, thinned to what a chart can show."""

import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from operator import itemgetter
from statistics import fmean
from typing import Any

from django.db.models import Avg, Count, Max, Q
from django.template.defaultfilters import filesizeformat
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from config.display import NOTHING
from runs_app.admin.words import METRIC_WORDS
from runs_app.choices import Split, Status
from runs_app.models import Job, Run

MOST_POINTS = 2000  # of one series: more than a chart has columns of pixels
GIB = 2**30

TABLE_ROWS = 12
IDLE_PERCENT = 30.0  # a GPU that trains is busy nearly all the time; one busy moment is enough to say nothing
IDLE_AFTER = timedelta(minutes=5)
IDLE_SAMPLES = 5  # fewer say nothing yet

Point = tuple[float, float | None]  # where, and how much; None where it was no number
Sample = tuple[datetime, float | None, int | None]  # when, use in %, bytes of memory


def curves(run: Run) -> dict[str, Any]:
    """Each series as [[x, …], [y, …]], at most MOST_POINTS long; x in epochs, for the GPU in seconds since 1970.

    `train` and `validation` are losses, `judged` is the metric that chooses the best epoch (F1 where that is the loss).
    Memory is in GiB. Null is a value that was not finite: a gap. `gpu_table` tells the same of the GPU in words.
    """
    rows = run.epoch_metrics.exclude(split=Split.TEST).order_by("step", "id").values_list("epoch", "split", "values")
    train, validation, judged = [], [], []
    for epoch, split, values in rows:
        if split == Split.TRAIN:
            train.append(_point(epoch, values, "loss"))
        else:
            validation.append(_point(epoch, values, "loss"))
            judged.append(_point(epoch, values, judged_name(run)))
    samples = list(run.job.gpu_samples.values_list("at", "utilization", "memory_bytes"))
    found = {"train": train, "validation": validation, "judged": judged, **_gpu(samples)}
    return {**{name: _columns(thinned(points)) for name, points in found.items()}, "gpu_table": gpu_table(samples)}


def judged_name(run: Run) -> str:
    """The metric on the second chart."""
    return "f1" if run.metric_for_best == "loss" else run.metric_for_best


def _point(x: float, values: dict[str, Any], name: str) -> Point:
    value = values.get(name)
    return x, value if isinstance(value, int | float) else None


def _gpu(samples: list[Sample]) -> dict[str, list[Point]]:
    use: list[Point] = []
    memory: list[Point] = []
    for at, utilization, memory_bytes in samples:
        use.append((at.timestamp(), utilization))
        memory.append((at.timestamp(), None if memory_bytes is None else round(memory_bytes / GIB, 3)))
    return {"gpu_use": use, "gpu_memory": memory}


def gpu_table(samples: list[Sample]) -> list[list[str]]:
    """Since when, mean use, most memory: at most TABLE_ROWS stretches of equal count."""
    length = max(math.ceil(len(samples) / TABLE_ROWS), 1)
    return [_table_row(samples[first : first + length]) for first in range(0, len(samples), length)]


def _table_row(stretch: list[Sample]) -> list[str]:
    uses = [use for _at, use, _memory in stretch if use is not None]
    memory = max((memory for _at, _use, memory in stretch if memory is not None), default=None)
    return [
        date_format(localtime(stretch[0][0]), "SHORT_DATETIME_FORMAT"),
        f"{fmean(uses):.0f} %" if uses else NOTHING,
        filesizeformat(memory) if memory is not None else NOTHING,
    ]


def _columns(points: list[Point]) -> list[list[float | None]]:
    return [[x for x, _y in points], [y for _x, y in points]]


def thinned(points: list[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most `most` of `points`, in their order: the first, the last, and what stands out between them.

    Between those two, each of (most - 2) / 3 stretches of equal count keeps its lowest, its highest and its first gap.
    """
    if len(points) <= most:
        return points
    inner, stretches = points[1:-1], (most - 2) // 3
    bounds = [len(inner) * number // stretches for number in range(stretches + 1)]
    kept = [points[0]]
    for begin, end in pairwise(bounds):
        kept += _standing_out(inner[begin:end])
    return [*kept, points[-1]]


def _standing_out(stretch: list[Point]) -> Iterable[Point]:
    measured = [(y, x) for x, y in stretch if y is not None]
    chosen: set[Point] = set([point for point in stretch if point[1] is None][:1])
    if measured:
        chosen |= {(x, y) for y, x in (min(measured), max(measured))}
    return sorted(chosen, key=itemgetter(0))


def curves_summary(run: Run, rows: list[dict[str, Any]]) -> str:
    """The charts in a sentence, from the rows of the table; empty before the first figure."""
    if not rows:
        return ""
    last, best = rows[-1], next((row for row in rows if row.get("is_best")), None)
    sentence = _("Epoch %(epoch)s of %(epochs)d: training loss %(train)s, validation loss %(loss)s, F1 %(f1)s.") % {
        "epoch": last["epoch"],
        "epochs": run.epochs,
        "train": last["train_loss"],
        "loss": last["loss"],
        "f1": last["figures"][0],
    }
    if best:
        facts = {"epoch": best["epoch"], "metric": METRIC_WORDS.get(run.metric_for_best, run.metric_for_best)}
        sentence += " " + _("The best epoch by %(metric)s is %(epoch)s (★).") % facts
    if any(row["has_gap"] for row in rows):
        sentence += " " + _("Some losses were not numbers: the curve has a gap there.")
    return sentence


def gpu_use(job: Job, now: datetime) -> dict[str, str]:
    """What the page says of the GPU: `gpu_summary` and `gpu_hint`, from one query."""
    lately = Q(at__gte=now - IDLE_AFTER, utilization__isnull=False)
    seen = job.gpu_samples.aggregate(
        mean=Avg("utilization"),
        peak=Max("utilization"),
        memory=Max("memory_bytes"),
        lately=Max("utilization", filter=lately),
        count=Count("pk", filter=lately),
    )
    return {"gpu_summary": _gpu_summary(seen), "gpu_hint": _gpu_hint(job, seen)}


def _gpu_hint(job: Job, seen: dict[str, Any]) -> str:
    """What to look at when the GPU has had little to do for minutes of training; empty otherwise."""
    is_training = job.status == Status.RUNNING and job.phase == "training"
    if not is_training or seen["count"] < IDLE_SAMPLES or seen["lately"] >= IDLE_PERCENT:
        return ""
    return _(
        "The GPU was in use %(percent)s %% at most in the last 5 minutes. On the worker, look whether PyTorch was "
        "installed without CUDA (“python -m worker_client doctor” tells), whether another program keeps the processor "
        "or the disk busy, or whether a larger batch would fit."
    ) % {"percent": f"{seen['lately']:.0f}"}


def _gpu_summary(seen: dict[str, Any]) -> str:
    """Use and memory over the run in a sentence; empty where the worker reported none."""
    sentences = []
    if seen["mean"] is not None:
        facts = {"mean": f"{seen['mean']:.0f}", "peak": f"{seen['peak']:.0f}"}
        sentences.append(_("GPU in use %(mean)s %% of the time on average, %(peak)s %% at most.") % facts)
    if seen["memory"] is not None:
        sentences.append(_("At most %(memory)s of its memory.") % {"memory": filesizeformat(seen["memory"])})
    return " ".join(sentences)
