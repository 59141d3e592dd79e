"""Workers with what each of them is doing. Registered here and not in workers_app, because a lease is a run's."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from config.admin import is_key
from config.display import NOTHING, ago, badge, duration
from runs_app.admin.run_page import progress_sentence
from runs_app.admin.shown_on_run import run_link
from runs_app.choices import AttemptOutcome, FailureReason, ReleaseReason
from runs_app.models import Attempt, Job
from runs_app.services import telemetry
from workers_app.admin import WorkerAdmin, gpu_words
from workers_app.models import Worker

HISTORY = 20
OUTCOME_BADGES = {"completed": "completed", "failed": "failed", "lost": "failed", "released": "paused"}
STATE_BADGES = {"online": "completed", "busy": "running", "offline": "pending", "disabled": "cancelled"}


class WorkerChangeList(ChangeList):
    """Gives each worker of the page its live job, read once."""

    def get_results(self, request: HttpRequest) -> None:
        """See the class."""
        super().get_results(request)
        jobs = telemetry.current_jobs()
        for worker in self.result_list:
            worker.current_job = jobs.get(worker.pk)


@admin.register(Worker)
class WorkerWithRunsAdmin(WorkerAdmin):
    """The list and the page of a worker."""

    list_display = ["name", "state", "seen", "current_run", "gpus", "gpu_now", "versions_shown"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """See WorkerChangeList."""
        return WorkerChangeList

    def get_list_display(self, request: HttpRequest) -> Any:
        """Runs are named to those who may see them."""
        hidden = [] if request.user.has_perm("runs_app.view_run") else ["current_run"]
        return [name for name in self.list_display if name not in hidden]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only one that never did anything; the others are disabled, so that the history keeps its names."""
        unused = obj is not None and not obj.attempts.exists()
        return unused and super().has_delete_permission(request, obj)

    @transaction.atomic
    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """As Django's; a claim that comes at the same moment is through before one looks, or finds no worker."""
        if is_key(object_id):
            Worker.objects.select_for_update().filter(pk=object_id).first()
        return super().delete_view(request, object_id, extra_context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The machine, what it is doing, what it did."""
        worker = self.get_object(request, object_id)
        sees_runs = request.user.has_perm("runs_app.view_run")
        facts = worker_page(worker, sees_runs=sees_runs) if worker is not None else {}
        return super().change_view(request, object_id, form_url, {**facts, **(extra_context or {})})

    @admin.display(description=gettext_lazy("state"))
    def state(self, worker: Any) -> str:
        """A word, and since when where that matters."""
        return state_badge(worker, worker.current_job, timezone.now())

    @admin.display(description=gettext_lazy("last seen"), ordering=F("last_seen_at").asc(nulls_first=True))
    def seen(self, worker: Worker) -> str:
        """How long ago."""
        return ago(worker.last_seen_at, timezone.now())

    @admin.display(description=gettext_lazy("current run"))
    def current_run(self, worker: Any) -> str:
        """With its address."""
        return run_link(worker.current_job) if worker.current_job else NOTHING

    @admin.display(description="GPU")
    def gpus(self, worker: Worker) -> str:
        """Names and memory."""
        return gpu_words(worker)

    @admin.display(description=gettext_lazy("GPU now"), ordering=F("gpu_utilization").asc(nulls_first=True))
    def gpu_now(self, worker: Worker) -> str:
        """Use and memory of the last heartbeat; what a worker did before it was lost is not now."""
        return gpu_load(worker) if worker.is_online(timezone.now()) else NOTHING

    @admin.display(description=gettext_lazy("versions"))
    def versions_shown(self, worker: Worker) -> str:
        """What matters for a comparison of results."""
        return versions_words(worker)


def state_badge(worker: Worker, job: Job | None, now: datetime) -> str:
    """Free, busy, disconnected since, disabled; whether it takes new runs."""
    state = worker.state(now=now, is_busy=job is not None)
    words = {"online": _("Free"), "busy": _("Busy"), "disabled": pgettext("worker", "Disabled")}
    if state == "offline" and worker.last_seen_at is None:
        word = _("Never connected")
    elif state == "offline":
        word = _("Disconnected %(since)s") % {"since": ago(worker.last_seen_at, now)}
    else:
        word = words[state]
    shown = badge(STATE_BADGES[state], word)
    return format_html("{} {}", shown, badge("paused", _("takes no new run"))) if worker.draining else shown


def gpu_load(worker: Worker) -> str:
    """ "87 %, 11.2 GB" of the last heartbeat."""
    used = f"{worker.gpu_utilization:.0f} %" if worker.gpu_utilization is not None else ""
    memory = filesizeformat(worker.gpu_memory_bytes) if worker.gpu_memory_bytes else ""
    return ", ".join(part for part in (used, memory) if part) or NOTHING


def versions_words(worker: Worker) -> str:
    """torch and transformers, as they were registered."""
    names = ("torch", "transformers")
    return " · ".join(f"{name} {worker.versions[name]}" for name in names if worker.versions.get(name)) or NOTHING


def _past(attempt: Attempt, now: datetime) -> dict[str, Any]:
    """A line of its history."""
    reasons = dict([*FailureReason.choices, *ReleaseReason.choices])
    return {
        "run": run_link(attempt.job),
        "number": attempt.number,
        "started_at": attempt.started_at,
        "took": duration(((attempt.ended_at or now) - attempt.started_at).total_seconds()),
        "outcome": outcome_badge(attempt),
        "reason": reasons.get(attempt.reason, "") if attempt.outcome != AttemptOutcome.LOST else "",
    }


def outcome_badge(attempt: Attempt) -> str:
    """How it ended, or that it goes on."""
    if attempt.ended_at is None:
        return badge("running", capfirst(_("in progress")))
    kind = OUTCOME_BADGES.get(attempt.outcome, "pending")
    return badge(kind, AttemptOutcome(attempt.outcome).label if attempt.outcome else NOTHING)


def worker_page(worker: Worker, *, sees_runs: bool) -> dict[str, Any]:
    """What the page shows beside the form; what it did is told to those who may see runs."""
    job = telemetry.current_jobs().get(worker.pk)
    shown = job if sees_runs else None
    now = timezone.now()
    machine = [
        (_("Host name"), worker.hostname),
        (_("System"), worker.hardware.get("platform")),
        ("GPU", gpu_words(worker)),
        (_("GPU now"), gpu_load(worker) if worker.is_online(now) else NOTHING),
        ("CUDA", worker.hardware.get("cuda")),
        *((name, worker.versions.get(name)) for name in ("python", "torch", "transformers")),
        (_("Worker version"), worker.versions.get("client_version")),
    ]
    attempts = Attempt.objects.filter(worker=worker).select_related("job__run", "worker").order_by("-started_at")
    return {
        "state": state_badge(worker, job, now),
        "seen": ago(worker.last_seen_at, now),
        "current_run": run_link(shown) if shown else None,
        "machine": [(name, value) for name, value in machine if value and value != NOTHING],
        "progress": progress_sentence(shown, shown.run.epochs, now) if shown else "",
        "history": [_past(attempt, now) for attempt in attempts[:HISTORY]] if sees_runs else [],
    }
