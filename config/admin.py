"""The admin site of the product: its name, the order of its menu, and what every list of ours shares."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.apps import AdminConfig
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME, AdminForm
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:  # Django loads this module before it has models
    from django.contrib.auth.models import User

SHOWN_IN_QUESTION = 20  # objects that a question about many names

# The menu, in the order of work: what to look at, what to train on, what keeps it running, who may.
MENU = [
    (_("Train"), ["Run"]),
    (_("Data"), ["Dataset"]),
    (_("Operate"), ["Job", "Worker", "BaseModel"]),
    (_("Administer"), ["User", "Group", "ApiToken"]),
]


def person(request: HttpRequest) -> "User":
    """Who asks. The admin lets nobody in without a name; a page that were mounted elsewhere by mistake refuses."""
    user = request.user
    if not user.is_authenticated:
        raise PermissionDenied
    return user


class TrainingSite(admin.AdminSite):
    """Django's admin under our name, with its models grouped by what people do and not by app."""

    site_header = "BERT Training"
    site_title = "BERT Training"
    index_title = _("Home")
    site_url = None

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> Any:
        """The menu's groups with the models that this person may see; what no group names comes last, as it is."""
        apps = super().get_app_list(request, app_label)
        if app_label is not None:
            return apps
        models = {model["object_name"]: (app, model) for app in apps for model in app["models"]}
        groups = [_group(title, [models.pop(name) for name in names if name in models]) for title, names in MENU]
        for app in apps:
            app["models"] = [model for model in app["models"] if model["object_name"] in models]
        return [group for group in [*groups, *apps] if group["models"]]


def _is_key(value: str) -> bool:
    """Whether `value` is a row's number that fits the database's integers."""
    return value.isascii() and value.isdigit() and len(value) < 19


def _group(title: Any, found: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    home = found[0][0] if found else {}
    return {
        "name": title,
        "app_label": home.get("app_label", ""),
        "app_url": home.get("app_url", ""),
        "has_module_perms": True,
        "models": [model for _app, model in found],
    }


class TrainingAdminConfig(AdminConfig):
    """Makes `TrainingSite` the site of `admin.site`; stands in INSTALLED_APPS in place of django.contrib.admin."""

    default_site = "config.admin.TrainingSite"


class ProductAdmin(admin.ModelAdmin):
    """A list that is called what it lists, never counts a whole table for its footer, and says why it is empty."""

    show_full_result_count = False
    list_per_page = 50
    add_label: Any = ""
    empty_sentence: Any = ""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Django's list with our title, button and empty state."""
        if not all(_is_key(value) for value in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            raise BadRequest  # no list of ours offers such a row, and the database cannot look it up
        words = {
            "title": capfirst(self.opts.verbose_name_plural),
            "add_label": self.add_label,
            "empty_sentence": self.empty_sentence,
        }
        return super().changelist_view(request, {**words, **(extra_context or {})})

    def page_context(self, request: HttpRequest, obj: Any = None, **values: Any) -> dict[str, Any]:
        """What a page of our own needs beside its own `values`, so that it looks like Django's."""
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": obj,
            "has_view_permission": self.has_view_permission(request, obj),
            "media": self.media,
            **values,
        }

    def form_page(self, request: HttpRequest, form: Any, sections: Any = None, **context: Any) -> TemplateResponse:
        """A form that is not a model's, in Django's own fieldsets. `sections` as in ModelAdmin.fieldsets."""
        sections = AdminForm(form, sections or [(None, {"fields": list(form.fields)})], {})
        template = context.pop("template", "admin/plain_form.html")
        return TemplateResponse(request, template, self.page_context(request, adminform=sections, **context))

    def object_url(self, obj: Any) -> str:
        """The page of one object."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[obj.pk])

    def confirm_page(self, request: HttpRequest, obj: Any, form: Any = None, **context: Any) -> TemplateResponse:
        """A question about one object, answered by POST; `form` holds what may be said with the answer."""
        if form is not None:
            context["adminform"] = AdminForm(form, [(None, {"fields": list(form.fields)})], {})
        page = self.page_context(request, obj, page_of_object=True, back_url=self.object_url(obj), **context)
        return TemplateResponse(request, "admin/confirm.html", page)

    def confirm_action(
        self, request: HttpRequest, action: str, objects: QuerySet[Any], **context: Any
    ) -> TemplateResponse | None:
        """The same question about those selected in a list; None once it was answered."""
        if "confirmed" in request.POST:
            return None
        hidden = [("action", action), ("select_across", request.POST.get("select_across", "0")), ("confirmed", "yes")]
        hidden += [(ACTION_CHECKBOX_NAME, pk) for pk in request.POST.getlist(ACTION_CHECKBOX_NAME)]
        page = self.page_context(
            request,
            objects=objects[:SHOWN_IN_QUESTION],
            more_count=max(objects.count() - SHOWN_IN_QUESTION, 0),
            hidden=hidden,
            back_url=request.get_full_path(),
            **context,
        )
        return TemplateResponse(request, "admin/confirm.html", page)
