"""App configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class WorkersAppConfig(AppConfig):
    """Who may call: workers and the API tokens of people."""

    name = "workers_app"
    verbose_name = _("Operation")
