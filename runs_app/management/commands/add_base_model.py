"""`manage.py add_base_model ID [--revision R]`"""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from runs_app.models import BaseModel


class Command(BaseCommand):
    """Adds a base model to the catalogue, or enables it and pins its revision anew."""

    help = "Add a base model to the catalogue that runs may name."

    def add_arguments(self, parser: CommandParser) -> None:
        """The hub's id, such as organisation/name."""
        parser.add_argument("model_id")
        parser.add_argument("--revision", default="", help="commit whose weights every worker uses")
        parser.add_argument("--label", default="", help="short name for people")

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises CommandError on an id that is none."""
        entry = BaseModel.objects.filter(model_id=options["model_id"]).first() or BaseModel(
            model_id=options["model_id"]
        )
        entry.enabled = True
        entry.revision = options["revision"] or entry.revision
        entry.label = options["label"] or entry.label
        try:
            entry.full_clean()
        except ValidationError as error:
            said = [f"{name}: {' '.join(messages)}" for name, messages in error.message_dict.items()]
            raise CommandError(" ".join(said)) from error
        entry.save()
        self.stdout.write(entry.model_id)
