"""The admin site of the product: its name, the order of its menu, and what every list of ours shares."""

from dataclasses import dataclass
from functools import update_wrapper
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.apps import AdminConfig
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME, AdminForm
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.module_loading import import_string
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

from config.display import NOTHING
from config.pagination import KeysFirst

if TYPE_CHECKING:  # Django loads this module before it has models
    from django.contrib.auth.models import User

LIST_MEDIA = forms.Media(js=["admin/js/actions.js"])
SHOWN_IN_QUESTION = 20  # objects that a question about many names


@dataclass(frozen=True)
class MenuPage:
    """A page of the menu that is not the list of a model; `address` is its name among the admin's.

    permission: what one needs to see it; everyone sees it where none is named.
    """

    label: Any
    address: str
    permission: str = ""


@dataclass(frozen=True)
class MenuItem:
    """A line of the menu as one person sees it."""

    label: Any
    url: str
    is_current: bool


# In the order of work: what goes on, what to train, what keeps it running, who may. Models by name, with a page of
# their own between them where there is one.
MENU: list[tuple[Any, list[str | MenuPage]]] = [
    ("", [MenuPage(_("Home"), "index")]),
    (
        _("Train"),
        ["Dataset", "Run", MenuPage(_("Compare"), "runs_app_run_compare", "runs_app.view_run"), "TrainedModel"],
    ),
    (_("Operate"), ["Job", "Worker", "BaseModel"]),
    (_("Administer"), ["User", "Group", "ApiToken"]),
]
PAGES = [entry for _title, entries in MENU for entry in entries if isinstance(entry, MenuPage)]
GROUP_OF = {name: title for title, entries in MENU for name in entries if isinstance(name, str)}


def person(request: HttpRequest) -> "User":
    """Who asks. The admin lets nobody in without a name; a page that were mounted elsewhere by mistake refuses."""
    user = request.user
    if not user.is_authenticated:
        raise PermissionDenied
    return user


class TrainingSite(admin.AdminSite):
    """Django's admin under our name, with a menu that is grouped by what people do and not by app."""

    site_header = "BERT Training"
    site_title = "BERT Training"
    index_title = _("Home")
    site_url = None
    empty_value_display = NOTHING
    home_context = "runs_app.admin.home.home_context"  # by its name, as settings do: apps import this module

    def each_context(self, request: HttpRequest) -> Any:
        """With the menu."""
        return {**super().each_context(request), "menu": self.menu(request)}

    def menu(self, request: HttpRequest) -> list[tuple[Any, list[MenuItem]]]:
        """Groups with what this person may see of them; nothing for somebody unknown."""
        models = {model["object_name"]: model for app in self.get_app_list(request) for model in app["models"]}
        groups = [(title, [_item(entry, models, request) for entry in entries]) for title, entries in MENU]
        shown = [(title, [item for item in items if item is not None]) for title, items in groups]
        return [(title, items) for title, items in shown if items] if self.has_permission(request) else []

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Django's, which asks for a login where the session is over; what was sent does not survive that."""
        inner = super().admin_view(view, cacheable)

        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            if request.method == "POST" and request.user.is_anonymous and view != self.logout:
                messages.warning(request, _("You were not signed in any more. Sign in and send the form once more."))
            return inner(request, *args, **kwargs)

        return update_wrapper(answer, inner)

    def get_urls(self) -> Any:
        """With the blocks of the home page alone, which that page asks for again."""
        return [path("live/", self.admin_view(self.home_live), name="home_live"), *super().get_urls()]

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The home page."""
        return super().index(request, {**import_string(self.home_context)(request), **(extra_context or {})})

    def home_live(self, request: HttpRequest) -> TemplateResponse:
        """What changes on it."""
        return TemplateResponse(request, "admin/home.html", import_string(self.home_context)(request))

    def app_index(self, request: HttpRequest, app_label: str, extra_context: Any = None) -> Any:
        """Which app a model lives in is no matter of the people here."""
        return HttpResponseRedirect(reverse("admin:index"))


def _item(entry: str | MenuPage, models: dict[str, Any], request: HttpRequest) -> MenuItem | None:
    here = request.path
    if isinstance(entry, MenuPage):
        url, may_see = (
            reverse(f"admin:{entry.address}"),
            not entry.permission or request.user.has_perm(entry.permission),
        )
        return MenuItem(entry.label, url, here == url) if may_see else None
    list_url = models.get(entry, {}).get("admin_url")  # None for who may only add
    # A page with a line of its own lies below a list's address and is not that list's.
    has_own = any(here == reverse(f"admin:{page.address}") for page in PAGES)
    return MenuItem(models[entry]["name"], list_url, here.startswith(list_url) and not has_own) if list_url else None


def is_key(value: str) -> bool:
    """Whether `value` is a row's number that fits the database's integers."""
    return value.isascii() and value.isdigit() and len(value) < 19


class TrainingAdminConfig(AdminConfig):
    """Makes `TrainingSite` the site of `admin.site`; stands in INSTALLED_APPS in place of django.contrib.admin."""

    default_site = "config.admin.TrainingSite"


class ProductAdmin(admin.ModelAdmin):
    """A list that is called what it lists, never counts a whole table for its footer, and says why it is empty."""

    show_full_result_count = False
    paginator = KeysFirst
    list_per_page = 50
    add_label: Any = ""
    empty_sentence: Any = ""
    media: Any = forms.Media()  # Django's own is jQuery and 300 kB more, for fields that ours do not have

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Django's list with our title, button and empty state."""
        if not all(is_key(value) for value in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            raise BadRequest  # no list of ours offers such a row, and the database cannot look it up
        if any("\x00" in value for _name, values in request.GET.lists() for value in values):
            raise BadRequest  # nor filters by a NUL, which PostgreSQL takes for no text
        words = {
            "title": capfirst(self.opts.verbose_name_plural),
            "media": LIST_MEDIA,
            "add_label": self.add_label,
            "empty_sentence": self.empty_sentence,
            "empty_button": self.empty_button(request),
        }
        return super().changelist_view(request, {**words, **(extra_context or {})})

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Django's; but it takes `_saveasnew` for a wish to add, also where no page offers that."""
        if "_saveasnew" in request.POST:
            raise BadRequest
        return super().changeform_view(request, *args, **kwargs)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """A page is called what its object is, or what the button to it says, and has one button that saves."""
        original = context.get("original")
        title = {"title": original or self.add_label or context["title"], "subtitle": None}
        one_button = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().render_change_form(request, {**context, **title, **one_button}, *args, **kwargs)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """By its key where `_to_field` is empty, which Django looks up as the name of a field."""
        return super().get_object(request, object_id, from_field or None)

    def empty_button(self, request: HttpRequest) -> tuple[Any, str] | None:
        """Label and address of what fills an empty list; None where this person may not."""
        return (self.add_label, "add/") if self.add_label and self.has_add_permission(request) else None

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

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """As Django's, but with field names as the catalogues have them: it looks for them with a capital letter."""
        if add or not form.changed_data:
            return super().construct_change_message(request, form, formsets, add)
        with override(None):
            names = [str(self.opts.get_field(name).verbose_name) for name in form.changed_data]  # type: ignore[union-attr]
        return [{"changed": {"fields": names}}]

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
