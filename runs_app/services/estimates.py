"""How long a run will take and how much GPU memory it will need, by the finished runs that were most like it."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery

from datasets_app.models import Dataset
from runs_app.choices import Status
from runs_app.models import EpochMetric, Run

LOOKED_AT = 20  # the latest finished runs of the base model
SIMILAR = 2.0  # tokens per epoch between a half and the double
PIECES_PER_WORD = 1.5  # as in datasets_app.survey, which loads numpy; a web process does not


@dataclass(frozen=True)
class Estimate:
    """A median and the number of runs that it comes from. value: seconds or bytes."""

    value: float
    runs: int


def tokens_per_epoch(run: Run) -> float | None:
    """Tokens that one epoch of `run` (saved or not) reads, roughly; None where the texts were never measured."""
    mean = _mean_tokens(run.dataset, run.base_model)
    if mean is None:
        return None
    read = mean if run.long_text == "windows" else min(mean, run.max_length)
    return run.dataset.num_rows * run.train_split * read


def time_needed(run: Run) -> Estimate | None:
    """Seconds for all epochs of `run`: the median of finished runs, scaled by tokens. None without such a run.

    Counted are runs of the same base model that read a similar amount per epoch and ended in their first attempt, for
    in the time of the others lie interruptions.
    """
    wanted = tokens_per_epoch(run)
    if not wanted:
        return None
    last_epoch = EpochMetric.objects.filter(run=OuterRef("pk")).order_by("-step").values("epoch")[:1]
    past = _finished(run).filter(job__attempt=1, started_at__isnull=False)
    timed = [_scaled(each, wanted, run.epochs) for each in past.annotate(last_epoch=Subquery(last_epoch))[:LOOKED_AT]]
    return _median(seconds for seconds in timed if seconds is not None)


def _scaled(past: Any, wanted: float, epochs: int) -> float | None:
    """What `past` would have taken with `wanted` tokens per epoch; None where that says nothing."""
    tokens = tokens_per_epoch(past)
    if not tokens or not past.last_epoch or not 1 / SIMILAR <= tokens / wanted <= SIMILAR:
        return None
    seconds: float = (past.finished_at - past.started_at).total_seconds()
    return seconds / past.last_epoch * epochs * wanted / tokens


def memory_needed(run: Run) -> Estimate | None:
    """Bytes at the peak: the median of finished runs of the same base model, length and batch. None without one."""
    shape = ("max_length", "batch_size", "gradient_checkpointing", "precision")
    same = _finished(run).filter(**{name: getattr(run, name) for name in shape})
    peaks = [each.environment.get("gpu_memory_peak_bytes") for each in same[:LOOKED_AT]]
    return _median(float(peak) for peak in peaks if type(peak) is int and peak > 0)


def _finished(run: Run) -> QuerySet[Run]:
    # finished_at for the index's sake
    same = {"status": Status.COMPLETED, "base_model": run.base_model, "finished_at__isnull": False}
    finished = Run.objects.filter(**same).select_related("dataset")
    return finished.defer("report", "notes", "traceback").order_by("-finished_at", "-pk")


def _median(values: Iterable[float]) -> Estimate | None:
    found = list(values)
    return Estimate(median(found), len(found)) if found else None


def _mean_tokens(dataset: Dataset, base_model: str) -> float | None:
    measured = dataset.token_lengths.get(base_model)
    if measured:
        return float(measured["mean"])
    words = (dataset.report.get("quality") or {}).get("words") or {}
    return words["mean"] * PIECES_PER_WORD if words.get("mean") else None
