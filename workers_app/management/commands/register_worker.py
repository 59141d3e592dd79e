"""`manage.py register_worker NAME`"""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from workers_app.services import register_worker


class Command(BaseCommand):
    """Creates a worker and prints its token, alone on stdout."""

    help = "Create a worker and print its token once."

    def add_arguments(self, parser: CommandParser) -> None:
        """A name that no worker has."""
        parser.add_argument("name")
        parser.add_argument("--description", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises CommandError when the name is taken or not allowed."""
        try:
            _worker, token = register_worker(name=options["name"], description=options["description"])
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(token)
