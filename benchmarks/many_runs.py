"""An installation after years: the rows of `make screenshots`, and many of each kind made from them.

The newest runs wait or are at work, the others are over, a tenth of them archived; some have figures, log lines and
samples of the GPU, and one of them a long log and long curves. Ids grow with time, as they do.
"""

from typing import Any

from benchmarks.rows import count_on, execute, is_postgresql, multiply, without_keys

FIRST = 10_000  # the first id of whatever is made here
DATASETS, WORKERS = 200, 20
PENDING, PAUSED, RUNNING = 300, 20, 16
LINES_PER_RUN, POINTS_PER_RUN, SAMPLES_PER_RUN = 500, 20, 200
SAMPLED_RUNS = 2_000
LONG_LINES, LONG_POINTS, LONG_SAMPLES = 100_000, 5_000, 20_000
OVER = "CASE WHEN g % 100 < 84 THEN 'completed' WHEN g % 100 < 94 THEN 'failed' ELSE 'cancelled' END"
BASE_MODEL = (
    "CASE g % 10 WHEN 0 THEN 'xlm-roberta-base' WHEN 1 THEN 'bert-base-multilingual-cased' "
    "WHEN 2 THEN 'neuralmind/bert-large-portuguese-cased' ELSE 'neuralmind/bert-base-portuguese-cased' END"
)
F1 = "0.' || (4000 + g * 7919 % 5999) || '"  # within the text of a JSON object
TABLES = [
    *("bert_datasets", "bert_workers", "bert_runs", "bert_jobs", "bert_attempts", "bert_job_events", "bert_metrics"),
    *("bert_logs", "bert_gpu_samples", "bert_trained_models", "django_admin_log"),
]


def fill(runs: int, lines: int) -> dict[str, str]:
    """All rows; the addresses of pages by name, those of the run with the long log among them."""
    from tests.screenshot_seed import sow

    pages = sow()
    without_keys()
    over = runs - PENDING - PAUSED - RUNNING
    _machines_and_sheets()
    _ended_runs(over)
    _active_runs(over)
    _figures(over)
    _log_lines(over, lines)
    _history(over)
    count_on(*TABLES)
    execute(*(["VACUUM ANALYZE", "CHECKPOINT"] if is_postgresql() else ["ANALYZE", "PRAGMA wal_checkpoint(TRUNCATE)"]))
    return {**pages, **_pages(over)}


def _machines_and_sheets() -> None:
    from datasets_app.models import Dataset
    from workers_app.models import Worker

    sheet, machine = Dataset.objects.earliest("pk"), Worker.objects.earliest("pk")
    unique = {"mapping_key": "'key ' || g", "version": "1 + g % 3", "created_at": _ago("86400 * (400 - g)")}
    multiply(Dataset, sheet.pk, FIRST, DATASETS, name="'Andamentos, lote ' || g", **unique)
    multiply(Worker, machine.pk, FIRST, WORKERS, name="'gpu-' || g", token_sha256="'hash ' || g")


def _runs(template: Any, first: int, count: int, job: dict[str, str], **columns: str) -> None:
    """`count` runs with a job each, all like `template` but for what every run has of its own."""
    from runs_app.models import Job, Run

    pk = FIRST + first
    mine = {
        "name": f"'Classificação de andamentos ' || ({first} + g)",
        "dataset_id": f"{FIRST} + g % {DATASETS}",
        "base_model": BASE_MODEL,
        "learning_rate": "0.00001 * (1 + g % 5)",
    }
    multiply(Run, template.pk, pk, count, **{**mine, **columns})
    multiply(Job, template.job.pk, pk, count, run_id=f"{pk} + g", **job)


