"""`manage.py create_api_token USERNAME`"""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from workers_app.services import create_api_token


class Command(BaseCommand):
    """Prints a new API token for an existing user, alone on stdout."""

    help = "Create an API token for a user and print it once."

    def add_arguments(self, parser: CommandParser) -> None:
        """One name."""
        parser.add_argument("username")

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises CommandError when there is no such user."""
        users = get_user_model()
        user = users._default_manager.filter(**{users.USERNAME_FIELD: options["username"]}).first()
        if user is None:
            raise CommandError(f"There is no user {options['username']!r}. Create one: manage.py createsuperuser")
        _row, token = create_api_token(user=user)
        self.stdout.write(token)
