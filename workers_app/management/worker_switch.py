"""What `disable_worker` and `enable_worker` share."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from workers_app.models import Worker
from workers_app.services import set_enabled


class WorkerSwitch(BaseCommand):
    """Lets a worker in or keeps it out, by name."""

    enabled: bool

    def add_arguments(self, parser: CommandParser) -> None:
        """The worker's name."""
        parser.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises CommandError when there is no such worker."""
        worker = Worker.objects.filter(name=options["name"]).first()
        if worker is None:
            names = ", ".join(Worker.objects.values_list("name", flat=True)) or "none yet"
            raise CommandError(f"There is no worker {options['name']!r}. Workers: {names}.")
        set_enabled(worker=worker, enabled=self.enabled)
        self.stderr.write(f"{worker.name}: {'enabled' if self.enabled else 'disabled'}")