def _ended_runs(count: int) -> None:
    from runs_app.choices import Status
    from runs_app.models import Attempt, JobEvent, Run, TrainedModel

    template = Run.objects.filter(status=Status.COMPLETED).latest("pk")
    attempt = template.job.attempts.get()
    age, worker = f"{count} - g", f"{FIRST} + g % {WORKERS}"
    columns = {
        "status": OVER,
        "f1": "0.0001 * (4000 + g * 7919 % 5999)",
        "metrics": _json(f'\'{{"f1": {F1}, "loss": 0.31, "accuracy": 0.93}}\''),
        "failure_reason": "CASE WHEN g % 100 BETWEEN 84 AND 93 THEN 'out_of_memory' ELSE '' END",
        "created_at": _ago(f"900 * ({age}) + 3000"),
        "started_at": _ago(f"900 * ({age}) + 2900"),
        "finished_at": _ago(f"900 * ({age}) + 10 * (g % 60)"),
        "archived_at": f"CASE WHEN g % 10 = 7 THEN {_ago('60')} END",
    }
    _runs(template, 0, count, {"status": OVER, "worker_id": worker, "queued_at": columns["created_at"]}, **columns)
    told = _json('\'{"log_lines": 60, "metric_points": 10, "events": 0}\'')
    times = {"started_at": columns["started_at"], "ended_at": columns["finished_at"], "counts": told}
    multiply(Attempt, attempt.pk, FIRST, count, job_id=f"{FIRST} + g", worker_id=worker, **times)
    for number, event in enumerate(template.job.events.all()):
        multiply(JobEvent, event.pk, FIRST + number * count, count, job_id=f"{FIRST} + g", at=columns["started_at"])
    multiply(TrainedModel, template.model.pk, FIRST, count, run_id=f"{FIRST} + g", worker_id=worker)
    execute("DELETE FROM bert_trained_models WHERE run_id IN (SELECT id FROM bert_runs WHERE status <> 'completed')")


def _active_runs(over: int) -> None:
    from runs_app.choices import Status
    from runs_app.models import Attempt, Run

    template = {status: Run.objects.filter(status=status).latest("pk") for status in ("running", "paused", "pending")}
    first = over
    worker = {"worker_id": f"{FIRST} + g"}
    _runs(template[Status.RUNNING], first, RUNNING, worker)
    attempt = template[Status.RUNNING].job.attempts.get()
    multiply(Attempt, attempt.pk, FIRST + first, RUNNING, job_id=f"{FIRST + first} + g", **worker)
    _runs(template[Status.PAUSED], first + RUNNING, PAUSED, {})
    _runs(template[Status.PENDING], first + RUNNING + PAUSED, PENDING, {"priority": "g % 3"})


def _figures(over: int) -> None:
    """Metrics of three runs in ten, the newest; samples of the GPU of fewer; many of the last one."""
    from runs_app.models import EpochMetric, GpuSample

    share, long = over * 3 // 10, FIRST + over - 1
    point, sample = EpochMetric.objects.filter(split="validation").latest("pk"), GpuSample.objects.latest("pk")
    each = {
        "run_id": f"{long - share} + g / {POINTS_PER_RUN}",
        "split": "CASE g % 2 WHEN 0 THEN 'train' ELSE 'validation' END",
        "step": f"100 * (1 + g % {POINTS_PER_RUN} / 2)",
        "epoch": f"1 + g % {POINTS_PER_RUN} / 2",
        "values": _json(f'\'{{"f1": {F1}, "loss": {F1}}}\''),
    }
    multiply(EpochMetric, point.pk, FIRST, share * POINTS_PER_RUN, **each)
    many = {"run_id": f"{long}", "split": "'train'", "step": "10 * (g + 1)", "epoch": "(g + 1) / 500.0"}
    multiply(EpochMetric, point.pk, FIRST + share * POINTS_PER_RUN, LONG_POINTS, **{**each, **many})
    count = SAMPLED_RUNS * SAMPLES_PER_RUN
    job = f"{long - SAMPLED_RUNS} + g / {SAMPLES_PER_RUN}"
    multiply(GpuSample, sample.pk, FIRST, count, job_id=job, at=_ago(f"{count} - g"))
    multiply(GpuSample, sample.pk, FIRST + count, LONG_SAMPLES, job_id=f"{long}", at=_ago(f"30 * ({LONG_SAMPLES} - g)"))


