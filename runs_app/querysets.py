"""Sets of runs and jobs, by domain name."""

from datetime import datetime
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q

from runs_app.choices import ACTIVE, Status

if TYPE_CHECKING:
    from runs_app.models import BaseModel, Job, Notification, Run  # noqa: F401  named in strings below
    from workers_app.models import Worker


class JobQuerySet(models.QuerySet["Job"]):
    """Jobs."""

    def expired(self, now: datetime) -> "JobQuerySet":
        """Running jobs whose lease ran out."""
        return self.filter(status=Status.RUNNING, lease_expires_at__lte=now)

    def held_by(self, worker: "Worker", attempt: int) -> "JobQuerySet":
        """Running as this attempt of this worker: the fence that every worker write stands behind."""
        return self.filter(status=Status.RUNNING, worker=worker, attempt=attempt)

    def active(self) -> "JobQuerySet":
        """Pending, paused or running."""
        return self.filter(status__in=ACTIVE)


class RunQuerySet(models.QuerySet["Run"]):
    """Runs."""

    def with_job(self) -> "RunQuerySet":
        """With its job, worker, author and model, in the same query."""
        return self.select_related("job__worker", "created_by", "model")

    def for_display(self) -> "RunQuerySet":
        """With the dataset, too: all that a page tells of a run."""
        return self.with_job().select_related("dataset")


class NotificationQuerySet(models.QuerySet["Notification"]):
    """Messages of the outbox."""

    def due(self, now: datetime) -> "NotificationQuerySet":
        """To be sent now: neither delivered nor given up, and not within the pause after an attempt."""
        return self.filter(delivered_at=None, given_up_at=None, due_at__lte=now)


class BaseModelQuerySet(models.QuerySet["BaseModel"]):
    """The catalogue of base models."""

    def offered(self) -> "BaseModelQuerySet":
        """What a new run may name."""
        return self.filter(Q(enabled=True))
