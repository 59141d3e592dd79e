"""App configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RunsAppConfig(AppConfig):
    """Runs, their jobs in the queue, and what the workers report."""

    name = "runs_app"
    verbose_name = _("Train")
