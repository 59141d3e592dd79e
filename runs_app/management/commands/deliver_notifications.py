"""`manage.py deliver_notifications`"""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from runs_app.services.delivery import deliver_due


class Command(BaseCommand):
    """Sends e-mails and webhooks that are due; for cron."""

    help = "Send the notifications that are due (the server also does this by itself)."

    def handle(self, *args: Any, **options: Any) -> None:
        """Prints how many arrived."""
        self.stdout.write(str(deliver_due(now=timezone.now())))
