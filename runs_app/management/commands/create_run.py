"""`manage.py create_run DATASET_ID --base-model M [--set learning_rate=3e-5 ...] [--seed N]`"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from datasets_app.models import Dataset
from runs_app.hyperparameters import HYPERPARAMETERS, InvalidHyperparameters
from runs_app.services.runs import (
    DEFAULT_SEED,
    MAX_NAME_CHARS,
    MAX_PRIORITY,
    BaseModelNotOffered,
    DatasetGone,
    create_run,
)


class Command(BaseCommand):
    """Queues a run and prints its id, alone on stdout."""

    help = "Create a run, queue it and print its id."

    def add_arguments(self, parser: CommandParser) -> None:
        """As a person would fill in the form."""
        parser.add_argument("dataset_id", type=int)
        parser.add_argument("--base-model", required=True)
        parser.add_argument("--name", default="")
        parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a hyperparameter")
        parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
        parser.add_argument("--priority", type=int, default=0)

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises CommandError naming what is wrong."""
        dataset = Dataset.objects.filter(pk=options["dataset_id"]).first()
        if dataset is None:
            raise CommandError(f"There is no dataset {options['dataset_id']}.")
        _check_limits(options)
        try:
            run = create_run(
                dataset=dataset,
                base_model=options["base_model"],
                name=options["name"],
                given=_hyperparameters(options["set"]),
                seed=options["seed"],
                priority=options["priority"],
                now=timezone.now(),
            )
        except (InvalidHyperparameters, BaseModelNotOffered, DatasetGone) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(str(run.pk))


def _check_limits(options: dict[str, Any]) -> None:
    """The limits of the API's fields. Raises CommandError."""
    if not 0 <= options["seed"] < 2**31:
        raise CommandError("--seed must be between 0 and 2147483647.")
    if abs(options["priority"]) > MAX_PRIORITY:
        raise CommandError(f"--priority must be between -{MAX_PRIORITY} and {MAX_PRIORITY}.")
    if len(options["name"]) > MAX_NAME_CHARS:
        raise CommandError(f"--name may have at most {MAX_NAME_CHARS} characters.")


def _hyperparameters(pairs: list[str]) -> dict[str, Any]:
    """`["epochs=3"]` as `{"epochs": 3}`; unknown names are left for the service to refuse. Raises CommandError."""
    given: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise CommandError(f"--set takes NAME=VALUE, not {pair!r}.")
        try:
            given[name] = HYPERPARAMETERS[name].parse(text) if name in HYPERPARAMETERS else text
        except ValueError as error:
            raise CommandError(f"{name}: {error}") from error
    return given
