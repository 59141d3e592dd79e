"""The catalogue of base models."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, F, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format
from django.utils.text import capfirst
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from config.admin import ProductAdmin
from config.display import NOTHING, badge
from runs_app.models import BUILTIN_TINY_BERT, BaseModel, Run


@admin.register(BaseModel)
class BaseModelAdmin(ProductAdmin):
    """Editable; the built-in model stays."""

    list_display = [
        "__str__",
        "model_id",
        "use_shown",
        "parameters",
        "download",
        "is_recommended",
        "enabled",
        "runs_made",
    ]
    list_filter = ["enabled"]
    search_fields = ["model_id", "label", "use"]
    add_label = _("Add base model")
    fieldsets = [
        (None, {"fields": ["model_id", "revision", "label", "use", "recommended", "enabled"]}),
        (_("Size"), {"fields": ["parameter_count", "size_bytes", "max_length"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[BaseModel]:
        """With the number of runs that started from each."""
        mine = Run.objects.filter(base_model=OuterRef("model_id")).order_by().values("base_model")
        counted = Subquery(mine.annotate(n=Count("pk")).values("n"), output_field=IntegerField())
        models: QuerySet[BaseModel] = super().get_queryset(request).annotate(run_count=Coalesce(counted, 0))
        return models

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """The id names the weights: another id is another entry."""
        return ["model_id"] if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The built-in model is always there."""
        return super().has_delete_permission(request, obj) and (obj is None or obj.model_id != BUILTIN_TINY_BERT)

    @admin.display(description=_("use"), ordering="use")
    def use_shown(self, model: BaseModel) -> str:
        """In the reader's language where it is told in both: "para testes / for trials"."""
        portuguese, _slash, english = model.use.partition(" / ")
        return english if english and not (get_language() or "").startswith("pt") else portuguese

    @admin.display(description=_("parameters"), ordering=F("parameter_count").asc(nulls_first=True))
    def parameters(self, model: BaseModel) -> str:
        """In millions."""
        if not model.parameter_count:
            return NOTHING
        return number_format(round(model.parameter_count / 1e6), force_grouping=True) + " M"

    @admin.display(description=_("download"), ordering=F("size_bytes").asc(nulls_first=True))
    def download(self, model: BaseModel) -> str:
        """What a worker fetches once."""
        return filesizeformat(model.size_bytes) if model.size_bytes else NOTHING

    @admin.display(description=_("recommended"), ordering="recommended")
    def is_recommended(self, model: BaseModel) -> str:
        """Not a red cross for all others: nothing is wrong with them."""
        return badge("completed", capfirst(_("recommended"))) if model.recommended else NOTHING

    @admin.display(description=_("runs"), ordering="run_count")
    def runs_made(self, model: Any) -> str:
        """Runs that started from it."""
        return str(model.run_count)
