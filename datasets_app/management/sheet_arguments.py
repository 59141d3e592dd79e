"""What `import_dataset` and `validate_dataset` share: a file, and how to read it."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from datasets_app.models import TaskType
from datasets_app.services import SheetChoice

FLAGS = ("sheet", "text_column", "label_column", "tokens_column", "tags_column")


def add_sheet_arguments(parser: CommandParser) -> None:
    """FILE and the flags of the upload form."""
    parser.add_argument("file", type=Path)
    parser.add_argument("--task-type", default="", choices=TaskType.values)
    for flag in FLAGS:
        parser.add_argument(f"--{flag.replace('_', '-')}", default="")
    parser.add_argument("--repair-bio", action="store_true", help="accept the offered repairs of BIO tags")


def choice_of(options: dict[str, Any]) -> SheetChoice:
    """The flags as the service takes them."""
    flags = {flag: options[flag] for flag in FLAGS}
    return SheetChoice(task_type=options["task_type"], repair_bio=options["repair_bio"], **flags)


def existing_file(path: Path) -> Path:
    """The path. Raises CommandError when no file is there."""
    if not path.is_file():
        raise CommandError(f"There is no file {path}.")
    return path
