"""Datasets with the runs made from them. Registered here and not in datasets_app, which knows of no runs."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy, ngettext

from config.display import figure, shortened
from datasets_app.admin.datasets import DatasetAdmin
from datasets_app.models import Dataset
from runs_app.admin.words import status_badge
from runs_app.models import BaseModel, Run

RUNS_SHOWN = 20


@admin.register(Dataset)
class DatasetWithRunsAdmin(DatasetAdmin):
    """The list and the page of a dataset."""

    list_display = [*DatasetAdmin.list_display, "run_count"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Dataset]:
        """With the number of runs."""
        mine = Run.objects.filter(dataset=OuterRef("pk")).order_by().values("dataset")
        counted = Coalesce(Subquery(mine.annotate(n=Count("pk")).values("n"), output_field=IntegerField()), 0)
        datasets: QuerySet[Dataset] = super().get_queryset(request).annotate(runs_made=counted)
        return datasets

    @admin.display(description=gettext_lazy("runs"), ordering="runs_made")
    def run_count(self, dataset: Any) -> str:
        """Runs made from it."""
        return str(dataset.runs_made)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """With the latest runs, and the button for one more."""
        dataset = self.get_object(request, unquote(object_id))
        more = _of_runs(request, dataset) if dataset is not None else {}
        return super().change_view(request, object_id, form_url, {**more, **(extra_context or {})})

    def refusal(self, dataset: Dataset, count: int) -> str:
        """How many runs keep it."""
        text = ngettext(
            "“%(name)s” cannot be deleted: %(count)d run was made from it and must stay reproducible.",
            "“%(name)s” cannot be deleted: %(count)d runs were made from it and must stay reproducible.",
            count,
        )
        return text % {"name": dataset, "count": count}


def _of_runs(request: HttpRequest, dataset: Dataset) -> dict[str, Any]:
    """The links and rows that this person may see."""
    more: dict[str, Any] = {"download_url": reverse("dataset-download", args=[dataset.pk])}
    if request.user.has_perm("runs_app.view_run"):
        labels = dict(BaseModel.objects.values_list("model_id", "label"))
        more["runs_made"] = [_line(run, labels) for run in Run.objects.filter(dataset=dataset)[:RUNS_SHOWN]]
    if request.user.has_perm("datasets_app.add_dataset"):
        more["next_version_url"] = f"{reverse('admin:datasets_app_dataset_add')}?previous={dataset.pk}"
    if request.user.has_perm("runs_app.add_run"):
        more["train_url"] = f"{reverse('admin:runs_app_run_add')}?dataset={dataset.pk}"
    return more


def _line(run: Run, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "url": reverse("admin:runs_app_run_change", args=[run.pk]),
        "name": format_html("#{} {}", str(run.pk), shortened(run.name)),
        "badge": status_badge(run.status),
        "f1": figure(run.metrics.get("f1")),
        "base_model": labels.get(run.base_model) or run.base_model,
        "created_at": run.created_at,
    }