def _log_lines(over: int, count: int) -> None:
    """Of the newest runs that are over, LINES_PER_RUN each; the last one has LONG_LINES."""
    from runs_app.models import LogEntry

    entry, long, others = LogEntry.objects.latest("pk"), FIRST + over - 1, count - LONG_LINES
    line = {
        "message": "'step ' || g || ' of 5000000, loss 0.' || (g * 7919 % 9973) || ', 212 rows/s'",
        "level": "CASE WHEN g % 997 = 0 THEN 'ERROR' WHEN g % 50 = 0 THEN 'WARNING' ELSE 'INFO' END",
        "attempt": "1",
    }
    runs = others // LINES_PER_RUN
    each = {"job_id": f"{long - runs} + g / {LINES_PER_RUN}", "seq": f"1 + g % {LINES_PER_RUN}"}
    multiply(LogEntry, entry.pk, FIRST, others, **line, **each, timestamp=_ago(f"{count} - g"))
    last = {"job_id": f"{long}", "seq": "1 + g", "timestamp": _ago(f"{LONG_LINES} - g")}
    multiply(LogEntry, entry.pk, FIRST + others, LONG_LINES, **line, **last)


def _history(over: int) -> None:
    """Who did what in the admin, one line for every run."""
    from django.contrib.admin.models import ADDITION, LogEntry
    from django.contrib.auth.models import User
    from django.contrib.contenttypes.models import ContentType

    from runs_app.models import Run

    kind, ana = ContentType.objects.get_for_model(Run), User.objects.get(username="ana")
    line = LogEntry.objects.create(
        user=ana, content_type=kind, object_id="0", object_repr="run", action_flag=ADDITION, change_message="queued"
    )
    multiply(LogEntry, line.pk, FIRST, over, object_id=f"CAST({FIRST} + g AS text)")


def _pages(over: int) -> dict[str, str]:
    """Of the run with the long log, of others made here."""
    from django.urls import reverse

    long = FIRST + over - 1
    runs = ("live", "curves", "log", "log_file")
    failed = long - (over - 1 - 84) % 100
    return {
        "run-long": reverse("admin:runs_app_run_change", args=[long]),
        **{f"run-long-{name.replace('_', '-')}": reverse(f"admin:runs_app_run_{name}", args=[long]) for name in runs},
        "run-many-failed": reverse("admin:runs_app_run_change", args=[failed]),
        "run-many-running": reverse("admin:runs_app_run_change", args=[long + 1]),
        "run-many-waiting": reverse("admin:runs_app_run_change", args=[FIRST + over + RUNNING + PAUSED + 9]),
        "run-history": reverse("admin:runs_app_run_history", args=[long]),
        "dataset-many": reverse("admin:datasets_app_dataset_change", args=[FIRST + 7]),
        "worker-many": reverse("admin:workers_app_worker_change", args=[FIRST + 3]),
        "compare-ten": _compared(range(long - 9, long + 1)),
        "compare-lines": _compared(range(long - 50 * DATASETS + 1, long + 1, DATASETS)),
        "api-run": reverse("run", args=[long]),
        "api-run-metrics": reverse("run-metrics", args=[long]),
        "api-run-logs": reverse("run-logs", args=[long]) + "?format=json",
    }


def _compared(runs: range) -> str:
    from django.urls import reverse

    return f"{reverse('admin:runs_app_run_compare')}?ids={','.join(str(pk) for pk in runs)}"


def _ago(seconds: str) -> str:
    """SQL for so many seconds before now."""
    if is_postgresql():
        return f"(now() - ({seconds}) * interval '1 second')"
    return f"strftime('%Y-%m-%d %H:%M:%S', 'now', '-' || ({seconds}) || ' seconds')"


def _json(text: str) -> str:
    """SQL for a JSON column from SQL for its text."""
    return f"CAST({text} AS jsonb)" if is_postgresql() else text
