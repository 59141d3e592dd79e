"""Datasets: the list, the upload with its errors by row, the page of one."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.formats import date_format, number_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from config.admin import ProductAdmin, person
from config.display import figure, percent
from datasets_app import services
from datasets_app.admin.findings import finding_sentence, row_words
from datasets_app.forms import SECTIONS, UploadForm
from datasets_app.models import Dataset, TaskType
from datasets_app.services import DatasetInvalid, UploadTooLarge

LABELS_SHOWN = 200
ROLE_WORDS = {
    "text": gettext_lazy("text"),
    "label": gettext_lazy("label"),
    "tokens": gettext_lazy("tokens"),
    "tags": gettext_lazy("tags"),
    "id": "id",
    "group": gettext_lazy("group"),
    "split": gettext_lazy("part"),
}


class DatasetAdmin(ProductAdmin):
    """All that needs no runs."""

    fields = ["name", "description"]
    list_display = ["name", "task_type", "examples", "label_count", "warning_count", "created_by", "created_at"]
    list_filter = ["task_type"]
    list_select_related = ["created_by"]
    search_fields = ["name", "description", "original_filename", "sha256_hash"]
    date_hierarchy = None
    add_label = gettext_lazy("Upload a sheet")
    empty_sentence = gettext_lazy("No dataset yet. Upload an .xlsx sheet with the columns text and label.")

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Upload, check, keep; a sheet that cannot be used comes back with every error by row."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return self._upload_page(request, UploadForm())
        form = UploadForm(request.POST, request.FILES)
        if not form.is_valid():
            return self._upload_page(request, form)
        try:
            dataset, created = self._import(request, form)
        except DatasetInvalid as invalid:
            return self._upload_page(request, form, invalid=invalid)
        except UploadTooLarge:
            said = _("The file is larger than %(limit)d MB, the most that this server accepts.")
            form.add_error("file", said % {"limit": settings.MAX_UPLOAD_MB})
            return self._upload_page(request, form)
        return self._kept(request, dataset, created=created)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Name and description to edit, everything else to read."""
        dataset = self.get_object(request, unquote(object_id))
        facts = dataset_page(dataset) if dataset is not None else {}
        return super().change_view(request, object_id, form_url, {**facts, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Only what may be edited."""
        obj.save(update_fields=form.changed_data)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Refused with a sentence while something was made from the dataset."""
        dataset = self.get_object(request, unquote(object_id))
        if dataset is not None and self.has_delete_permission(request, dataset):
            protected = self.get_deleted_objects([dataset], request)[3]
            if protected:
                self.message_user(request, self.refusal(dataset, len(protected)), messages.ERROR)
                return HttpResponseRedirect(self.object_url(dataset))
        return super().delete_view(request, object_id, extra_context)

    def refusal(self, dataset: Dataset, count: int) -> str:
        """Why it cannot be deleted."""
        return _("“%(name)s” cannot be deleted: it is in use.") % {"name": dataset}

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """The row, and its file once the row is gone for good."""
        storage, name = obj.file.storage, obj.file.name
        super().delete_model(request, obj)
        transaction.on_commit(lambda: storage.delete(name))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """As one by one: a bulk delete would leave the files behind."""
        for dataset in queryset:
            self.delete_model(request, dataset)

    @admin.display(description=gettext_lazy("examples"), ordering="num_rows")
    def examples(self, dataset: Dataset) -> str:
        """Rows that a model learns from."""
        return number_format(dataset.num_rows, force_grouping=True)

    @admin.display(description=gettext_lazy("labels"))
    def label_count(self, dataset: Dataset) -> int:
        """How many; entity types for tokens."""
        return len(_kinds(dataset))

    @admin.display(description=gettext_lazy("warnings"))
    def warning_count(self, dataset: Dataset) -> int:
        """How many kinds of finding."""
        return len(dataset.warnings)

    def _import(self, request: HttpRequest, form: UploadForm) -> tuple[Dataset, bool]:
        file = form.cleaned_data["file"]
        return services.import_dataset(
            file=file,
            filename=file.name,
            name=form.cleaned_data["name"],
            description=form.cleaned_data["description"],
            choice=form.choice(),
            user=person(request),
        )

    def _kept(self, request: HttpRequest, dataset: Dataset, *, created: bool) -> HttpResponse:
        if created:
            self.log_addition(request, dataset, _("Sheet uploaded."))
            found = len(dataset.warnings)
            said = _("Sheet kept, with warnings to look at.") if found else _("Sheet kept. It is ready for training.")
            self.message_user(request, said, messages.SUCCESS)
        else:
            self.message_user(request, _known_sentence(dataset), messages.WARNING)
        if self.has_view_or_change_permission(request, dataset):
            return HttpResponseRedirect(self.object_url(dataset))
        return HttpResponseRedirect(reverse("admin:index"))

    def _upload_page(
        self, request: HttpRequest, form: UploadForm, invalid: DatasetInvalid | None = None
    ) -> HttpResponse:
        return self.form_page(
            request,
            form,
            SECTIONS,
            template="admin/datasets_app/dataset/upload.html",
            title=_("Upload a sheet"),
            submit_label=_("Upload and check"),
            invalid=invalid,
            hidden_count=invalid.error_count - len(invalid.errors) if invalid else 0,
        )


def _known_sentence(dataset: Dataset) -> str:
    facts = {"date": date_format(localtime(dataset.created_at), "SHORT_DATE_FORMAT"), "name": dataset.created_by}
    if dataset.created_by is None:
        return _("This sheet had been uploaded before, on %(date)s. This is the existing dataset.") % facts
    return _("This sheet had been uploaded before, on %(date)s by %(name)s. This is the existing dataset.") % facts


def _kinds(dataset: Dataset) -> list[str]:
    """Labels, or the entity types behind the tags."""
    if dataset.task_type == TaskType.TEXT_CLASSIFICATION:
        return dataset.label_names
    return sorted({name[2:] for name in dataset.label_names if name != "O"})


def dataset_page(dataset: Dataset) -> dict[str, Any]:
    """What the page shows beside name and description."""
    columns = ", ".join(f"{ROLE_WORDS.get(role, role)} = “{header}”" for role, header in dataset.columns.items())
    facts = [
        (_("Task"), dataset.get_task_type_display()),
        (_("Examples"), number_format(dataset.num_rows, force_grouping=True)),
        (_("File"), f"{dataset.original_filename} ({filesizeformat(dataset.size_bytes)})"),
        (_("Sheet"), dataset.sheet),
        (_("Columns"), columns),
        (_("Uploaded by"), dataset.created_by),
        (_("Uploaded at"), date_format(localtime(dataset.created_at), "SHORT_DATETIME_FORMAT")),
        *_quality(dataset.report.get("quality") or {}),
        ("SHA-256", dataset.sha256_hash),
    ]
    return {
        "title": dataset.name,
        "subtitle": None,
        "facts": [(name, value) for name, value in facts if value],
        "label_title": _("Labels") if dataset.task_type == TaskType.TEXT_CLASSIFICATION else _("Tags"),
        "label_rows": label_rows(dataset)[:LABELS_SHOWN],
        "findings": [(finding_sentence(warning), row_words(warning)) for warning in dataset.warnings],
        "show_save_and_add_another": False,
        "show_save_and_continue": False,
    }


def _quality(quality: dict[str, Any]) -> list[tuple[str, str]]:
    """Length of the texts and share beyond common maximum lengths."""
    words = quality.get("words") or {}
    facts = []
    if words:
        told = {"median": words.get("p50"), "p90": words.get("p90"), "longest": words.get("max")}
        facts.append((_("Words per text"), _("half up to %(median)s, 90 %% up to %(p90)s, longest %(longest)s") % told))
    beyond = [
        _("%(length)d tokens: %(share)s") % {"length": step["max_length"], "share": percent(step["share"])}
        for step in quality.get("beyond") or []
    ]
    if beyond:
        facts.append((_("Texts probably longer than"), ", ".join(beyond)))
    return facts


def label_rows(dataset: Dataset) -> list[dict[str, Any]]:
    """[{name, count, share of the largest, percent of all}], most frequent first."""
    total = sum(item["count"] for item in dataset.labels) or 1
    most = max((item["count"] for item in dataset.labels), default=1) or 1
    ordered = sorted(dataset.labels, key=lambda item: (-item["count"], item["name"]))
    return [
        {
            "name": item["name"],
            "count": number_format(item["count"], force_grouping=True),
            "share": f"{item['count'] / most:.4f}",
            "percent": f"{figure(100 * item['count'] / total, 1)} %",
        }
        for item in ordered
    ]
