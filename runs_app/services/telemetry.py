"""What a worker tells while it trains: progress, figures, log lines, events. Repeats change nothing."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Count, QuerySet, Value

from runs_app.models import Attempt, EpochMetric, GpuSample, Job, JobEvent, LogEntry
from runs_app.services.transitions import MAX_ACTOR_CHARS, worker_actor
from workers_app.models import Worker

PROGRESS_FIELDS = ("phase", "epoch", "step", "total_steps", "eta_seconds", "checkpoint_step")


@dataclass(frozen=True)
class Ingested:
    """How much of a batch was new."""

    accepted: int
    duplicates: int


def record_progress(*, job: Job, progress: dict[str, Any], now: datetime) -> None:
    """Keep how far the attempt is. `job` is held by the caller; only that attempt's progress is written."""
    values = {name: progress[name] for name in PROGRESS_FIELDS if progress.get(name) is not None}
    held = Job.objects.filter(pk=job.pk, status=job.status, attempt=job.attempt)
    held.update(**values, progress_message=progress.get("message") or "", progress_at=now)


def record_gpu_use(*, job: Job, gpu_utilization: float | None, gpu_memory_bytes: int | None, now: datetime) -> None:
    """Keep the percentage of time in use and the bytes of memory in use. Nothing told, nothing kept."""
    if gpu_utilization is not None or gpu_memory_bytes is not None:
        GpuSample.objects.create(job=job, at=now, utilization=gpu_utilization, memory_bytes=gpu_memory_bytes)


def record_metrics(*, job: Job, points: list[dict[str, Any]]) -> Ingested:
    """Add figures; the key is (run, split, step), so a repeat or a resumed epoch adds nothing."""
    rows = [
        EpochMetric(
            run_id=job.run_id,
            attempt=job.attempt,
            epoch=point["epoch"],
            step=point["step"],
            split=point["split"],
            values=point["values"],
        )
        for point in points
    ]
    return _add(rows, to=EpochMetric.objects.filter(run=job.run_id), job_id=job.pk)


def record_logs(*, attempt: Attempt, lines: list[dict[str, Any]]) -> tuple[Ingested, int]:
    """Add log lines; the key is (job, attempt, seq). Returns also the number of the first line still missing."""
    mine = LogEntry.objects.filter(job=attempt.job_id, attempt=attempt.number)
    rows = [
        LogEntry(
            job_id=attempt.job_id,
            attempt=attempt.number,
            seq=line["seq"],
            timestamp=line["timestamp"],
            level=line["level"],
            message=line["message"],
        )
        for line in lines
    ]
    return _add(rows, to=mine, job_id=attempt.job_id), _next_seq(mine)


def record_events(
    *, attempt: Attempt, worker: Worker, events: list[dict[str, Any]], now: datetime
) -> tuple[Ingested, int]:
    """Add what the worker did by itself; the key is (job, attempt, seq). Returns also the first number missing.

    Its clock may be wrong: a time before the attempt began, or in the future, is drawn to the nearest possible one.
    """
    told = JobEvent.objects.filter(job=attempt.job_id, attempt=attempt.number, seq__isnull=False)
    status = attempt.job.status
    rows = [
        JobEvent(
            job_id=attempt.job_id,
            at=min(max(event["timestamp"], attempt.started_at), now),
            actor=worker_actor(worker)[:MAX_ACTOR_CHARS],
            from_status=status,
            to_status=status,
            attempt=attempt.number,
            reason=event["kind"],
            seq=event["seq"],
            details=event["details"],
        )
        for event in events
    ]
    return _add(rows, to=told, job_id=attempt.job_id), _next_seq(told)


def _add(rows: list[Any], *, to: QuerySet[Any], job_id: int) -> Ingested:
    """Insert those whose key is not there yet. Batches of one job take turns, or each would count the other's rows."""
    with transaction.atomic():
        Job.objects.select_for_update(no_key=True).filter(pk=job_id).values_list("pk").first()
        before = to.count()
        to.model.objects.bulk_create(rows, ignore_conflicts=True)
        accepted = to.count() - before
    return Ingested(accepted, len(rows) - accepted)


def _next_seq(mine: QuerySet[Any]) -> int:
    """The highest number without a gap before it, plus one."""
    count = mine.count()
    highest = mine.order_by("-seq").values_list("seq", flat=True).first() or 0
    if highest == count:  # numbers start at 1 and are unique: as many as the highest means no gap
        return highest + 1
    expected = 1
    for seq in mine.order_by("seq").values_list("seq", flat=True).iterator():
        if seq != expected:
            break
        expected += 1
    return expected


@dataclass(frozen=True)
class Gap:
    """What a worker says that it sent of an attempt, or left out, and that is not here."""

    lines: int
    lines_left_out: int  # by the worker itself: its disk was full
    points: int
    events: int

    def __bool__(self) -> bool:
        return any((self.lines, self.lines_left_out, self.points, self.events))


def gaps(job: Job, attempts: list[Attempt]) -> dict[int, Gap]:
    """The gap of each ended attempt that has one, by its number. An attempt whose worker told no counts has none."""
    told = [attempt for attempt in attempts if attempt.counts]
    if not told:
        return {}
    lines, events, points = _stored(job)
    found = {
        attempt.number: Gap(
            lines=_short(attempt, "log_lines", lines[attempt.number] + attempt.counts.get("left_out", 0)),
            lines_left_out=attempt.counts.get("left_out", 0),
            # A resumed attempt says the figures of earlier epochs again: the run's are counted, whoever sent them.
            points=_short(attempt, "metric_points", points.total()),
            events=_short(attempt, "events", events[attempt.number]),
        )
        for attempt in told
    }
    return {number: gap for number, gap in found.items() if gap}


def lacks_telemetry(job: Job, counts: dict[str, int]) -> bool:
    """Whether less is here of the job's present attempt than its worker says that it sent."""
    gap = gaps(job, [Attempt(job=job, number=job.attempt, counts=counts)]).get(job.attempt)
    return gap is not None and any((gap.lines, gap.points, gap.events))


def _stored(job: Job) -> list[Counter[int]]:
    """How many lines, events of the worker and figures are here of each attempt, by its number; in one query."""
    told = [
        LogEntry.objects.filter(job=job),
        JobEvent.objects.filter(job=job, seq__isnull=False),
        EpochMetric.objects.filter(run=job.run_id),
    ]
    first, *others = [
        rows.order_by().annotate(kind=Value(kind)).values_list("kind", "attempt").annotate(Count("pk"))
        for kind, rows in enumerate(told)
    ]
    counts: list[Counter[int]] = [Counter() for _ in told]
    for kind, attempt, count in first.union(*others, all=True):
        counts[kind][attempt] = count
    return counts


def _short(attempt: Attempt, name: str, here: int) -> int:
    return max(0, int(attempt.counts.get(name, 0)) - here)


def current_jobs() -> dict[int, Job]:
    """The live job of each busy worker, by the worker's id."""
    live = Attempt.objects.filter(ended_at=None, worker__isnull=False).select_related("job__run")
    return {attempt.worker_id: attempt.job for attempt in live if attempt.worker_id is not None}
