"""What people do to runs: create, reproduce, cancel, pause, resume, move forward, archive."""

from datetime import datetime
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from datasets_app.models import Dataset
from datasets_app.services import still_there
from runs_app import hyperparameters
from runs_app.choices import TERMINAL, WAITING, Status
from runs_app.models import BaseModel, Job, Run
from runs_app.services.errors import InvalidTransition
from runs_app.services.queue import requeue_expired
from runs_app.services.retries import reserved_until
from runs_app.services.transitions import SERVER, Transition, apply, note

DEFAULT_SEED = 42
MAX_NAME_CHARS = 200
MAX_PRIORITY = 1000


class BaseModelNotOffered(ValueError):
    """The base model is not in the catalogue, or is switched off there."""


class DatasetGone(ValueError):
    """The dataset was deleted while a run of it was asked for."""


def actor_of(user: AbstractBaseUser | None) -> str:
    """How events name a person; the server itself where nobody is behind it."""
    return f"user:{user.get_username()}" if user is not None and user.pk else SERVER


def create_run(
    *,
    dataset: Dataset,
    base_model: str,
    given: dict[str, Any],
    now: datetime,
    name: str = "",
    seed: int = DEFAULT_SEED,
    priority: int = 0,
    notes: str = "",
    user: AbstractBaseUser | None = None,
) -> Run:
    """Record a run with its inputs frozen and queue its job, in one transaction.

    `given` are the hyperparameters that differ from the defaults. Raises InvalidHyperparameters,
    BaseModelNotOffered and DatasetGone.
    """
    values = hyperparameters.resolve(given)
    entry = _offered(base_model)
    if "max_length" not in given and values["max_length"] > entry.max_length:
        values = hyperparameters.resolve({**given, "max_length": entry.max_length})
    _refuse_beyond(entry, values["max_length"])
    run = Run(
        name=name or f"{dataset.name} · {entry}"[:MAX_NAME_CHARS],
        notes=notes,
        dataset=dataset,
        base_model=entry.model_id,
        base_model_revision=entry.revision,
        seed=seed,
        **values,
    )
    return _queue(run, dataset, priority=priority, user=user, now=now)


def reproduce_run(*, source: Run, now: datetime, name: str = "", user: AbstractBaseUser | None = None) -> Run:
    """Queue a new run with the same sheet, base model and revision, seed and hyperparameters.

    Raises BaseModelNotOffered and DatasetGone.
    """
    _offered(source.base_model)
    run = Run(
        name=name or _("%(name)s (reproduced)") % {"name": source.name[:180]},
        dataset=source.dataset,
        base_model=source.base_model,
        base_model_revision=source.base_model_revision,
        seed=source.seed,
        reproduced_from=source,
        **source.hyperparameters,
    )
    return _queue(run, source.dataset, priority=0, user=user, now=now)


def _offered(base_model: str) -> BaseModel:
    """The enabled entry of the catalogue. Raises BaseModelNotOffered."""
    entry = BaseModel.objects.offered().filter(model_id=base_model).first()
    if entry is None:
        raise BaseModelNotOffered(_("“%(id)s” is not an enabled base model of the catalogue.") % {"id": base_model})
    return entry


def _refuse_beyond(entry: BaseModel, max_length: int) -> None:
    """Raises InvalidHyperparameters where the base model reads fewer tokens than that."""
    if max_length > entry.max_length:
        said = _("“%(model)s” reads at most %(limit)d tokens, says its entry in the catalogue of base models.")
        facts = {"model": entry.model_id, "limit": entry.max_length}
        raise hyperparameters.InvalidHyperparameters({"max_length": [said % facts]})


def _queue(run: Run, dataset: Dataset, *, priority: int, user: AbstractBaseUser | None, now: datetime) -> Run:
    run.dataset_sha256 = dataset.sha256_hash
    run.task_type = dataset.task_type
    run.created_by_id = user.pk if user is not None else None
    with transaction.atomic():
        if still_there(dataset) is None:
            raise DatasetGone(_("This dataset was deleted a moment ago."))
        run.save(force_insert=True)
        job = Job.objects.create(run=run, priority=priority, queued_at=now)
        note(job, actor=actor_of(user), reason="created", now=now, from_status="")
    return run


def request_cancel(*, run: Run, user: AbstractBaseUser | None, now: datetime) -> Job:
    """Cancel at once what waits; ask the worker to stop what runs. Asking again changes nothing.

    The job that comes back is `cancelled`, or `running` with `cancel_requested_at` set. Raises InvalidTransition.
    """
    with transaction.atomic():
        job = _current(run, now)
        if job.status == Status.CANCELLED or (job.cancel_requested_at is not None and job.status == Status.RUNNING):
            return job
        _refuse_if_over(job, _("cancelled"))
        if job.status == Status.RUNNING:
            return _request(job, "cancel_requested_at", now, "cancel_requested", user, now)
        return _move(job, Status.CANCELLED, "cancelled", user, now)


