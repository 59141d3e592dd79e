"""The upload in three steps: file, columns with a first look, report to confirm."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from config.admin import ProductAdmin, person
from datasets_app import staging
from datasets_app.admin.page import dataset_page
from datasets_app.downloads import sheet_response
from datasets_app.forms import COLUMN_SECTIONS, ColumnsForm, FileForm
from datasets_app.messages import too_large_sentence
from datasets_app.models import Dataset, StagedUpload, TaskType
from datasets_app.reading_slots import ReadersBusy
from datasets_app.services import DatasetInvalid, UploadTooLarge, mapping_key
from datasets_app.sheet_templates import template_name, template_sheet
from datasets_app.staging import UploadOver

STEP_1, STEP_2, STEP_3 = 1, 2, 3
SAME_FILES_SHOWN = 3


class UploadSteps(ProductAdmin):
    """The pages of an upload; whoever may add datasets sees their own uploads and nobody else's."""

    def get_urls(self) -> list[URLPattern]:
        """With the steps after the file, and the sheets to start from."""
        wrap = self.admin_site.admin_view
        return [
            path("template/<str:task_type>/", wrap(self.template_view), name="datasets_app_dataset_template"),
            path(
                "upload/<uuid:pk>/columns/", wrap(self._or_gone(self.columns_view)), name="datasets_app_dataset_columns"
            ),
            path("upload/<uuid:pk>/report/", wrap(self._or_gone(self.report_view)), name="datasets_app_dataset_report"),
            path("upload/<uuid:pk>/errors/", wrap(self._or_gone(self.errors_view)), name="datasets_app_dataset_errors"),
            path("upload/<uuid:pk>/cancel/", wrap(self.cancel_view), name="datasets_app_dataset_cancel"),
            *super().get_urls(),
        ]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Step 1: the file. What is no readable workbook is refused here."""
        self._check_person(request)
        if request.method != "POST":
            return self._file_page(request, FileForm(initial=self._first_answers(request)))
        form = FileForm(request.POST, request.FILES)
        if not form.is_valid():
            return self._file_page(request, form)
        try:
            staged = self._stage(request, form)
        except DatasetInvalid as invalid:
            return self._file_page(request, form, invalid=invalid)
        except UploadTooLarge:
            form.add_error("file", too_large_sentence())
            return self._file_page(request, form)
        except ReadersBusy:
            self._say_busy(request)
            return self._file_page(request, form)
        known = _known_as_guessed(staged)
        if known is not None:
            return self._known(request, staged, known)
        return HttpResponseRedirect(_step("columns", staged))

    def columns_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Step 2: what each column is, with the first rows; the check begins with its answer."""
        staged = self._staged(request, pk)
        if staged is None:
            return self._gone(request)
        if request.method != "POST":
            return self._look(request, staged)
        form = ColumnsForm(staged, request.POST)
        if not form.is_valid():
            return self._columns_page(request, staged, form)
        try:
            staging.check_upload(staged=staged, choice=form.choice())
        except DatasetInvalid as invalid:
            return self._columns_page(request, staged, form, invalid=invalid)
        except ReadersBusy:
            self._say_busy(request)
            return self._columns_page(request, staged, form)
        known = staging.existing_dataset(staged)
        if known is not None:
            return self._known(request, staged, known)
        return HttpResponseRedirect(_step("report", staged))

    def report_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Step 3: what was found, to be confirmed."""
        staged = self._staged(request, pk)
        if staged is None:
            return self._gone(request)
        if not staged.report:
            return HttpResponseRedirect(_step("columns", staged))
        if request.method == "POST":
            return self._confirm(request, staged)
        context = {
            **dataset_page(staging.draft_dataset(staged)),
            "staged": staged,
            "step": STEP_3,
            "title": _("Report"),
            "columns_url": _step("columns", staged),
            "cancel_url": _step("cancel", staged),
        }
        template = "admin/datasets_app/dataset/upload_report.html"
        return TemplateResponse(request, template, self.page_context(request, **context))

    def errors_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """The marked copy of a sheet that was checked and refused."""
        staged = self._staged(request, pk)
        if staged is None or not staged.choice:
            return self._gone(request)
        try:
            content, name = staging.annotated_upload(staged=staged)
        except DatasetInvalid as invalid:
            self.message_user(request, str(invalid), messages.ERROR)
            return HttpResponseRedirect(_step("columns", staged))
        except ReadersBusy:
            self._say_busy(request)
            return HttpResponseRedirect(_step("columns", staged))
        return sheet_response(content, name)

    def cancel_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Throw the upload away. Nothing happens to it by a mere link."""
        staged = self._staged(request, pk)
        if staged is not None and request.method == "POST":
            staged.delete()
            self.message_user(request, _("Upload cancelled. Nothing was kept."), messages.SUCCESS)
        return HttpResponseRedirect(self._home(request))

    def template_view(self, request: HttpRequest, task_type: str) -> HttpResponse:
        """A sheet to start from."""
        self._check_person(request)
        if task_type not in TaskType.values:
            raise Http404
        return sheet_response(template_sheet(task_type), template_name(task_type))

    def _check_person(self, request: HttpRequest) -> None:
        if not self.has_add_permission(request):
            raise PermissionDenied

    def _staged(self, request: HttpRequest, pk: UUID) -> StagedUpload | None:
        self._check_person(request)
        return staging.staged_upload(pk=pk, user=person(request))

    def _stage(self, request: HttpRequest, form: FileForm) -> StagedUpload:
        values = form.cleaned_data
        previous = values["previous"]
        if previous is not None and not self.has_view_permission(request, previous):
            raise PermissionDenied
        return staging.stage_upload(
            file=values["file"],
            filename=values["file"].name,
            user=person(request),
            name=values["name"],
            description=values["description"],
            previous=previous,
        )

    def _first_answers(self, request: HttpRequest) -> dict[str, Any]:
        """Of a form for a corrected sheet instead of ?again=UPLOAD, or for the next version of ?previous=ID."""
        again = _uuid(request.GET.get("again", ""))
        refused = self._staged(request, again) if again else None
        if refused is not None:
            return {name: getattr(refused, name) for name in ("previous", "name", "description")}
        pk = request.GET.get("previous", "")
        previous = Dataset.objects.filter(pk=pk).first() if pk.isascii() and pk.isdigit() and len(pk) < 19 else None
        if previous is None or not self.has_view_permission(request, previous):
            return {}
        return {"previous": previous, "name": previous.name, "description": previous.description}

    def _look(self, request: HttpRequest, staged: StagedUpload) -> HttpResponse:
        sheet = request.GET.get("sheet", "")
        if sheet in staged.look["sheets"] and sheet != staged.look["sheet"]:
            try:
                staging.look_at_sheet(staged=staged, sheet=sheet)
            except DatasetInvalid as invalid:
                self.message_user(request, str(invalid), messages.ERROR)
                return HttpResponseRedirect(_step("columns", staged))
            except ReadersBusy:
                self._say_busy(request)
        return self._columns_page(request, staged, ColumnsForm(staged))

    def _confirm(self, request: HttpRequest, staged: StagedUpload) -> HttpResponse:
        dataset, created = staging.confirm_upload(staged=staged)
        if not created:
            return self._to_dataset(request, dataset, _known_sentence(dataset), messages.WARNING)
        self.log_addition(request, dataset, _("Sheet uploaded."))
        found = dataset.warnings
        said = _("Sheet kept, with warnings to look at.") if found else _("Sheet kept. It is ready for training.")
        return self._to_dataset(request, dataset, said, messages.SUCCESS)

    def _known(self, request: HttpRequest, staged: StagedUpload, dataset: Dataset) -> HttpResponse:
        staged.delete()
        return self._to_dataset(request, dataset, _known_sentence(dataset), messages.WARNING)

    def _say_busy(self, request: HttpRequest) -> None:
        said = _("The server is reading other sheets at the moment. Try again in a few seconds.")
        self.message_user(request, said, messages.WARNING)

    def _or_gone(self, view: Callable[[HttpRequest, UUID], HttpResponse]) -> Callable[..., HttpResponse]:
        """The view, for an upload that may be over before it has read the sheet."""

        def answer(request: HttpRequest, pk: UUID) -> HttpResponse:
            try:
                return view(request, pk)
            except UploadOver:
                return self._gone(request)

        return answer

    def _gone(self, request: HttpRequest) -> HttpResponse:
        said = _("This upload is over: it was confirmed, cancelled or too old. Send the sheet again.")
        self.message_user(request, said, messages.WARNING)
        return HttpResponseRedirect(reverse("admin:datasets_app_dataset_add"))

    def _to_dataset(self, request: HttpRequest, dataset: Dataset, said: str, level: int) -> HttpResponse:
        self.message_user(request, said, level)
        may_look = self.has_view_or_change_permission(request, dataset)
        return HttpResponseRedirect(self.object_url(dataset) if may_look else reverse("admin:index"))

    def _same_file(self, request: HttpRequest, staged: StagedUpload) -> list[tuple[str, str]]:
        """(address, sentence) of the datasets made from the same bytes, read in another way."""
        same = Dataset.objects.filter(sha256_hash=staged.sha256_hash).select_related("created_by")[:SAME_FILES_SHOWN]
        return [
            (self.object_url(dataset), _same_file_sentence(dataset))
            for dataset in same
            if self.has_view_or_change_permission(request, dataset)
        ]

    def _home(self, request: HttpRequest) -> str:
        may_look = self.has_view_or_change_permission(request)
        return reverse("admin:datasets_app_dataset_changelist" if may_look else "admin:index")

    def _file_page(self, request: HttpRequest, form: FileForm, invalid: DatasetInvalid | None = None) -> HttpResponse:
        previous = form.cleaned_data.get("previous") if form.is_bound else form.initial.get("previous")
        return self.form_page(
            request,
            form,
            template="admin/datasets_app/dataset/upload_file.html",
            title=_("Upload the next version") if previous else _("Upload a sheet"),
            submit_label=_("Continue"),
            step=STEP_1,
            invalid=invalid,
            previous=previous,
            templates=[
                (reverse("admin:datasets_app_dataset_template", args=[value]), label)
                for value, label in TaskType.choices
            ],
        )

    def _columns_page(
        self, request: HttpRequest, staged: StagedUpload, form: ColumnsForm, invalid: DatasetInvalid | None = None
    ) -> HttpResponse:
        marked = _chosen(form)
        look = staged.look
        return self.form_page(
            request,
            form,
            COLUMN_SECTIONS,
            template="admin/datasets_app/dataset/upload_columns.html",
            title=_("Columns"),
            submit_label=_("Check the sheet"),
            step=STEP_2,
            staged=staged,
            sheet_choices=[(name, name == look["sheet"]) for name in look["sheets"]] if len(look["sheets"]) > 1 else [],
            is_guessed=look["is_clear"] or staged.previous is not None,
            same_file=self._same_file(request, staged),
            size=filesizeformat(staged.size_bytes),
            head=[(header, marked.get(header, "")) for header in look["found"]],
            rows=look["rows"],
            more_columns=max(len(look["headers"]) - len(look["found"]), 0),
            invalid=invalid,
            hidden_count=invalid.error_count - len(invalid.errors) if invalid else 0,
            errors_url=_step("errors", staged),
            cancel_url=_step("cancel", staged),
            again_url=reverse("admin:datasets_app_dataset_add") + "?" + urlencode({"again": staged.pk}),
            lacks_columns=len(look["headers"]) < 2,
        )


