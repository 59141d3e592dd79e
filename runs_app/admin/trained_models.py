"""Trained models: where each lies and how good it is. What they are and how to use them stands on their run's page."""

from django.contrib import admin
from django.db.models import F
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from config.admin import ProductAdmin
from config.display import NOTHING, figure, shortened
from runs_app.admin.shown_on_run import ShownOnRun
from runs_app.models import TrainedModel


@admin.register(TrainedModel)
class TrainedModelAdmin(ShownOnRun, ProductAdmin):
    """Read-only: a model is made by its run, and its files are the worker's."""

    list_display = ["run_link", "f1", "task", "sheet", "worker_name", "folder", "created_at"]
    list_display_links = None
    list_filter = ["run__task_type"]
    list_select_related = ["run__dataset", "worker"]
    search_fields = ["run__name", "run__dataset__name", "path"]
    empty_sentence = _("No trained model yet. The first one comes with the first completed run.")

    @admin.display(description="F1", ordering=F("run__f1").asc(nulls_first=True))
    def f1(self, model: TrainedModel) -> str:
        """On the test part."""
        return figure(model.run.metrics.get("f1"))

    @admin.display(description=_("task"), ordering="run__task_type")
    def task(self, model: TrainedModel) -> str:
        """Texts or entities."""
        return model.run.get_task_type_display()

    @admin.display(description=_("dataset"), ordering="run__dataset__name")
    def sheet(self, model: TrainedModel) -> str:
        """What it was trained on."""
        return shortened(model.run.dataset)

    @admin.display(description=_("worker"), ordering=F("worker__name").asc(nulls_first=True))
    def worker_name(self, model: TrainedModel) -> str:
        """Whose disk it lies on."""
        return str(model.worker or NOTHING)

    @admin.display(description=_("folder"), ordering="path")
    def folder(self, model: TrainedModel) -> str:
        """On that disk."""
        return format_html("<code>{}</code>", model.path)
