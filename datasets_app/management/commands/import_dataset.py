"""`manage.py import_dataset FILE.xlsx --name NAME ...`"""

from typing import Any

from django.conf import settings
from django.core.files import File
from django.core.management.base import BaseCommand, CommandError, CommandParser

from datasets_app.management.sheet_arguments import add_sheet_arguments, choice_of, existing_file
from datasets_app.models import Dataset
from datasets_app.services import (
    MAX_DESCRIPTION_CHARS,
    MAX_NAME_CHARS,
    DatasetInvalid,
    OtherTask,
    UploadTooLarge,
    import_dataset,
)


class Command(BaseCommand):
    """Validates and stores a sheet as the upload does; prints the dataset's id, alone on stdout."""

    help = "Import an Excel sheet as a dataset and print its id."

    def add_arguments(self, parser: CommandParser) -> None:
        """The file, its name, and how to read it."""
        add_sheet_arguments(parser)
        parser.add_argument("--name", required=True)
        parser.add_argument("--description", default="")
        parser.add_argument("--previous", type=int, metavar="ID", help="the dataset that this is the next version of")

    def handle(self, *args: Any, **options: Any) -> None:
        """Prints every error of an invalid sheet on stderr. Raises CommandError then (exit 1)."""
        _check_limits(options)
        path, previous = existing_file(options["file"]), _dataset(options["previous"])
        try:
            with path.open("rb") as content:
                dataset, created = import_dataset(
                    file=File(content),
                    filename=path.name,
                    name=options["name"].strip(),
                    description=options["description"],
                    choice=choice_of(options),
                    previous=previous,
                )
        except OtherTask as error:
            raise CommandError(f"Dataset {options['previous']} is of another task.") from error
        except UploadTooLarge as error:
            raise CommandError(f"{path.name} is larger than {settings.MAX_UPLOAD_MB} MB.") from error
        except DatasetInvalid as error:
            for fault in error.errors:
                self.stderr.write(f"{fault['code']}: {fault['message']}")
            raise CommandError(f"{error.code}: {error.detail}") from error
        if not created:
            self.stderr.write(f"These rows are already dataset {dataset.pk}, {dataset.name}; nothing was stored.")
        self.stdout.write(str(dataset.pk))


def _check_limits(options: dict[str, Any]) -> None:
    """The limits of the API's fields. Raises CommandError."""
    if not 1 <= len(options["name"].strip()) <= MAX_NAME_CHARS:
        raise CommandError(f"--name must have between 1 and {MAX_NAME_CHARS} characters.")
    if len(options["description"]) > MAX_DESCRIPTION_CHARS:
        raise CommandError(f"--description may have at most {MAX_DESCRIPTION_CHARS} characters.")


def _dataset(pk: int | None) -> Dataset | None:
    """Raises CommandError when there is none of this number."""
    if pk is None:
        return None
    found = Dataset.objects.filter(pk=pk).first()
    if found is None:
        raise CommandError(f"There is no dataset {pk}.")
    return found