def request_pause(*, run: Run, user: AbstractBaseUser | None, now: datetime) -> Job:
    """Park what waits; ask the worker to save a checkpoint and give back what runs. Raises InvalidTransition."""
    with transaction.atomic():
        job = _current(run, now)
        if job.status == Status.PAUSED or job.pause_requested_at is not None:
            return job
        _refuse_if_over(job, _("paused"))
        if job.cancel_requested_at is not None:
            raise InvalidTransition(_("This run is being cancelled."))
        if job.status == Status.RUNNING:
            return _request(job, "pause_requested_at", now, "pause_requested", user, now)
        return _move(job, Status.PAUSED, "paused", user, now)


def resume_run(*, run: Run, user: AbstractBaseUser | None, now: datetime) -> Job:
    """Put a paused run back into the queue, or withdraw a pause not yet met. Raises InvalidTransition."""
    with transaction.atomic():
        job = _current(run, now)
        _refuse_if_over(job, _("resumed"))
        if job.status == Status.PENDING:
            return job
        if job.status == Status.RUNNING and job.pause_requested_at is None:
            raise InvalidTransition(_("This run is not paused."))
        if job.status == Status.RUNNING:
            return _request(job, "pause_requested_at", None, "pause_withdrawn", user, now)
        return _move(job, Status.PENDING, "resumed", user, now)


def set_priority(*, run: Run, priority: int, user: AbstractBaseUser | None, now: datetime) -> Job:
    """Move a waiting run forward (higher) or back. Raises InvalidTransition once it is running or over."""
    with transaction.atomic():
        job = _current(run, now)
        if not Job.objects.filter(pk=job.pk, status__in=WAITING).update(priority=priority):
            raise InvalidTransition(_("Only a waiting run has a place in the queue."))
        note(job, actor=actor_of(user), reason=f"priority {priority}", now=now)
        job.priority = priority
        return job


def move_to_front(*, run: Run, user: AbstractBaseUser | None, now: datetime) -> Job:
    """Give a waiting run the lowest priority that puts it before all others; none if it is first. InvalidTransition."""
    with transaction.atomic():
        job = _current(run, now)
        others = Job.objects.filter(status=Status.PENDING).exclude(pk=job.pk)
        highest = others.aggregate(highest=Max("priority"))["highest"]
        if job.status in WAITING and (highest is None or job.priority > highest):
            return job
        if highest is not None and highest >= MAX_PRIORITY:
            raise InvalidTransition(_("Another run has the highest priority there is (%d).") % MAX_PRIORITY)
        return set_priority(run=run, priority=(highest or 0) + 1, user=user, now=now)


def archive_run(*, run: Run, user: AbstractBaseUser | None, now: datetime) -> None:
    """Leave a run that is over out of the lists. Archiving again changes nothing. Raises InvalidTransition."""
    with transaction.atomic():
        over = Run.objects.filter(pk=run.pk, status__in=TERMINAL)
        if over.filter(archived_at=None).update(archived_at=now):
            note(Job.objects.get(run=run), actor=actor_of(user), reason="archived", now=now)
        elif not over.exists():
            raise InvalidTransition(_("Only a run that is over can be archived."))


def unarchive_run(*, run: Run, user: AbstractBaseUser | None, now: datetime) -> None:
    """Show an archived run in the lists again; another one stays as it is."""
    with transaction.atomic():
        if Run.objects.filter(pk=run.pk, archived_at__isnull=False).update(archived_at=None):
            note(Job.objects.get(run=run), actor=actor_of(user), reason="unarchived", now=now)


def _current(run: Run, now: datetime) -> Job:
    """The run's job as it stands, with a lease that ran out accounted for first."""
    requeue_expired(now=now)
    return Job.objects.select_for_update(of=("self",)).select_related("run").get(run=run)


def _refuse_if_over(job: Job, wish: str) -> None:
    if job.status in TERMINAL:
        status = {"status": job.get_status_display(), "wish": wish}
        raise InvalidTransition(_("This run is over (%(status)s) and cannot be %(wish)s.") % status)


def _move(job: Job, to: Status, reason: str, user: AbstractBaseUser | None, now: datetime) -> Job:
    expected = Job.objects.filter(pk=job.pk, status=job.status, attempt=job.attempt)
    # A person who resumes it wants it now: the wait after a failure is over. Its checkpoint is worth a new one.
    left_for = reserved_until(job, now) if to == Status.PENDING else None
    values = {"not_before": None, "reserved_until": left_for}
    moved = apply(expected, Transition(to, actor_of(user), reason, job_values=values), now=now)
    if moved is None:
        raise InvalidTransition(_("The run changed at the same moment. Look again and repeat."))
    return moved


def _request(
    job: Job, column: str, value: datetime | None, reason: str, user: AbstractBaseUser | None, now: datetime
) -> Job:
    """Write a request that the worker's next answer will carry; the job keeps its status."""
    running = Job.objects.filter(pk=job.pk, status=Status.RUNNING, attempt=job.attempt)
    if not running.update(**{column: value}):
        raise InvalidTransition(_("The run changed at the same moment. Look again and repeat."))
    setattr(job, column, value)
    note(job, actor=actor_of(user), reason=reason, now=now)
    return job
