"""Lists of rows that have no page of their own: the page of their run shows them, and only services write them."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from config.admin import is_key
from config.display import shortened


def run_link(row: Any) -> str:
    """The run of a row, by name."""
    address = reverse("admin:runs_app_run_change", args=[row.run_id])
    return format_html('<a href="{}">{}</a>', address, shortened(row.run.name))


class ShownOnRun:
    """For a ModelAdmin whose model has a `run`, and whose list shows it as `run_link`."""

    model: Any
    has_view_permission: Any
    list_display: Any

    def get_list_display(self, request: HttpRequest) -> Any:
        """The run's name leads to its page for those who may see that."""
        may = request.user.has_perm("runs_app.view_run")
        return [name if may or name != "run_link" else "run_name" for name in self.list_display]

    @admin.display(description=_("run"), ordering="run__name")
    def run_link(self, row: Any) -> str:
        """With its address."""
        return run_link(row)

    @admin.display(description=_("run"), ordering="run__name")
    def run_name(self, row: Any) -> str:
        """The name alone."""
        return shortened(row.run.name)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Leads to the run."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        pk = unquote(object_id)
        row = get_object_or_404(self.model, pk=pk if is_key(pk) else None)
        return HttpResponseRedirect(reverse("admin:runs_app_run_change", args=[row.run_id]))

    def empty_button(self, request: HttpRequest) -> tuple[Any, str] | None:
        """A new run is what fills its list."""
        may = request.user.has_perm("runs_app.add_run")
        return (_("New run"), reverse("admin:runs_app_run_add")) if may else None

    def has_add_permission(self, request: HttpRequest) -> bool:
        """It comes with its run."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only services write."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What happened stays on record."""
        return False
