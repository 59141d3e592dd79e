"""App configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DatasetsAppConfig(AppConfig):
    """Sheets: read, judged, kept."""

    name = "datasets_app"
    verbose_name = _("Data")
