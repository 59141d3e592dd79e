"""Query parameters of the run list; a bad value is a 400 that names it."""

import django_filters

from datasets_app.api.filters import StableOrdering
from runs_app.choices import Status
from runs_app.models import Run


class RunFilter(django_filters.FilterSet):
    """?status= &dataset= &base_model= &ordering="""

    status = django_filters.ChoiceFilter(choices=Status.choices)
    base_model = django_filters.CharFilter()
    ordering = StableOrdering(fields=["id", "name", "status", "created_at", "started_at", "finished_at"])

    class Meta:
        model = Run
        fields = ["status", "dataset", "base_model"]
