"""When a job is tried again, by whom first, and when no more (CONTRACT section 4)."""

import random
from datetime import datetime, timedelta

from django.conf import settings

from runs_app.choices import RETRIED_REASONS, AttemptOutcome, FailureReason
from runs_app.models import Job

FIRST_DELAY_S = 30.0
LONGEST_DELAY_S = 15 * 60.0
LONGEST_RESERVATION_S = 120.0  # a PC that was started anew is back by then
RESTART_S = 30.0  # a service that was: docs/worker-linux.md waits 15 s
POISONOUS_KILLS = 2


def has_budget(job: Job) -> bool:
    """Whether one more loss leaves a try."""
    return job.loss_count + 1 < settings.JOB_MAX_ATTEMPTS


def is_worth_retrying(job: Job, reason: str) -> bool:
    """Whether another try, perhaps on another worker, may end differently.

    A run that killed its process twice would kill a third: often it takes the machine's memory, and with it the
    office's PC.
    """
    if reason not in RETRIED_REASONS:
        return False
    return reason != FailureReason.KILLED or _kills(job) + 1 < POISONOUS_KILLS


def _kills(job: Job) -> int:
    return job.attempts.filter(reason=FailureReason.KILLED).count()


def not_before(job: Job, now: datetime) -> datetime | None:
    """From when a job whose attempt reported a failure may be claimed; None for at once.

    The first failure is mostly a mishap and costs no wait. From the second on 30 s x 2^(n-2) with jitter, at most
    15 minutes; never more than a twentieth of the lease, so that a server of short leases has short waits. A lease that
    ran out has waited long enough.
    """
    earlier = job.attempts.filter(outcome=AttemptOutcome.FAILED).count()
    if not earlier:
        return None
    longest = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (earlier - 1))
    shortened = min(longest, settings.JOB_LEASE_SECONDS / 20 * 2 ** (earlier - 1))
    return now + timedelta(seconds=shortened * random.uniform(0.5, 1.0))


def reserved_until(job: Job, now: datetime, longest_s: float = LONGEST_RESERVATION_S) -> datetime | None:
    """How long a job that waits again is left for the worker whose disk holds its checkpoint; None where there is none.

    Elsewhere it would begin anew. At most a fifth of the lease, so that a server of short leases has short waits.
    """
    if job.checkpoint_step is None or job.worker is None or not job.worker.enabled or job.worker.draining:
        return None
    return now + timedelta(seconds=min(longest_s, settings.JOB_LEASE_SECONDS / 5))
