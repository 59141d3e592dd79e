"""What a worker tells while it trains: progress, figures, log lines. Repeats change nothing."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runs_app.models import Attempt, EpochMetric, Job, LogEntry

PROGRESS_FIELDS = ("phase", "epoch", "step", "total_steps", "eta_seconds")


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


def record_metrics(*, job: Job, points: list[dict[str, Any]]) -> Ingested:
    """Add figures; the key is (run, split, step), so a repeat or a resumed epoch adds nothing."""
    before = EpochMetric.objects.filter(run=job.run_id).count()
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
    EpochMetric.objects.bulk_create(rows, ignore_conflicts=True)
    accepted = EpochMetric.objects.filter(run=job.run_id).count() - before
    return Ingested(accepted, len(points) - accepted)


def record_logs(*, attempt: Attempt, lines: list[dict[str, Any]]) -> tuple[Ingested, int]:
    """Add log lines; the key is (job, attempt, seq). Returns also the number of the first line still missing."""
    mine = LogEntry.objects.filter(job=attempt.job_id, attempt=attempt.number)
    before = mine.count()
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
    LogEntry.objects.bulk_create(rows, ignore_conflicts=True)
    accepted = mine.count() - before
    return Ingested(accepted, len(lines) - accepted), next_seq(attempt)


def next_seq(attempt: Attempt) -> int:
    """The highest line number without a gap before it, plus one."""
    mine = LogEntry.objects.filter(job=attempt.job_id, attempt=attempt.number)
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


def busy_worker_ids() -> set[int]:
    """Workers that hold a live job."""
    live = Attempt.objects.filter(ended_at=None, worker__isnull=False)
    return {pk for pk in live.values_list("worker_id", flat=True) if pk is not None}


def current_jobs() -> dict[int, Job]:
    """The live job of each busy worker, by the worker's id."""
    live = Attempt.objects.filter(ended_at=None, worker__isnull=False).select_related("job__run")
    return {attempt.worker_id: attempt.job for attempt in live if attempt.worker_id is not None}
