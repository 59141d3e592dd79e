"""Datasets: the list, the page of one, deleting. The upload is in `upload`."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.utils import unquote
from django.db import transaction
from django.db.models import ProtectedError, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from datasets_app.admin.page import dataset_page, kinds
from datasets_app.admin.upload import UploadSteps
from datasets_app.models import Dataset
from datasets_app.services import still_there


class DatasetAdmin(UploadSteps):
    """All that needs no runs."""

    fields = ["name", "description"]
    list_display = ["titled", "task_type", "examples", "label_count", "warning_count", "created_by", "created_at"]
    list_filter = ["task_type"]
    list_select_related = ["created_by"]
    search_fields = ["name", "description", "original_filename", "sha256_hash"]
    date_hierarchy = None
    actions = ["delete_selected"]
    add_label = gettext_lazy("Upload a sheet")
    empty_sentence = gettext_lazy("No dataset yet. Upload an .xlsx sheet with the columns text and label.")

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

    @transaction.atomic
    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Refused with a sentence while something was made from the dataset."""
        dataset = self.get_object(request, unquote(object_id))
        if dataset is not None and self.has_delete_permission(request, dataset):
            still_there(dataset)  # a run that is being made of it is waited for, and found
            protected = self.get_deleted_objects([dataset], request)[3]
            if protected:
                self.message_user(request, self.refusal(dataset, len(protected)), messages.ERROR)
                return HttpResponseRedirect(self.object_url(dataset))
        return super().delete_view(request, object_id, extra_context)

    @admin.action(permissions=["delete"], description=delete_selected.short_description)  # type: ignore[attr-defined]
    def delete_selected(self, request: HttpRequest, datasets: QuerySet[Dataset]) -> HttpResponse | None:
        """Django's, refused with a sentence for each that something was made from."""
        in_use = [(each, len(self.get_deleted_objects([each], request)[3])) for each in datasets]
        refused = [self.refusal(dataset, count) for dataset, count in in_use if count]
        for sentence in refused:
            self.message_user(request, sentence, messages.ERROR)
        return None if refused else delete_selected(self, request, datasets)

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
            try:
                with transaction.atomic():
                    still_there(dataset)
                    self.delete_model(request, dataset)
            except ProtectedError as error:  # by a run that was made since the page asked
                refusal = self.refusal(dataset, len(error.protected_objects))
                self.message_user(request, refusal, messages.ERROR)

    @admin.display(description=gettext_lazy("name"), ordering="name")
    def titled(self, dataset: Dataset) -> str:
        """With the version, from the second on."""
        return str(dataset)

    @admin.display(description=gettext_lazy("examples"), ordering="num_rows")
    def examples(self, dataset: Dataset) -> str:
        """Rows that a model learns from."""
        return number_format(dataset.num_rows, force_grouping=True)

    @admin.display(description=gettext_lazy("labels"))
    def label_count(self, dataset: Dataset) -> int:
        """How many; entity types for tokens."""
        return len(kinds(dataset))

    @admin.display(description=gettext_lazy("warnings"))
    def warning_count(self, dataset: Dataset) -> int:
        """How many kinds of finding."""
        return len(dataset.warnings)
