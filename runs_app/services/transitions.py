"""The place that writes a status: a conditional UPDATE of the job, its run, its attempt and its event.

Every transition names the status (and, for a worker, the attempt) that it expects; zero rows changed means that
somebody else was first, and nothing else is written. The same statements hold on SQLite and PostgreSQL. Only the claim
is written elsewhere: `claiming` says the same in SQL, for speed.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet

from runs_app.choices import TERMINAL, WAITING, AttemptOutcome, Status
from runs_app.models import Attempt, Job, JobEvent, Run
from runs_app.services import notifications
from runs_app.services.delivery import deliver_soon
from workers_app.models import Worker

SERVER = "server"
MAX_ACTOR_CHARS = 150  # a person's name alone may be that long; PostgreSQL refuses what does not fit


@dataclass(frozen=True)
class Transition:
    """From what is expected to what shall be."""

    to: Status
    actor: str  # "user:ana", "worker:gpu-1" or SERVER
    reason: str = ""
    run_values: dict[str, Any] | None = None  # written to the run with its status
    job_values: dict[str, Any] | None = None  # written to the job with its status


def worker_actor(worker: Worker) -> str:
    """How events name a worker."""
    return f"worker:{worker.name}"


def apply(expected: QuerySet[Job], transition: Transition, *, now: datetime) -> Job | None:
    """Move the one job that `expected` selects; None when it is no longer as expected.

    Must run inside a transaction. `expected` has to name the primary key and the status it comes from.
    """
    before = expected.values_list("pk", "status").first()
    if before is None:
        return None
    pk, from_status = before
    values = {**_leaving(transition.to), **(transition.job_values or {})}
    if not expected.filter(pk=pk, status=from_status).update(status=transition.to, **values):
        return None
    job = Job.objects.select_related("run", "worker").get(pk=pk)
    _write_run(job, transition, now=now)
    note(job, actor=transition.actor, reason=transition.reason, now=now, from_status=from_status)
    if notifications.record(job, transition.reason, now):
        transaction.on_commit(deliver_soon)
    return job


def note(job: Job, *, actor: str, reason: str, now: datetime, from_status: str | None = None) -> None:
    """Append an event; without `from_status` it is a request or a remark that changed no state."""
    JobEvent.objects.create(
        job=job,
        at=now,
        actor=actor[:MAX_ACTOR_CHARS],
        from_status=job.status if from_status is None else from_status,
        to_status=job.status,
        attempt=job.attempt,
        reason=reason,
    )


def end_attempt(
    job: Job,
    outcome: AttemptOutcome,
    *,
    now: datetime,
    reason: str = "",
    counts: dict[str, int] | None = None,
) -> None:
    """Close the live attempt of `job`, remembering what a repeat of the closing call is to be answered."""
    Attempt.objects.filter(job=job, number=job.attempt, ended_at=None).update(
        ended_at=now, outcome=outcome, reason=reason, status_after=job.status, counts=counts or {}
    )


def lost(transition: Transition, **job_values: Any) -> Transition:
    """The same transition, counting one loss. job_values: when and by whom the job may be claimed again."""
    values = {**(transition.job_values or {}), **job_values, "loss_count": F("loss_count") + 1}
    return Transition(transition.to, transition.actor, transition.reason, transition.run_values, values)


def _leaving(to: Status) -> dict[str, Any]:
    """Columns that a new status clears: a lease only while running, requests only while they can be met."""
    if to == Status.RUNNING:
        return {}
    cleared: dict[str, Any] = {"lease_expires_at": None, "pause_requested_at": None, "eta_seconds": None}
    return {**cleared, "cancel_requested_at": None} if to in WAITING else cleared


def _write_run(job: Job, transition: Transition, *, now: datetime) -> None:
    values: dict[str, Any] = {"status": transition.to, **(transition.run_values or {})}
    if transition.to in TERMINAL:
        values["finished_at"] = now
    Run.objects.filter(pk=job.run_id).update(**values)
    for name, value in values.items():
        setattr(job.run, name, value)
