"""Why a job waits, in one sentence that a person understands."""

from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from runs_app.choices import Status
from runs_app.models import BUILTIN_TINY_BERT, Job
from runs_app.services.telemetry import busy_worker_ids
from workers_app.models import Worker


@dataclass(frozen=True)
class Fleet:
    """The workers as they are at one moment, read once for the whole queue."""

    total: int
    online: int
    idle: int
    first: frozenset[int]  # the pending jobs that the idle workers take next

    @classmethod
    def now(cls, now: datetime) -> "Fleet":
        """Count them."""
        online = {worker.pk: worker for worker in Worker.objects.online(now)}
        busy = busy_worker_ids()
        idle = sum(1 for pk, worker in online.items() if pk not in busy and not worker.draining)
        pending = Job.objects.filter(status=Status.PENDING).order_by("-priority", "id")
        first = frozenset(pending.values_list("pk", flat=True)[:idle])
        return cls(Worker.objects.filter(enabled=True).count(), len(online), idle, first)


def waiting_reason(job: Job, fleet: Fleet) -> str | None:
    """The sentence; None for a job that does not wait."""
    if job.status == Status.PAUSED:
        return _("Paused by a person. Resume it to put it back into the queue.")
    if job.status != Status.PENDING:
        return None
    if fleet.total == 0:
        return _("No worker has been registered yet. Register one and start it on a PC with a GPU.")
    if fleet.online == 0:
        return _("No worker is connected. Start a worker, or wait for it to come back.")
    if fleet.idle == 0:
        return _("Every connected worker is busy with another run.")
    if job.pk not in fleet.first:
        return _("Other runs are ahead of it in the queue.")
    if job.run.base_model == BUILTIN_TINY_BERT:
        return _("A worker is free and takes it with its next request.")
    return _("A worker is free and takes it with its next request; it downloads the base model first if it lacks it.")
