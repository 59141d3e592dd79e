"""The home page: what goes on, what waits and why, what came of it, and what is still to do at the beginning.

Each block is shown to those who may see its rows. The number of queries is fixed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from config.display import NOTHING, ago, duration, figure, percent
from datasets_app.models import Dataset
from runs_app.admin.run_page import progress_sentence, share_done
from runs_app.admin.sentences import failure_advice
from runs_app.admin.workers import gpu_load, gpu_words, state_badge
from runs_app.choices import Status
from runs_app.models import Job, Run, TrainedModel
from runs_app.services.queue import requeue_expired
from runs_app.services.waiting import Fleet, waiting_reason
from workers_app.models import Worker

RUNNING_SHOWN = 20
WAITING_SHOWN = 8
WORKERS_SHOWN = 12
ENDED_SHOWN = 5  # of each kind
BEST_WITHIN = timedelta(days=30)
HEAVY = ["run__report", "run__environment", "run__traceback", "run__error", "run__notes"]

May = Callable[[str], bool]


@dataclass(frozen=True)
class Step:
    """A line of the checklist; `url` and `button` lead to what does it, for those who may."""

    text: str
    is_done: bool
    button: str
    url: str
    is_next: bool = False  # the first that is to do


@dataclass(frozen=True)
class Moment:
    """What several blocks ask of the queue, read once."""

    now: datetime
    fleet: Fleet
    counts: dict[str, int]  # jobs by status, of those that are not over
    running: list[Job]

    @classmethod
    def read(cls) -> "Moment":
        """Leases that ran out are accounted for first: the page is not to call a lost run running."""
        now = timezone.now()
        requeue_expired(now=now)
        counted = Job.objects.active().order_by().values_list("status").annotate(Count("pk"))
        return cls(now, Fleet.now(now), dict(counted), list(_jobs(Status.RUNNING)[:RUNNING_SHOWN]))


def home_context(request: HttpRequest) -> dict[str, Any]:
    """All blocks that this person may see."""
    may, moment = request.user.has_perm, Moment.read()
    sees_runs = may("runs_app.view_run")
    results = list(_ended(Status.COMPLETED)) if sees_runs else []
    failures = list(_ended(Status.FAILED)) if sees_runs else []
    return {
        "tiles": _tiles(moment, results, may),
        "checklist": _checklist(moment, bool(results), bool(failures), may),
        "sees": {"runs": sees_runs, "queue": may("runs_app.view_job"), "workers": may("workers_app.view_worker")},
        "running": [_running(job, moment.now) for job in moment.running] if sees_runs else [],
        "waiting": _waiting(moment) if may("runs_app.view_job") else [],
        "waiting_count": moment.counts.get(Status.PENDING, 0),
        "workers": _workers(moment, sees_runs=sees_runs) if may("workers_app.view_worker") else [],
        "has_disabled_workers": moment.fleet.has_disabled,
        "results": [_result(run, moment.now) for run in results],
        "failures": [_failure(run, moment.now) for run in failures],
        "upload_url": _url("datasets_app_dataset_add", "datasets_app.add_dataset", may),
        "new_run_url": _url("runs_app_run_add", "runs_app.add_run", may),
        "new_worker_url": _url("workers_app_worker_add", "workers_app.add_worker", may),
    }


def _url(name: str, permission: str, may: May) -> str:
    return reverse(f"admin:{name}") if may(permission) else ""


def _run_url(pk: int) -> str:
    return reverse("admin:runs_app_run_change", args=[pk])


def _jobs(status: Status) -> QuerySet[Job]:
    return Job.objects.filter(status=status).select_related("run", "worker").defer(*HEAVY).order_by("-priority", "id")


def _ended(status: Status) -> QuerySet[Run]:
    """The latest of them; archived ones are no news."""
    names = ["name", "dataset__name", "base_model", "batch_size", "max_length", "metrics", "failure_reason"]
    latest = Run.objects.filter(status=status, archived_at=None, finished_at__isnull=False)  # the index's condition
    ended = latest.select_related("dataset").order_by("-finished_at", "-pk")
    return ended.only(*names, "started_at", "finished_at")[:ENDED_SHOWN]


def _tiles(moment: Moment, results: list[Run], may: May) -> list[tuple[str, str]]:
    """Names and figures at a glance."""
    tiles = []
    if may("runs_app.view_run"):
        tiles.append((_("Running"), str(moment.counts.get(Status.RUNNING, 0))))
    if may("runs_app.view_job"):
        tiles.append((_("In the queue"), str(moment.counts.get(Status.PENDING, 0))))
    if may("workers_app.view_worker"):
        connected = {"online": len(moment.fleet.online), "all": len(moment.fleet.workers)}
        tiles.append((_("Workers connected"), _("%(online)d of %(all)d") % connected))
    if may("runs_app.view_run"):
        tiles.append((_("Best F1 (30 days)"), figure(_best_f1(moment.now) if results else None)))
    return tiles


def _best_f1(now: datetime) -> Any:
    recent = Run.objects.filter(status=Status.COMPLETED, finished_at__gte=now - BEST_WITHIN, archived_at=None)
    return recent.aggregate(best=Max("f1"))["best"]


def _checklist(moment: Moment, has_results: bool, has_failures: bool, may: May) -> list[Step]:
    """The way to the first model; empty once there is one, for a model implies all that comes before it."""
    if has_results:
        return []
    has_run = bool(moment.counts) or has_failures or Run.objects.exists()
    if has_run and TrainedModel.objects.exists():
        return []
    steps = [
        ("workers_app.view_worker", _connect_step(moment, may)),
        ("datasets_app.view_dataset", _upload_step(has_run, may)),
        ("runs_app.view_run", _run_step(has_run, may)),
        ("runs_app.view_run", Step(_("The first trained model"), False, *_follow(moment, may))),
    ]
    shown = [step for permission, step in steps if may(permission)]
    coming = next((step for step in shown if not step.is_done), None)
    return [replace(step, is_next=step is coming) for step in shown]


def _connect_step(moment: Moment, may: May) -> Step:
    is_done = any(worker.last_seen_at is not None for worker in moment.fleet.workers)
    text = _("Connect a worker: the training runs on your computer with a GPU")
    return Step(text, is_done, _("Connect a worker"), _url("workers_app_worker_add", "workers_app.add_worker", may))


def _upload_step(has_run: bool, may: May) -> Step:
    is_done = has_run or Dataset.objects.exists()
    text = _("Upload a sheet (.xlsx) with texts and labels")
    return Step(text, is_done, _("Upload a sheet"), _url("datasets_app_dataset_add", "datasets_app.add_dataset", may))


def _run_step(has_run: bool, may: May) -> Step:
    text = _("Put a first run into the queue")
    return Step(text, has_run, _("New run"), _url("runs_app_run_add", "runs_app.add_run", may))


def _follow(moment: Moment, may: May) -> tuple[str, str]:
    """Where the first model can be waited for."""
    if moment.running:
        return _("Watch"), _run_url(moment.running[0].run_id)
    return _("Open the queue"), _url("runs_app_job_changelist", "runs_app.view_job", may) if moment.counts else ""


def _running(job: Job, now: datetime) -> dict[str, Any]:
    share = share_done(job)
    return {
        "url": _run_url(job.run_id),
        "name": job.run.name,
        "worker": job.worker,
        "share": f"{share:.4f}",
        "percent": percent(share),
        "sentence": progress_sentence(job, job.run.epochs, now),
    }


def _waiting(moment: Moment) -> list[dict[str, Any]]:
    """The first of the queue."""
    if not moment.counts.get(Status.PENDING):
        return []
    return [
        {
            "url": _run_url(job.run_id),
            "name": job.run.name,
            "since": duration((moment.now - job.queued_at).total_seconds()),
            "reason": waiting_reason(job, moment.fleet),
        }
        for job in _jobs(Status.PENDING)[:WAITING_SHOWN]
    ]


def _workers(moment: Moment, *, sees_runs: bool) -> list[dict[str, Any]]:
    """Those that are switched on, the connected ones first."""
    jobs = {job.worker_id: job for job in moment.running}
    ordered = sorted(moment.fleet.workers, key=lambda worker: not worker.is_online(moment.now))
    rows = []
    for worker in ordered[:WORKERS_SHOWN]:
        job = jobs.get(worker.pk)
        rows.append(
            {
                "url": reverse("admin:workers_app_worker_change", args=[worker.pk]),
                "name": worker.name,
                "state": state_badge(worker, job, moment.now),
                "machine": _machine_words(worker, moment.now),
                "run_name": job.run.name if job and sees_runs else "",
                "run_url": _run_url(job.run_id) if job and sees_runs else "",
            }
        )
    return rows


def _machine_words(worker: Worker, now: datetime) -> str:
    """Its GPUs, and what they do at the moment; empty where there are none."""
    words = [gpu_words(worker), gpu_load(worker) if worker.is_online(now) else NOTHING]
    return " · ".join(word for word in words if word != NOTHING)


def _result(run: Run, now: datetime) -> dict[str, Any]:
    took = (run.finished_at - run.started_at).total_seconds() if run.finished_at and run.started_at else None
    return {
        "url": _run_url(run.pk),
        "name": run.name,
        "f1": figure(run.metrics.get("f1")),
        "took": duration(took),
        "ended": ago(run.finished_at, now),
    }


def _failure(run: Run, now: datetime) -> dict[str, Any]:
    cause, _advice = failure_advice(run)
    return {"url": _run_url(run.pk), "name": run.name, "cause": cause, "ended": ago(run.finished_at, now)}
