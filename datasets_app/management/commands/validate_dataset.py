"""`manage.py validate_dataset FILE.xlsx ...`"""

import json
import sys
from typing import Any

from django.conf import settings
from django.core.files import File
from django.core.management.base import BaseCommand, CommandError, CommandParser

from datasets_app.management.sheet_arguments import add_sheet_arguments, choice_of, existing_file
from datasets_app.messages import too_large_sentence
from datasets_app.services import DatasetInvalid, UploadTooLarge, check_dataset, report_json


class Command(BaseCommand):
    """Prints the full report on a sheet as JSON; stores nothing. Exit 0 valid, 1 invalid."""

    help = "Check an Excel sheet and print the report as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        """The file and how to read it."""
        add_sheet_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """The report goes to stdout in both cases."""
        path = existing_file(options["file"])
        try:
            with path.open("rb") as content:
                checked = check_dataset(file=File(content), choice=choice_of(options))
        except UploadTooLarge as error:
            self._print({"valid": False, "code": "too_large", "detail": too_large_sentence(), "errors": []})
            raise CommandError(f"{path.name} is larger than {settings.MAX_UPLOAD_MB} MB.") from error
        except DatasetInvalid as error:
            facts = {"code": error.code, "detail": error.detail, "error_count": error.error_count}
            self._print({"valid": False, **facts, "errors": error.errors})
            sys.exit(1)
        report = checked.report
        self._print(
            {
                "valid": True,
                "task_type": report.task_type,
                "sha256": checked.sha256,
                "size_bytes": checked.size_bytes,
                "num_rows": report.num_rows,
                "sheet": report.sheet,
                "columns": report.columns,
                "labels": report.labels,
                "report": report_json(report),
            }
        )

    def _print(self, answer: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(answer, ensure_ascii=False, indent=2))
