"""The queue: claim, lease, complete, fail, release, expire (CONTRACT section 4)."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F

from datasets_app.token_lengths import keep_token_lengths
from runs_app.choices import AttemptOutcome, FailureReason, ReleaseReason, Status
from runs_app.models import BUILTIN_TINY_BERT, Attempt, Job, Run, TrainedModel
from runs_app.services.claiming import take_next
from runs_app.services.delivery import look_for_due
from runs_app.services.errors import LeaseLost, TelemetryMissing, WorkerBusy
from runs_app.services.retries import RESTART_S, has_budget, is_worth_retrying, not_before, reserved_until
from runs_app.services.telemetry import lacks_telemetry
from runs_app.services.transitions import SERVER, Transition, apply, end_attempt, lost, note, worker_actor
from workers_app.models import Worker


@dataclass(frozen=True)
class Result:
    """What a worker reports of a finished training."""

    model_path: str
    model_sha256: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    best_epoch: float | None = None
    report: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)  # see telemetry.gaps
    may_resend: bool = False


# Claiming


def claim_job(*, worker: Worker, claim_id: UUID, now: datetime) -> Job | None:
    """Give `worker` the next job, or None when nothing waits for it.

    Adds one to `attempt` and opens a lease of JOB_LEASE_SECONDS. The job changes hands in one conditional UPDATE,
    and partial unique indexes hold "one live attempt per job, one per worker" against every race. The same
    `claim_id` again returns the same job while that attempt lives. Raises WorkerBusy.
    """
    job = _take_next(worker, claim_id, now)
    if job is not None:
        return job
    # Nothing waits; or nothing is given out before an expired lease and an answer that got lost are seen to.
    if Job.objects.expired(now).exists():
        requeue_expired(now=now)
    # In this order: when no job waits any more, the attempt that this very claim, sent before, began is there to see.
    something_waits = Job.objects.filter(status=Status.PENDING).exists()
    live = live_attempt(worker)
    if live is None and something_waits:
        # It may not have waited a moment ago: another claim may have seen to the expired lease. Or it is being taken,
        # and by this very claim: its outcome is waited for.
        job = _take_next(worker, claim_id, now, wait=True)
        if job is not None:
            return job
        live = live_attempt(worker)
    return _repeated(live, claim_id) if live is not None else None


def _take_next(worker: Worker, claim_id: UUID, now: datetime, *, wait: bool = False) -> Job | None:
    if worker.draining:
        return None
    try:
        return take_next(worker=worker, claim_id=claim_id, lease_end=lease_end(now), now=now, wait=wait)
    except IntegrityError:  # the same claim sent twice, or a second one of this worker, was faster
        live = live_attempt(worker)
        if live is None:
            raise
        return _repeated(live, claim_id)


def live_attempt(worker: Worker) -> Attempt | None:
    """The attempt that the worker holds at the moment."""
    return Attempt.objects.filter(worker=worker, ended_at=None).select_related("job__run").first()


def _repeated(live: Attempt, claim_id: UUID) -> Job:
    if live.claim_id != claim_id:
        raise WorkerBusy(f"This worker holds job {live.job_id} (attempt {live.number}); finish or release it first.")
    return live.job


def lease_end(now: datetime) -> datetime:
    """When a lease renewed now runs out."""
    return now + timedelta(seconds=settings.JOB_LEASE_SECONDS)


# Holding


def held_job(*, job_id: int, attempt: int, worker: Worker, now: datetime) -> Job:
    """The job, if this attempt of this worker holds it under a lease that runs. Raises LeaseLost.

    It stays so until the end of the transaction, which what is written of it must share.
    """
    job = (
        Job.objects.select_for_update(of=("self",), no_key=True)
        .held_by(worker, attempt)
        .filter(pk=job_id, lease_expires_at__gt=now)
        .select_related("run__dataset", "worker")
        .first()
    )
    if job is None:
        raise _lease_lost(job_id, attempt)
    return job


def renew_lease(*, job_id: int, attempt: int, worker: Worker, now: datetime) -> Job:
    """Renew the lease, or take the job up again when the lease ran out and nobody has claimed it yet.

    Raises LeaseLost when somebody has, when the job is over, or when it was never this attempt's.
    """
    held = Job.objects.held_by(worker, attempt).filter(pk=job_id)
    try:
        with transaction.atomic():
            if not held.update(lease_expires_at=lease_end(now)):
                return _reattach(job_id, attempt, worker, now)
            return held.select_related("run").get()
    except IntegrityError:  # a claim of the same worker was faster, and it holds another job now
        raise _lease_lost(job_id, attempt) from None


def _reattach(job_id: int, attempt: int, worker: Worker, now: datetime) -> Job:
    lost_here = Attempt.objects.filter(job_id=job_id, number=attempt, worker=worker, outcome=AttemptOutcome.LOST)
    expected = Job.objects.filter(pk=job_id, status=Status.PENDING, attempt=attempt, worker=worker)
    if not lost_here.exists() or live_attempt(worker) is not None:
        raise _lease_lost(job_id, attempt)
    back = Transition(
        Status.RUNNING,
        worker_actor(worker),
        reason="reattached",
        # Nothing was lost after all: the loss that the expiry counted is taken back.
        job_values={
            "lease_expires_at": lease_end(now),
            "loss_count": F("loss_count") - 1,
            "reserved_until": None,
        },
    )
    job = apply(expected, back, now=now)
    if job is None:
        raise _lease_lost(job_id, attempt)
    lost_here.update(ended_at=None, outcome="", reason="", status_after="")
    return job


def _lease_lost(job_id: int, attempt: int) -> LeaseLost:
    return LeaseLost(f"Attempt {attempt} does not hold job {job_id} any more; stop it and keep its checkpoint.")


# Ending


def complete_job(*, job_id: int, attempt: int, worker: Worker, result: Result, now: datetime) -> Job:
    """Finish the job and its run with `result`; a repeat of the same attempt changes nothing.

    Raises LeaseLost, and TelemetryMissing where the worker can send again what a restored backup has lost.
    """
    with transaction.atomic():
        held = _held(job_id, attempt, worker, now)
        run_values = {
            "metrics": result.metrics,
            "f1": _figure(result.metrics.get("f1")),
            "best_epoch": result.best_epoch,
            "report": result.report,
            "environment": result.environment,
        }
        job = apply(held, Transition(Status.COMPLETED, worker_actor(worker), "completed", run_values), now=now)
        if job is None:
            return _answered_before(job_id, attempt, worker, AttemptOutcome.COMPLETED)
        if job.cancel_requested_at is not None:
            note(job, actor=worker_actor(worker), reason="cancel_too_late", now=now)
        if result.may_resend and lacks_telemetry(job, result.counts):
            raise TelemetryMissing("Lines, figures or events of this attempt are missing here; send them again.")
        end_attempt(job, AttemptOutcome.COMPLETED, now=now, counts=result.counts)
        TrainedModel.objects.create(run=job.run, worker=worker, path=result.model_path, sha256=result.model_sha256)
        if "token_lengths" in result.report:
            _keep_token_lengths(job.run, result.report["token_lengths"])
        return job


def _figure(told: Any) -> float | None:
    """None for what is no number: metrics are the worker's word."""
    return told if isinstance(told, int | float) and not isinstance(told, bool) else None


