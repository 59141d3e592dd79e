"""`manage.py remove_expired_uploads`"""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from datasets_app.staging import remove_expired


class Command(BaseCommand):
    """For cron, where nobody uploads for days: each upload does the same."""

    help = "Remove sheets whose upload nobody went on with; print how many."

    def handle(self, *args: Any, **options: Any) -> None:
        """Prints the number, alone on stdout."""
        self.stdout.write(str(remove_expired(now=timezone.now())))
