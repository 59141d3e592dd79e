"""Sets of workers and tokens, by domain name."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models

if TYPE_CHECKING:
    from workers_app.models import ApiToken, Worker  # noqa: F401  named in strings below


class WorkerQuerySet(models.QuerySet["Worker"]):
    """Workers."""

    def online(self, now: datetime) -> "WorkerQuerySet":
        """Enabled and heard of within WORKER_OFFLINE_SECONDS."""
        since = now - timedelta(seconds=settings.WORKER_OFFLINE_SECONDS)
        return self.filter(enabled=True, last_seen_at__gte=since)


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    """Tokens of people."""

    def valid(self) -> "ApiTokenQuerySet":
        """Not revoked, of a user who may still log in."""
        return self.filter(revoked_at__isnull=True, user__is_active=True)
