"""The project itself as an app: its system checks, and the catalogue of the shared templates."""

from django.apps import AppConfig


class ConfigApp(AppConfig):
    """Registers the deployment checks."""

    name = "config"

    def ready(self) -> None:
        """Import for the side effect of registration."""
        from config import checks  # noqa: F401
