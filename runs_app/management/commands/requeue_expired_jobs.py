"""`manage.py requeue_expired_jobs`"""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from runs_app.services.delivery import wait_for_delivery
from runs_app.services.queue import requeue_expired


class Command(BaseCommand):
    """Puts jobs whose lease ran out back into the queue, or ends them; for cron."""

    help = "Requeue jobs whose lease ran out (the server also does this by itself)."

    def handle(self, *args: Any, **options: Any) -> None:
        """Prints how many there were."""
        self.stdout.write(str(requeue_expired(now=timezone.now())))
        wait_for_delivery()