def _keep_token_lengths(run: Run, told: Any) -> None:
    keep_token_lengths(
        dataset_id=run.dataset_id,
        run_id=run.pk,
        base_model=run.base_model,
        revision=run.base_model_revision,
        learned_here=run.base_model == BUILTIN_TINY_BERT,
        told=told,
    )


def fail_job(
    *,
    job_id: int,
    attempt: int,
    worker: Worker,
    reason: FailureReason,
    message: str,
    now: datetime,
    retryable: bool = True,
    traceback: str = "",
    counts: dict[str, int] | None = None,
) -> Job:
    """End the attempt without a model: back to the queue where another try may help, else `failed`.

    The job's status afterwards is what the worker is told; a repeat is told the same. Raises LeaseLost.
    """
    with transaction.atomic():
        held = _held(job_id, attempt, worker, now)
        current = held.select_for_update().first()  # a cancel asked for meanwhile must not be overlooked
        if current is None:
            return _answered_before(job_id, attempt, worker, AttemptOutcome.FAILED)
        retry = retryable and is_worth_retrying(current, reason)
        transition = _after_loss(current, worker_actor(worker), reason, message, retry=retry, traceback=traceback)
        job = apply(held, lost(transition, not_before=not_before(current, now)), now=now)
        if job is None:
            raise _lease_lost(job_id, attempt)
        end_attempt(job, AttemptOutcome.FAILED, now=now, reason=reason, counts=counts)
        return job


def release_job(
    *,
    job_id: int,
    attempt: int,
    worker: Worker,
    reason: ReleaseReason,
    now: datetime,
    counts: dict[str, int] | None = None,
) -> Job:
    """Give the job back: cancelled or paused where a person asked for that, else to the queue.

    Only `crashed` counts as a loss. A repeat is answered as the first time. Raises LeaseLost.
    """
    with transaction.atomic():
        held = _held(job_id, attempt, worker, now, lease_must_run=reason != ReleaseReason.CRASHED)
        current = held.select_for_update(of=("self",)).select_related("worker").first()
        if current is None:
            return _answered_before(job_id, attempt, worker, AttemptOutcome.RELEASED)
        job = apply(held, _release(current, worker, reason, now), now=now)
        if job is None:
            raise _lease_lost(job_id, attempt)
        end_attempt(job, AttemptOutcome.RELEASED, now=now, reason=reason, counts=counts)
        return job


