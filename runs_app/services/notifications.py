"""What is told outside of a run that is over or lost its worker: rows of an outbox, written with the new state.

Off unless NOTIFY_EMAIL or WEBHOOK_URL is set. No text of a dataset goes into a message: names, numbers and codes only,
never the worker's own words, which may quote an example.
"""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import override

from config.display import figure
from runs_app.choices import FailureReason, NotificationChannel, NotificationEvent, Status
from runs_app.hyperparameters import METRICS
from runs_app.models import Job, Notification, Run

ENDINGS = {Status.COMPLETED: NotificationEvent.COMPLETED, Status.FAILED: NotificationEvent.FAILED}


def channels() -> list[NotificationChannel]:
    """Those that are switched on."""
    wanted = {NotificationChannel.EMAIL: settings.NOTIFY_EMAIL, NotificationChannel.WEBHOOK: settings.WEBHOOK_URL}
    return [channel for channel, is_on in wanted.items() if is_on]


def event_of(status: str, reason: str) -> NotificationEvent | None:
    """What a transition to `status` for `reason` means to people outside; None for what is no news to them."""
    if status == Status.PENDING and reason == "lease_expired":
        return NotificationEvent.WORKER_LOST
    return ENDINGS.get(Status(status))


def record(job: Job, reason: str, now: datetime) -> bool:
    """Put what just happened to `job` into the outbox; whether there was anything to tell.

    Call in the transaction that makes it true.
    """
    wanted = channels()
    event = event_of(job.status, reason) if wanted else None
    if event is None:
        return False
    payload = payload_of(job.run, event, now)
    Notification.objects.bulk_create(
        Notification(run=job.run, event=event, channel=channel, payload=payload, due_at=now) for channel in wanted
    )
    return True


def payload_of(run: Run, event: NotificationEvent, now: datetime) -> dict[str, Any]:
    """The body of the webhook; `text` is one sentence in the server's language, as chat programs show it."""
    with override(settings.LANGUAGE_CODE):
        text = _sentence(run, event)
    page = reverse("admin:runs_app_run_change", args=[run.pk])
    return {
        "event": event.value,
        "created_at": now.isoformat(),
        "text": text,
        "run": {
            "id": run.pk,
            "name": run.name,
            "status": run.status,
            "failure_reason": run.failure_reason,
            "metrics": {name: run.metrics[name] for name in METRICS if _is_number(run.metrics.get(name))},
            "url": settings.PUBLIC_URL + page if settings.PUBLIC_URL else "",
        },
    }


def _sentence(run: Run, event: NotificationEvent) -> str:
    facts: dict[str, Any] = {"id": run.pk, "name": " ".join(run.name.split())}
    if event == NotificationEvent.COMPLETED:
        return _("Run #%(id)d “%(name)s” is completed, F1 %(f1)s.") % {**facts, "f1": figure(run.metrics.get("f1"))}
    if event == NotificationEvent.WORKER_LOST:
        return _("Run #%(id)d “%(name)s” lost its worker and is back in the queue.") % facts
    why = FailureReason(run.failure_reason).label if run.failure_reason else ""
    return _("Run #%(id)d “%(name)s” failed: %(reason)s.") % {**facts, "reason": why}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
