"""`manage.py run_worker ...`: the same program as `python -m worker_client ...`."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from worker_client import cli


class Command(BaseCommand):
    """Hands every argument to the worker's own command line."""

    help = "Poll the server, train on this machine, keep the models here (python -m worker_client)."
    requires_system_checks = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Django's own flags are not parsed, so that the worker's help, flags and exit codes are the same."""
        sys.exit(cli.main(argv[2:]))

    def handle(self, *args: Any, **options: Any) -> None:
        """For `call_command("run_worker", ...)`."""
        sys.exit(cli.main([str(arg) for arg in args]))