def _release(job: Job, worker: Worker, reason: ReleaseReason, now: datetime) -> Transition:
    actor = worker_actor(worker)
    if job.cancel_requested_at is not None:
        return Transition(Status.CANCELLED, actor, "cancelled")
    if job.pause_requested_at is not None:
        return Transition(Status.PAUSED, actor, "paused")
    if reason == ReleaseReason.CRASHED:
        message = "The worker crashed during the training."
        transition = _after_loss(job, actor, FailureReason.WORKER_LOST, message, retry=True, event="crashed")
        return lost(transition, reserved_until=reserved_until(job, now))
    if reason == ReleaseReason.SHUTDOWN:  # for the night, or only to be started anew
        left_for = reserved_until(job, now, RESTART_S)
        return Transition(Status.PENDING, actor, reason, job_values={"reserved_until": left_for})
    # "paused" where the pause was withdrawn meanwhile: nothing is paused, the job only went back to the queue.
    return Transition(Status.PENDING, actor, "resumed", job_values={"reserved_until": reserved_until(job, now)})


def _after_loss(
    job: Job, actor: str, reason: str, message: str, *, retry: bool, event: str = "", traceback: str = ""
) -> Transition:
    """Where a job goes when an attempt ended without a result: cancelled if asked for, queue if worth it, failed."""
    if job.cancel_requested_at is not None and retry:
        return Transition(Status.CANCELLED, actor, event or reason)
    if job.pause_requested_at is not None and retry and has_budget(job):
        return Transition(Status.PAUSED, actor, event or reason)
    if retry and has_budget(job):
        return Transition(Status.PENDING, actor, event or reason)
    told = {"failure_reason": reason, "error": message, "traceback": traceback}
    return Transition(Status.FAILED, actor, event or reason, told)


def _held(job_id: int, attempt: int, worker: Worker, now: datetime, *, lease_must_run: bool = True) -> Any:
    held = Job.objects.held_by(worker, attempt).filter(pk=job_id)
    return held.filter(lease_expires_at__gt=now) if lease_must_run else held


def _answered_before(job_id: int, attempt: int, worker: Worker, outcome: AttemptOutcome) -> Job:
    """The job, if this very call was accepted before and only its answer was lost. Raises LeaseLost."""
    past = Attempt.objects.filter(job_id=job_id, number=attempt, worker=worker, outcome=outcome).first()
    if past is None:
        raise _lease_lost(job_id, attempt)
    job = Job.objects.select_related("run").get(pk=job_id)
    job.status = past.status_after
    return job


# Expiring


def requeue_expired(*, now: datetime) -> int:
    """End every attempt whose lease ran out; returns how many there were.

    Called at each claim and queue reading and by `manage.py requeue_expired_jobs`; needs no timer. So are messages
    whose pause after a failed attempt is over.
    """
    look_for_due(now)
    return sum(_expire(pk, now) for pk in Job.objects.expired(now).values_list("pk", flat=True))


def _expire(job_id: int, now: datetime) -> bool:
    with transaction.atomic():
        # Asked again inside the transaction: a heartbeat may have renewed the lease since.
        expired = Job.objects.expired(now).filter(pk=job_id)
        current = expired.select_for_update(of=("self",)).select_related("worker").first()
        if current is None:
            return False
        message = "The worker stopped answering and its lease ran out."
        after = _after_loss(current, SERVER, FailureReason.WORKER_LOST, message, retry=True, event="lease_expired")
        left_for = reserved_until(current, now)
        job = apply(expired.filter(attempt=current.attempt), lost(after, reserved_until=left_for), now=now)
        if job is not None:
            end_attempt(job, AttemptOutcome.LOST, now=now, reason=FailureReason.WORKER_LOST)
        return job is not None


# Reading


def attempt_of(*, job_id: int, attempt: int, worker: Worker) -> Attempt:
    """The attempt, live or ended, if it was this worker's: whose late log lines are still taken.

    Raises LeaseLost, also to a worker that never had it: one that was registered anew finds the lines of its old name
    in its work folder, and must not read the refusal as one of its token.
    """
    mine = Attempt.objects.filter(job_id=job_id, number=attempt, worker=worker)
    found = mine.select_related("job__run").first()
    if found is None:
        raise _lease_lost(job_id, attempt)
    return found
