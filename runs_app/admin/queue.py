"""The queue: what is running and what waits, in the order in which it is taken, with the reason of each wait."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Case, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from config.admin import ProductAdmin
from config.display import NOTHING, duration
from runs_app.admin.run_actions import perform
from runs_app.admin.shown_on_run import ShownOnRun
from runs_app.admin.words import status_badge
from runs_app.choices import ACTIVE, Status
from runs_app.models import Job, Run
from runs_app.services.queue import requeue_expired
from runs_app.services.waiting import Fleet, waiting_reason


class QueueChangeList(ChangeList):
    """Gives each job of the page its place and the reason of its wait; the workers are read once."""

    def get_results(self, request: HttpRequest) -> None:
        """See the class."""
        super().get_results(request)
        waiting = Job.objects.filter(status=Status.PENDING).order_by("-priority", "id")
        places = {pk: place for place, pk in enumerate(waiting.values_list("pk", flat=True), start=1)}
        fleet = Fleet.now(timezone.now())
        for job in self.result_list:
            job.place = places.get(job.pk)
            job.waiting_reason = waiting_reason(job, fleet)


class WaitingFilter(admin.SimpleListFilter):
    """By the statuses that a job in the queue can have."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Running, pending, paused."""
        return [(status.value, status.label) for status in ACTIVE]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        """Exactly that status."""
        return queryset.filter(status=self.value()) if self.value() else queryset


@admin.register(Job)
class QueueAdmin(ShownOnRun, ProductAdmin):
    """The order can be changed; a run is cancelled, paused or resumed on its own page."""

    list_display = ["place", "run_link", "state", "priority", "waits", "reason", "holder", "attempt"]
    list_display_links = None
    list_filter = [WaitingFilter]
    search_fields = ["run__name"]
    actions = ["move_selected"]
    empty_sentence = _("The queue is empty.")
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        """What is not over."""
        return Job.objects.active().select_related("run", "worker")

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        """Running first, then as it will be taken, then what is paused."""
        running, pending = When(status=Status.RUNNING, then=Value(0)), When(status=Status.PENDING, then=Value(1))
        return [Case(running, pending, default=Value(2)), "-priority", "id"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """See QueueChangeList."""
        return QueueChangeList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Leases that ran out are accounted for first: the page is not to call a lost run running."""
        requeue_expired(now=timezone.now())
        return super().changelist_view(request, extra_context)

    def has_move_permission(self, request: HttpRequest) -> bool:
        """The order is a matter of the runs."""
        return request.user.has_perm("runs_app.change_run")

    @admin.action(description=_("Raise priority"), permissions=["move"])
    def move_selected(self, request: HttpRequest, selected: QuerySet[Job]) -> HttpResponse | None:
        """Ask once, then put each first, the newest before the others, so that their order stays."""
        words = {"title": _("Raise priority"), "question": _("These runs are put before all others that wait.")}
        runs = Run.objects.filter(job__in=selected).select_related("job").order_by("-pk")
        question = self.confirm_action(request, "move_selected", runs, submit_label=words["title"], **words)
        if question is None:
            for run in runs:
                perform(self, request, run, "move")
        return question

    @admin.display(description=_("place"))
    def place(self, job: Any) -> str:
        """1 is next."""
        return str(job.place) if job.place else NOTHING

    @admin.display(description=_("status"))
    def state(self, job: Job) -> str:
        """As a badge."""
        return status_badge(job.status)

    @admin.display(description=_("waiting for"))
    def waits(self, job: Job) -> str:
        """Since it was queued; nothing once it runs."""
        if job.status == Status.RUNNING:
            return NOTHING
        return duration((timezone.now() - job.queued_at).total_seconds())

    @admin.display(description=_("why it waits"))
    def reason(self, job: Any) -> str:
        """One sentence."""
        return job.waiting_reason or NOTHING

    @admin.display(description=_("worker"))
    def holder(self, job: Job) -> str:
        """Who has it."""
        return str(job.worker) if job.worker and job.status == Status.RUNNING else NOTHING
