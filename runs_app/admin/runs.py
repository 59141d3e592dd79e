"""Runs: the list, the form of a new one, the live page, and what may be asked of one."""

import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from config.admin import ProductAdmin, is_key, person
from config.display import NOTHING, bar, duration, figure, percent, shortened
from runs_app.admin import comparison, new_run, run_log, run_page
from runs_app.admin.curves import curves
from runs_app.admin.run_actions import ACTIONS, BY_NAME, RunAction, perform
from runs_app.admin.words import status_badge
from runs_app.choices import Status
from runs_app.forms import SECTIONS, NewRunForm, ReproduceForm, initial_of
from runs_app.hyperparameters import InvalidHyperparameters
from runs_app.models import BaseModel, Run
from runs_app.presets import preset_label, preset_of
from runs_app.services import runs
from runs_app.services.queue import requeue_expired
from runs_app.services.runs import BaseModelNotOffered, DatasetGone


class BaseModelFilter(admin.SimpleListFilter):
    """By the catalogue's short names, whose number does not grow with the runs."""

    title = gettext_lazy("base model")
    parameter_name = "base_model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Every entry, also those that are switched off by now."""
        return [(entry.model_id, str(entry)) for entry in BaseModel.objects.all()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        """Exactly that id."""
        return queryset.filter(base_model=self.value()) if self.value() else queryset


class ArchiveFilter(admin.SimpleListFilter):
    """What is archived is shown only when it is asked for."""

    title = gettext_lazy("shown")
    parameter_name = "archived"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The other choice is the list itself."""
        return [("1", _("Archived"))]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """The first is not "all"."""
        first, *others = super().choices(changelist)
        yield from [{**first, "display": _("Current")}, *others]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        """One or the other."""
        return queryset.filter(archived_at__isnull=not self.value())


@admin.register(Run)
class RunAdmin(ProductAdmin):
    """A run is asked for, watched and repeated; never edited."""

    list_display = [
        "number",
        "short_name",
        "state",
        "progress",
        "test_f1",
        "sheet",
        "model_name",
        "worker",
        "took",
        "created_at",
    ]
    list_display_links = ["number", "short_name"]
    list_filter = ["status", "task_type", BaseModelFilter, ArchiveFilter]
    search_fields = ["name", "=id", "dataset__name"]
    actions = [
        "compare_selected",
        "cancel_selected",
        "move_selected",
        "reproduce_selected",
        "archive_selected",
        "unarchive_selected",
    ]
    add_label = gettext_lazy("New run")
    empty_sentence = gettext_lazy("No run yet. Upload a sheet and start the first one.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """With all that a line shows."""
        label = BaseModel.objects.filter(model_id=OuterRef("base_model")).values("label")[:1]
        runs_shown: QuerySet[Run] = Run.objects.for_display().annotate(base_model_label=Subquery(label))
        return runs_shown

    def get_urls(self) -> list[URLPattern]:
        """With the live part and one page per action."""
        wrap = self.admin_site.admin_view
        return [
            path("compare/", wrap(self.compare_view), name="runs_app_run_compare"),
            path("add/preview/", wrap(self.preview_view), name="runs_app_run_preview"),
            path("<int:pk>/live/", wrap(self.live_view), name="runs_app_run_live"),
            path("<int:pk>/curves/", wrap(self.curves_view), name="runs_app_run_curves"),
            path("<int:pk>/log/", wrap(self.log_view), name="runs_app_run_log"),
            path("<int:pk>/log/file/", wrap(self.log_file_view), name="runs_app_run_log_file"),
            path("<int:pk>/ask/<str:name>/", wrap(self.ask_view), name="runs_app_run_ask"),
            *super().get_urls(),
        ]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What was trained stays on record."""
        return False

    # The pages

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Queue a new run; ?dataset=ID chooses the dataset beforehand, ?source=ID fills all from another run."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        source = self._source(request)
        initial = (
            initial_of(source) if source else {"dataset": request.GET.get("dataset"), "base_model": _recommended()}
        )
        form = NewRunForm(request.POST) if request.method == "POST" else NewRunForm(initial=initial)
        if request.method == "POST" and form.is_valid():
            run = self._create(request, form)
            if run is not None:
                preset = preset_label(preset_of(run.hyperparameters))
                said = _("“%(name)s” is in the queue. Preset: %(preset)s.") % {"name": run, "preset": preset}
                self.message_user(request, said, messages.SUCCESS)
                return self._to_run(request, run)
        return self.form_page(
            request,
            form,
            SECTIONS,
            title=_("New run"),
            submit_label=_("Put into the queue"),
            template="admin/runs_app/run/new.html",
            source=source,
            source_values=json.dumps(initial_of(source) if source else {}),
            **new_run.preview(NewRunForm(form.as_shown()), request.user, timezone.now()),
        )

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """The panel beside the form alone, for the fields as they are now."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        told = new_run.preview(NewRunForm(request.GET), request.user, timezone.now())
        return TemplateResponse(request, "admin/runs_app/run/new_panel.html", told)

    def compare_view(self, request: HttpRequest) -> HttpResponse:
        """?ids=1,2,3 side by side; &diff=1 only where they differ; &format=csv as a file."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        told = comparison.context(request, self.get_queryset(request))
        compared = told.get("comparison")
        if request.GET.get("format") == "csv" and compared is not None and compared.is_side_by_side:
            return comparison.as_csv(compared, only_differences=told["only_differences"])
        page = self.page_context(request, title=_("Compare runs"), **told)
        return TemplateResponse(request, "admin/runs_app/run/compare.html", page)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The live page; there is nothing to save."""
        requeue_expired(now=timezone.now())
        run = self.get_object(request, unquote(object_id))
        if not self.has_view_or_change_permission(request, run):
            raise PermissionDenied
        if run is None:  # Django says so and leads back
            return super().change_view(request, object_id, form_url, extra_context)
        context = self.page_context(
            request,
            run,
            title=run.name,
            **run_page.live_context(run, timezone.now()),
            **run_page.still_context(run),
            buttons=self._buttons(request, run),
        )
        return TemplateResponse(request, "admin/runs_app/run/page.html", context)

    def live_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The changing part alone, for the page to put in its place."""
        now = timezone.now()
        requeue_expired(now=now)
        run = self._visible(request, pk)
        context = {**run_page.live_context(run, now), "buttons": self._buttons(request, run)}
        return TemplateResponse(request, "admin/runs_app/run/live.html", context)

    def curves_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What the charts draw, as JSON."""
        return JsonResponse(curves(self._visible(request, pk)))

    def log_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """A stretch of the log as JSON; 400 with the fields' errors for a question that makes no sense."""
        run, query = self._visible(request, pk), run_log.LogQuery(request.GET)
        if not query.is_valid():
            return JsonResponse({"errors": query.errors}, status=HTTPStatus.BAD_REQUEST)
        return JsonResponse(run_log.stretch(run.job, **query.cleaned_data))

    def log_file_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The whole log as a file."""
        return run_log.log_file(request, self._visible(request, pk))

    def ask_view(self, request: HttpRequest, pk: int, name: str) -> HttpResponse:
        """A question about the run, answered by POST; refused with a sentence where the state forbids it."""
        action = BY_NAME.get(name)
        if action is None:
            raise Http404
        run = self._visible(request, pk)
        if not request.user.has_perm(action.permission):
            raise PermissionDenied
        if name == "duplicate":
            return HttpResponseRedirect(f"{reverse('admin:runs_app_run_add')}?source={run.pk}")
        if request.method == "POST":
            return self._perform(request, run, action)
        if not action.allowed(run.job):
            self.message_user(request, _refusal(run), messages.WARNING)
            return self._to_run(request, run)
        return self.confirm_page(
            request,
            run,
            ReproduceForm() if name == "reproduce" else None,
            title=action.title,
            question=action.question % {"name": run},
            submit_label=action.title,
            dangerous=action.dangerous,
        )

    # Actions of the list

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Those that what is listed could allow: an archived run is over."""
        unfit = ["cancel_selected", "move_selected", "archive_selected"]
        if not request.GET.get(ArchiveFilter.parameter_name):
            unfit = ["unarchive_selected"]
        return {name: action for name, action in super().get_actions(request).items() if name not in unfit}

    @admin.action(description=gettext_lazy("Compare"), permissions=["view"])
    def compare_selected(self, request: HttpRequest, selected: QuerySet[Run]) -> HttpResponse:
        """To the page, which also says when they are too many."""
        ids = selected.order_by("pk").values_list("pk", flat=True)[: comparison.MOST + 1]
        address = reverse("admin:runs_app_run_compare")
        return HttpResponseRedirect(f"{address}?ids={','.join(str(pk) for pk in ids)}")

    @admin.action(description=gettext_lazy("Cancel selected runs"), permissions=["change"])
    def cancel_selected(self, request: HttpRequest, selected: QuerySet[Run]) -> HttpResponse | None:
        """See `_each`."""
        question = _("Cancel these runs? What they have learned so far is lost.")
        return self._each(request, "cancel", selected, title=_("Cancel runs"), question=question, dangerous=True)

    @admin.action(description=gettext_lazy("Raise priority"), permissions=["change"])
    def move_selected(self, request: HttpRequest, selected: QuerySet[Run]) -> HttpResponse | None:
        """Each is put first, the newest before the others, so that their order stays."""
        question = _("These runs are put before all others that wait.")
        return self._each(request, "move", selected.order_by("-pk"), title=_("Raise priority"), question=question)

    @admin.action(description=gettext_lazy("Archive selected runs"), permissions=["change"])
    def archive_selected(self, request: HttpRequest, selected: QuerySet[Run]) -> HttpResponse | None:
        """See `_each`."""
        question = _("These runs leave the lists. Nothing is deleted: “Archived” above the list shows them again.")
        return self._each(request, "archive", selected, title=_("Archive runs"), question=question)

    @admin.action(description=gettext_lazy("Back from the archive"), permissions=["change"])
    def unarchive_selected(self, request: HttpRequest, selected: QuerySet[Run]) -> HttpResponse | None:
        """See `_each`."""
        question = _("These runs come back into the lists.")
        return self._each(request, "unarchive", selected, title=_("Back from the archive"), question=question)

    @admin.action(description=gettext_lazy("Reproduce selected runs"), permissions=["add"])
    def reproduce_selected(self, request: HttpRequest, selected: QuerySet[Run]) -> HttpResponse | None:
        """Ask once, then queue one new run each."""
        question = self.confirm_action(
            request,
            "reproduce_selected",
            selected,
            title=_("Reproduce runs"),
            question=_("For each of these a new run with the same sheet, base model, seed and parameters is queued."),
            submit_label=_("Reproduce runs"),
        )
        if question is None:
            made = [run for source in selected if (run := self._reproduce(request, source))]
            text = ngettext("%(count)d new run is in the queue.", "%(count)d new runs are in the queue.", len(made))
            if made:
                self.message_user(request, text % {"count": len(made)}, messages.SUCCESS)
        return question

    # Columns

    @admin.display(description="#", ordering="pk")
    def number(self, run: Run) -> str:
        """#42"""
        return f"#{run.pk}"

    @admin.display(description=gettext_lazy("name"), ordering="name")
    def short_name(self, run: Run) -> str:
        """As much as fits."""
        return shortened(run.name)

    @admin.display(description=gettext_lazy("dataset"), ordering="dataset__name")
    def sheet(self, run: Run) -> str:
        """As much as fits."""
        return shortened(run.dataset)

    @admin.display(description=gettext_lazy("status"), ordering="status")
    def state(self, run: Run) -> str:
        """As a badge."""
        return status_badge(run.status)

    @admin.display(description=gettext_lazy("progress"))
    def progress(self, run: Run) -> str:
        """Steps done of all."""
        if run.status in (Status.FAILED, Status.CANCELLED) or not run.job.attempt:
            return NOTHING
        share = run_page.share_done(run.job)
        return bar(share, percent(share))

    @admin.display(description="F1", ordering=F("f1").asc(nulls_first=True))
    def test_f1(self, run: Run) -> str:
        """On the test part. Not called as the column is: Django would show that, with all its digits."""
        return figure(run.metrics.get("f1"))

    @admin.display(description=gettext_lazy("base model"), ordering="base_model")
    def model_name(self, run: Any) -> str:
        """Short, the id on hover."""
        return format_html('<span title="{}">{}</span>', run.base_model, run.base_model_label or run.base_model)

    @admin.display(description=gettext_lazy("worker"), ordering=F("job__worker__name").asc(nulls_first=True))
    def worker(self, run: Run) -> str:
        """Who has or had it."""
        return str(run.job.worker or NOTHING)

    @admin.display(description=gettext_lazy("duration"))
    def took(self, run: Run) -> str:
        """From its first start to its end, or until now."""
        if run.started_at is None:
            return NOTHING
        return duration(((run.finished_at or timezone.now()) - run.started_at).total_seconds())

    # What they share

    def _each(self, request: HttpRequest, name: str, selected: QuerySet[Run], **words: Any) -> HttpResponse | None:
        """Ask once, then the service run by run; what was refused is told by name."""
        words["submit_label"] = words["title"]
        question = self.confirm_action(request, f"{name}_selected", selected, **words)
        if question is None:
            for run in selected:
                perform(self, request, run, name)
        return question

    def _visible(self, request: HttpRequest, pk: int) -> Run:
        run = self.get_queryset(request).filter(pk=pk).first()
        if run is None:
            raise Http404
        if not self.has_view_or_change_permission(request, run):
            raise PermissionDenied
        return run

    def _to_run(self, request: HttpRequest, run: Run) -> HttpResponse:
        seen = self.has_view_or_change_permission(request, run)
        return HttpResponseRedirect(self.object_url(run) if seen else reverse("admin:index"))

    def _buttons(self, request: HttpRequest, run: Run) -> list[dict[str, Any]]:
        return [
            {
                "label": action.label,
                "url": reverse("admin:runs_app_run_ask", args=[run.pk, action.name]),
                "dangerous": action.dangerous,
            }
            for action in ACTIONS
            if request.user.has_perm(action.permission) and action.allowed(run.job)
        ]

    def _source(self, request: HttpRequest) -> Run | None:
        """The run that ?source=ID names, for those who may see it."""
        pk = request.GET.get("source", "")
        if not is_key(pk) or not self.has_view_or_change_permission(request):
            return None
        return self.get_queryset(request).filter(pk=pk).first()

    def _create(self, request: HttpRequest, form: NewRunForm) -> Run | None:
        """The queued run; None with the form telling why not."""
        names = ("dataset", "base_model", "name", "seed", "priority", "notes")
        wanted = {name: form.cleaned_data[name] for name in names}
        try:
            run = runs.create_run(given=form.hyperparameters(), user=person(request), now=timezone.now(), **wanted)
        except InvalidHyperparameters as error:
            for name, sentences in error.errors.items():
                form.add_error(name, sentences)
            return None
        except BaseModelNotOffered as error:
            form.add_error("base_model", str(error))
            return None
        except DatasetGone as error:
            form.add_error("dataset", str(error))
            return None
        self.log_addition(request, run, _("Put into the queue."))
        return run

    def _perform(self, request: HttpRequest, run: Run, action: RunAction) -> HttpResponse:
        if action.name != "reproduce":
            perform(self, request, run, action.name)
            return self._to_run(request, run)
        form = ReproduceForm(request.POST)
        if not form.is_valid():
            question = action.question % {"name": run}
            return self.confirm_page(
                request, run, form, title=action.title, question=question, submit_label=action.title
            )
        made = self._reproduce(request, run, form.cleaned_data["name"])
        if made is None:
            return self._to_run(request, run)
        self.message_user(request, _("“%(name)s” is in the queue.") % {"name": made}, messages.SUCCESS)
        return self._to_run(request, made)

    def _reproduce(self, request: HttpRequest, source: Run, name: str = "") -> Run | None:
        """The new run; None where it cannot be, with a message that says why."""
        try:
            made = runs.reproduce_run(source=source, name=name, user=person(request), now=timezone.now())
        except (BaseModelNotOffered, DatasetGone) as error:
            self.message_user(request, f"“{source}”: {error}", messages.ERROR)
            return None
        self.log_addition(request, made, _("Reproduces run #%(id)d.") % {"id": source.pk})
        return made


def _recommended() -> str | None:
    """The base model that the form begins with."""
    return BaseModel.objects.offered().values_list("model_id", flat=True).first()


def _refusal(run: Run) -> str:
    return _("The state of “%(name)s” (%(status)s) does not allow this now.") % {
        "name": run,
        "status": run.get_status_display(),
    }
