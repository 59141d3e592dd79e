"""`manage.py revoke_api_token PREFIX`"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from workers_app.services import revoke_api_tokens
from workers_app.tokens import API_TOKEN_PREFIX

MIN_CHARS = len(API_TOKEN_PREFIX) + 4


class Command(BaseCommand):
    """Revokes the API tokens that begin with PREFIX."""

    help = "Revoke the API tokens whose first characters are PREFIX (as the admin shows them)."

    def add_arguments(self, parser: CommandParser) -> None:
        """The beginning of a token."""
        parser.add_argument("prefix")

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises CommandError when no valid token begins so, or when the prefix would fit everybody's."""
        prefix = options["prefix"]
        if len(prefix) < MIN_CHARS:
            raise CommandError(f"Give at least {MIN_CHARS} characters: {prefix!r} would fit too many tokens.")
        count = revoke_api_tokens(prefix=prefix)
        if not count:
            raise CommandError(f"No valid API token begins with {prefix!r}.")
        self.stderr.write(f"Revoked: {count}")
