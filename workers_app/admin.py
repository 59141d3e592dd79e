"""Who may call: workers, people and their API tokens. Secrets are shown once, replaced, switched off."""

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Case, QuerySet, When
from django.forms import CheckboxSelectMultiple
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from config.admin import GROUP_OF, ProductAdmin, person
from config.display import NOTHING, badge, duration
from workers_app import services
from workers_app.forms import NewApiTokenForm, RegisterWorkerForm
from workers_app.models import ApiToken, Worker

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class TokenPages(ProductAdmin):
    """Pages around a secret that is shown once: in the answer to the POST that made it, and nowhere else."""

    def token_page(self, request: HttpRequest, **context: Any) -> TemplateResponse:
        """The secret itself. The admin sends every page with `no-store`: no browser keeps it."""
        template = context.pop("template", "admin/workers_app/token_once.html")
        return TemplateResponse(request, template, self.page_context(request, **context))


class WorkerAdmin(TokenPages):
    """The part that needs no runs; `runs_app` registers it with what each worker is doing."""

    fields = ["description", "draining"]
    search_fields = ["name", "hostname", "description"]
    list_filter = ["enabled"]
    actions = ["switch_on", "switch_off", "drain"]
    add_label = gettext_lazy("Connect a worker")
    empty_sentence = gettext_lazy("No worker yet. The training runs on your own computer with a GPU.")

    def get_urls(self) -> list[URLPattern]:
        """With the pages for one worker."""
        wrap = self.admin_site.admin_view
        return [
            path("<int:pk>/token/", wrap(self.rotate_view), name="workers_app_worker_token"),
            path("<int:pk>/switch/", wrap(self.switch_view), name="workers_app_worker_switch"),
            path("<int:pk>/since/<int:since>/", wrap(self.connection_view), name="workers_app_worker_connection"),
            *super().get_urls(),
        ]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Name it; the answer shows the token and the commands that connect it."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = RegisterWorkerForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                worker, token = services.register_worker(**form.cleaned_data)
            except ValidationError as error:  # the name was taken a moment ago
                form.add_error(None, error)
            else:
                self.log_addition(request, worker, _("Registered."))
                return self._shown_once(request, worker, token, _("Connect %(name)s"))
        return self.form_page(
            request,
            form,
            title=_("Connect a worker"),
            intro=_(
                "The training runs on a computer with a GPU. Give it a name; the next page shows its token and what to "
                "type there."
            ),
            submit_label=_("Continue"),
        )

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Only what was edited: the other columns belong to the heartbeats that come in meanwhile."""
        if "draining" in form.changed_data:
            services.set_draining(worker=obj, draining=obj.draining)
        obj.save(update_fields=[name for name in form.changed_data if name != "draining"])

    def rotate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask, then replace the token and show the new one."""
        worker = self._changeable(request, pk)
        if request.method == "POST":
            token = services.rotate_token(worker=worker)
            self.log_change(request, worker, _("Token replaced."))
            return self._shown_once(request, worker, token, _("New token of %(name)s"))
        return self.confirm_page(
            request,
            worker,
            title=_("Replace token"),
            question=_("The present token of “%(name)s” stops working at once, also for a training in progress. Go on?")
            % {"name": worker},
            submit_label=_("Replace token"),
        )

    def connection_view(self, request: HttpRequest, pk: int, since: int) -> HttpResponse:
        """Whether the worker has been heard of `since` then, for the page with its token."""
        worker = get_object_or_404(Worker, pk=pk)
        if not self.has_view_or_change_permission(request, worker):
            raise PermissionDenied
        return TemplateResponse(request, "admin/workers_app/connection.html", connection(worker, since))

    def switch_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask, then let the worker in or keep it out."""
        worker = self._changeable(request, pk)
        # What the question was about, and not the opposite of what is: a second click is not to let it in again.
        wanted = request.POST.get("enabled")
        if wanted in ("yes", "no"):
            self._switch(request, worker, enabled=wanted == "yes")
            return HttpResponseRedirect(self.object_url(worker))
        if worker.enabled:
            question = _("“%(name)s” is refused from its next call on; its run goes back to the queue within %(time)s.")
            label = _("Disable")
        else:
            question = _(
                "“%(name)s” may connect again. Its program ends when it is refused: start it again on its computer."
            )
            label = _("Enable")
        title = _("Disable worker") if worker.enabled else _("Enable worker")
        return self.confirm_page(
            request,
            worker,
            title=title,
            question=question % {"name": worker, "time": _lease_words()},
            submit_label=label,
            hidden=[("enabled", "no" if worker.enabled else "yes")],
        )

    @admin.action(description=gettext_lazy("Enable"), permissions=["change"])
    def switch_on(self, request: HttpRequest, workers: QuerySet[Worker]) -> None:
        """Let them in."""
        for worker in workers:
            self._switch(request, worker, enabled=True)

    @admin.action(description=gettext_lazy("Disable"), permissions=["change"])
    def switch_off(self, request: HttpRequest, workers: QuerySet[Worker]) -> HttpResponse | None:
        """Ask, then keep them out."""
        question = self.confirm_action(
            request,
            "switch_off",
            workers,
            title=_("Disable workers"),
            question=_("They are refused from their next call on; their runs go back to the queue within %(time)s.")
            % {"time": _lease_words()},
            submit_label=_("Disable"),
            dangerous=True,
        )
        if question is None:
            for worker in workers:
                self._switch(request, worker, enabled=False)
        return question

    @admin.action(description=gettext_lazy("Finish the current run and take no other"), permissions=["change"])
    def drain(self, request: HttpRequest, workers: QuerySet[Worker]) -> None:
        """They are told with their next call."""
        for worker in workers:
            services.set_draining(worker=worker, draining=True)
            self.log_change(request, worker, _("Takes no new run."))
        text = ngettext(
            "%(count)d worker finishes its run and takes no other.",
            "%(count)d workers finish their runs and take no other.",
            len(workers),
        )
        self.message_user(request, text % {"count": len(workers)}, messages.SUCCESS)

    def _switch(self, request: HttpRequest, worker: Worker, *, enabled: bool) -> None:
        services.set_enabled(worker=worker, enabled=enabled)
        said = _("Worker %(name)s enabled.") if enabled else _("Worker %(name)s disabled.")
        self.log_change(request, worker, said % {"name": worker})
        self.message_user(request, said % {"name": worker}, messages.SUCCESS)

    def _changeable(self, request: HttpRequest, pk: int) -> Worker:
        worker = get_object_or_404(Worker, pk=pk)
        if not self.has_change_permission(request, worker):
            raise PermissionDenied
        return worker

    def _shown_once(self, request: HttpRequest, worker: Worker, token: str, title: str) -> TemplateResponse:
        address = request.build_absolute_uri("/").rstrip("/")
        insecure = is_insecure(address)
        since = _milliseconds(timezone.now())
        return self.token_page(
            request,
            title=title % {"name": worker},
            template="admin/workers_app/connect.html",
            connection_url=reverse("admin:workers_app_worker_connection", args=[worker.pk, since])
            if self.has_view_or_change_permission(request, worker)
            else "",
            **connection(worker, since),
            token=token,
            commands=worker_commands(address, token, insecure=insecure),
            insecure_address=insecure,
            next_url=self.object_url(worker),
            next_label=_("I copied it: to the worker's page"),
        )


@admin.register(ApiToken)
class ApiTokenAdmin(TokenPages):
    """Tokens of people: each sees their own, a superuser all; made, used, revoked, never edited."""

    list_display = ["__str__", "user", "state", "created_at", "last_used_at", "revoked_at"]
    fields = ["token_prefix", "user", "created_at", "last_used_at", "revoked_at"]
    readonly_fields = ["token_prefix", "user", "created_at", "last_used_at", "revoked_at"]
    list_display_links = None
    list_select_related = ["user"]
    actions = ["revoke"]
    add_label = gettext_lazy("New API token")
    empty_sentence = gettext_lazy("No API token yet. A program that calls the API for you needs one.")

    @admin.display(description=gettext_lazy("state"))
    def state(self, token: ApiToken) -> str:
        """Valid or revoked."""
        return badge("cancelled", _("Revoked")) if token.revoked_at else badge("completed", _("Valid"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        """One's own."""
        tokens = super().get_queryset(request)
        return tokens if person(request).is_superuser else tokens.filter(user=person(request))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A token is what it is."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Revoked instead: what it did stays on record."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Django's permission to delete tokens."""
        return request.user.has_perm("workers_app.delete_apitoken")

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Make one for oneself; a superuser for anyone."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = NewApiTokenForm(request.POST or None, asked_by=person(request))
        if request.method == "POST" and form.is_valid():
            row, token = services.create_api_token(user=form.cleaned_data["user"])
            self.log_addition(request, row, _("Created for %(user)s.") % {"user": row.user})
            return self.token_page(
                request,
                title=_("New API token of %(user)s") % {"user": row.user},
                token=token,
                commands=[api_command(request, token)],
                next_url=reverse("admin:workers_app_apitoken_changelist"),
                next_label=_("I copied it: to the list"),
            )
        return self.form_page(request, form, title=_("New API token"), submit_label=_("Create token"))

    @admin.action(description=gettext_lazy("Revoke"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, tokens: QuerySet[ApiToken]) -> HttpResponse | None:
        """Ask, then revoke those selected; one that is revoked already stays so."""
        question = self.confirm_action(
            request,
            "revoke",
            tokens,
            title=_("Revoke tokens"),
            question=_("Programs that use these tokens are refused from now on. This cannot be undone."),
            submit_label=_("Revoke"),
            dangerous=True,
        )
        if question is None:
            for token in tokens:
                self._revoke(request, token)
        return question

    def _revoke(self, request: HttpRequest, token: ApiToken) -> None:
        if services.revoke_api_token(token=token):
            self.log_change(request, token, _("Revoked."))
            self.message_user(request, _("Token %(token)s revoked.") % {"token": token}, messages.SUCCESS)
        else:
            self.message_user(
                request, _("Token %(token)s had been revoked before.") % {"token": token}, messages.WARNING
            )


def _lease_words() -> str:
    """How long a worker that is refused seems to be at work."""
    return duration(settings.JOB_LEASE_SECONDS)


def is_insecure(address: str) -> bool:
    """Whether a worker that uses `address` would send its token readable over a network."""
    parts = urlsplit(address)
    return parts.scheme == "http" and parts.hostname not in LOOPBACK


def gpu_words(worker: Worker) -> str:
    """ "NVIDIA RTX 4090 (24 GB)", one per GPU."""
    words = []
    for gpu in worker.hardware.get("gpus") or []:
        memory = f" ({filesizeformat(gpu['memory_bytes'])})" if gpu.get("memory_bytes") else ""
        words.append(f"{gpu.get('name', '?')}{memory}")
    return ", ".join(words) or NOTHING


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def connection(worker: Worker, since: int) -> dict[str, Any]:
    """Whether and as what it has connected after `since` (milliseconds of the epoch)."""
    seen = worker.last_seen_at
    is_connected = worker.enabled and seen is not None and _milliseconds(seen) > since
    return {"worker": worker, "is_connected": is_connected, "gpus": gpu_words(worker)}


def worker_commands(address: str, token: str, *, insecure: bool) -> list[dict[str, str]]:
    """What to type on the worker's PC. The token goes through the environment: command lines are seen by everyone."""
    start = f"-m worker_client --api-url {address}" + (" --allow-http" if insecure else "")
    where = _("In a copy of this project on that computer, with Python 3.11 or newer. The first line installs, once:")
    linux = [
        "python3 install.py worker",
        f"export BERT_WORKER_TOKEN='{token}'",
        f".venv/bin/python {start} --models-dir ~/bert-models",
    ]
    windows = [
        "py -3 install.py worker",
        f'$env:BERT_WORKER_TOKEN = "{token}"',
        f'.venv\\Scripts\\python {start} --models-dir "$HOME\\bert-models"',
    ]
    cuda = _("With an NVIDIA GPU set PIP_EXTRA_INDEX_URL before, as docs/worker-windows.md says.")
    return [
        {"title": "Linux", "help": where, "text": "\n".join(linux)},
        {"title": "Windows (PowerShell)", "help": f"{cuda} {where}", "text": "\n".join(windows)},
    ]


def api_command(request: HttpRequest, token: str) -> dict[str, str]:
    """A first call with a person's token."""
    address = request.build_absolute_uri(reverse("api-root"))
    return {
        "title": _("Try it"),
        "help": _("Lists the runs:"),
        "text": f'curl -H "Authorization: Bearer {token}" {address}/runs',
    }


admin.site.unregister([User, Group])


class WithCheckboxes(ProductAdmin):
    """Groups and permissions as boxes to tick: Django's two lists need a mouse, jQuery and 130 kB."""

    filter_horizontal = ()

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Without the small plus that opens a window."""
        field: Any = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.many_to_many and field is not None:
            field.widget = CheckboxSelectMultiple(choices=field.choices)
            field.help_text = ""
        if db_field.related_model is Permission and field is not None:
            places = [When(content_type__model=name.lower(), then=n) for n, name in enumerate(GROUP_OF)]
            in_menu = Case(*places, default=len(GROUP_OF))  # what has no page of its own comes last
            field.queryset = field.queryset.order_by(in_menu, "content_type", "codename")
            field.label_from_instance = permission_words
        return field


def permission_words(permission: Permission) -> str:
    """ "Run: may view"; Django keeps a permission's name in English."""
    words = {"add": _("may add"), "change": _("may change"), "delete": _("may delete"), "view": _("may view")}
    action = permission.codename.partition("_")[0]
    return f"{capfirst(permission.content_type.name)}: {words.get(action, permission.name)}"


@admin.register(User)
class PersonAdmin(WithCheckboxes, UserAdmin):
    """Django's own, with our list and fields."""

    add_label = gettext_lazy("New person")
    list_display = ["username", "first_name", "last_name", "email", "is_active", "is_staff", "last_login"]
    list_filter = ["is_active", "is_staff", "is_superuser"]
    readonly_fields = ["last_login", "date_joined"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only somebody who never did anything; the others are made inactive, so that the history keeps its names."""
        unused = obj is not None and not obj.logentry_set.exists()
        return unused and super().has_delete_permission(request, obj)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The password, and the way to another one, are for those who may change them."""
        sections = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return sections
        shown = [(title, [name for name in options["fields"] if name != "password"]) for title, options in sections]
        return [(title, {"fields": names}) for title, names in shown]


@admin.register(Group)
class RoleAdmin(WithCheckboxes, GroupAdmin):
    """Django's own, with our list and fields."""

    add_label = gettext_lazy("New group")
    empty_sentence = gettext_lazy("No group yet. A group gives several people the same permissions at once.")