def _chosen(form: ColumnsForm) -> dict[str, str]:
    """header -> the name of the field that takes it, of the chosen task."""
    values = form.data if form.is_bound else form.initial
    of_tokens = values.get("task_type") == TaskType.TOKEN_CLASSIFICATION
    names = ("tokens_column", "tags_column") if of_tokens else ("text_column", "label_column")
    return {values[name]: str(form.fields[name].label) for name in names if values.get(name)}


def _step(name: str, staged: StagedUpload) -> str:
    return reverse(f"admin:datasets_app_dataset_{name}", args=[staged.pk])


def _uuid(word: str) -> UUID | None:
    try:
        return UUID(word)
    except ValueError:
        return None


def _known_as_guessed(staged: StagedUpload) -> Dataset | None:
    """The dataset that this file would become if nothing were changed in the next step."""
    look = staged.look
    if not look["is_clear"]:
        return None
    key = mapping_key(look["task_type"], look["sheet"], look["columns"], False)
    return Dataset.objects.same_as(sha256=staged.sha256_hash, mapping_key=key).first()


def _known_sentence(dataset: Dataset) -> str:
    facts = {"date": date_format(localtime(dataset.created_at), "SHORT_DATE_FORMAT"), "name": dataset.created_by}
    if dataset.created_by is None:
        return _("This sheet had been uploaded before, on %(date)s. This is the existing dataset.") % facts
    return _("This sheet had been uploaded before, on %(date)s by %(name)s. This is the existing dataset.") % facts


def _same_file_sentence(dataset: Dataset) -> str:
    facts = {"date": date_format(localtime(dataset.created_at), "SHORT_DATE_FORMAT"), "name": dataset.created_by}
    if dataset.created_by is None:
        return _("The same file was uploaded on %(date)s, read in another way.") % facts
    return _("The same file was uploaded on %(date)s by %(name)s, read in another way.") % facts
