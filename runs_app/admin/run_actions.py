"""What a person may ask of a run: when the button is there, the question, the service, the truthful answer."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from config.admin import ProductAdmin, person
from runs_app.choices import ACTIVE, TERMINAL, Status
from runs_app.models import Job, Run
from runs_app.services import runs
from runs_app.services.errors import InvalidTransition


@dataclass(frozen=True)
class RunAction:
    """One button of the run page, which is also a page that asks."""

    name: str
    label: Any
    title: Any
    question: Any
    permission: str
    allowed: Callable[[Job], bool]
    dangerous: bool = False


def may_cancel(job: Job) -> bool:
    """Not over, and not asked for already."""
    return job.status in ACTIVE and not (job.status == Status.RUNNING and job.cancel_requested_at)


def may_pause(job: Job) -> bool:
    """Waiting, or running without a wish that is still to be met."""
    wished = job.pause_requested_at or job.cancel_requested_at
    return job.status == Status.PENDING or (job.status == Status.RUNNING and not wished)


def may_resume(job: Job) -> bool:
    """Paused, or about to be."""
    return job.status == Status.PAUSED or (job.status == Status.RUNNING and job.pause_requested_at is not None)


def may_move(job: Job) -> bool:
    """It stands in the queue."""
    return job.status == Status.PENDING


def may_archive(job: Job) -> bool:
    """Over, and still in the lists."""
    return job.status in TERMINAL and job.run.archived_at is None


def may_unarchive(job: Job) -> bool:
    """Archived."""
    return job.run.archived_at is not None


ACTIONS = [
    RunAction(
        "cancel",
        gettext_lazy("Cancel"),
        gettext_lazy("Cancel run"),
        gettext_lazy("Cancel “%(name)s”? What it has learned so far is lost; a cancelled run cannot be resumed."),
        "runs_app.change_run",
        may_cancel,
        dangerous=True,
    ),
    RunAction(
        "pause",
        gettext_lazy("Pause"),
        gettext_lazy("Pause run"),
        gettext_lazy("Pause “%(name)s”? It keeps its last checkpoint and waits until somebody resumes it."),
        "runs_app.change_run",
        may_pause,
    ),
    RunAction(
        "resume",
        gettext_lazy("Resume"),
        gettext_lazy("Resume run"),
        gettext_lazy("Let “%(name)s” go on?"),
        "runs_app.change_run",
        may_resume,
    ),
    RunAction(
        "move",
        gettext_lazy("Raise priority"),
        gettext_lazy("Raise priority"),
        gettext_lazy("“%(name)s” is put before all other runs that wait."),
        "runs_app.change_run",
        may_move,
    ),
    RunAction(
        "reproduce",
        gettext_lazy("Reproduce"),
        gettext_lazy("Reproduce run"),
        gettext_lazy("A new run with the same sheet, base model, seed and parameters as “%(name)s” is queued."),
        "runs_app.add_run",
        lambda job: True,
    ),
    RunAction(
        "duplicate",  # asks nothing: the form of a new run opens, filled
        gettext_lazy("Duplicate and adjust"),
        gettext_lazy("Duplicate and adjust"),
        "",
        "runs_app.add_run",
        lambda job: True,
    ),
    RunAction(
        "archive",
        gettext_lazy("Archive"),
        gettext_lazy("Archive run"),
        gettext_lazy("“%(name)s” leaves the lists. Nothing is deleted: “Archived” above the list shows it again."),
        "runs_app.change_run",
        may_archive,
    ),
    RunAction(
        "unarchive",
        gettext_lazy("Back from the archive"),
        gettext_lazy("Back from the archive"),
        gettext_lazy("“%(name)s” comes back into the lists."),
        "runs_app.change_run",
        may_unarchive,
    ),
]
BY_NAME = {action.name: action for action in ACTIONS}


def cancel(run: Run, user: AbstractBaseUser | None, now: datetime) -> str:
    """Ask, and say what happens now. Raises InvalidTransition."""
    job = runs.request_cancel(run=run, user=user, now=now)
    if job.status == Status.RUNNING:
        return _("Cancellation of “%(name)s” requested; the worker stops with its next report.") % {"name": run}
    return _("“%(name)s” is cancelled.") % {"name": run}


def pause(run: Run, user: AbstractBaseUser | None, now: datetime) -> str:
    """Ask, and say what happens now. Raises InvalidTransition."""
    job = runs.request_pause(run=run, user=user, now=now)
    if job.status == Status.RUNNING:
        return _("Pause of “%(name)s” requested; the worker saves a checkpoint and stops.") % {"name": run}
    return _("“%(name)s” is paused.") % {"name": run}


def resume(run: Run, user: AbstractBaseUser | None, now: datetime) -> str:
    """Ask, and say what happens now. Raises InvalidTransition."""
    job = runs.resume_run(run=run, user=user, now=now)
    if job.status == Status.RUNNING:
        return _("The pause of “%(name)s” is withdrawn.") % {"name": run}
    return _("“%(name)s” is back in the queue.") % {"name": run}


def move(run: Run, user: AbstractBaseUser | None, now: datetime) -> str:
    """Put it first, and say what that took. Raises InvalidTransition."""
    before = run.job.priority
    job = runs.move_to_front(run=run, user=user, now=now)
    if job.priority == before:
        return _("“%(name)s” is the first of the queue already.") % {"name": run}
    return _("“%(name)s” is the first of the queue now, with priority %(n)d.") % {"name": run, "n": job.priority}


def archive(run: Run, user: AbstractBaseUser | None, now: datetime) -> str:
    """Hide it, and say where it is. Raises InvalidTransition."""
    runs.archive_run(run=run, user=user, now=now)
    return _("“%(name)s” is archived.") % {"name": run}


def unarchive(run: Run, user: AbstractBaseUser | None, now: datetime) -> str:
    """Show it again."""
    runs.unarchive_run(run=run, user=user, now=now)
    return _("“%(name)s” is back in the lists.") % {"name": run}


SERVICES = {
    "cancel": cancel,
    "pause": pause,
    "resume": resume,
    "move": move,
    "archive": archive,
    "unarchive": unarchive,
}


def perform(page: ProductAdmin, request: HttpRequest, run: Run, name: str) -> None:
    """Ask the service for one run; what it did, or why it refused, is told on the next page of `page`."""
    try:
        said = SERVICES[name](run, person(request), timezone.now())
    except InvalidTransition as refused:
        page.message_user(request, f"“{run}”: {refused}", messages.ERROR)  # quoted, for Django begins with a capital
        return
    page.log_change(request, run, said)
    page.message_user(request, said, messages.SUCCESS)
