"""Query parameters of the dataset list; a bad value is a 400 that names it."""

from collections.abc import Sequence
from typing import Any

import django_filters
from django.db.models import F, Model, Q, QuerySet

from datasets_app.models import Dataset, TaskType


class StableOrdering(django_filters.OrderingFilter):
    """Of equal rows the newest first, so that no page repeats a row of the one before it.

    What is empty counts as the smallest: PostgreSQL by itself thinks it the largest, SQLite does not.
    """

    def filter(self, qs: QuerySet[Any], value: Sequence[str] | None) -> QuerySet[Any]:
        """value: names of columns, those that fall with a minus; empty ones between commas say nothing."""
        columns = [_column(qs.model, self.get_ordering_value(name)) for name in value or () if name]
        return qs.order_by(*columns, "-id") if columns else qs


def _column(model: type[Model], name: str) -> Any:
    field = model._meta.get_field(name.removeprefix("-"))
    if not field.null:
        return name
    return F(field.name).desc(nulls_last=True) if name.startswith("-") else F(field.name).asc(nulls_first=True)


class DatasetFilter(django_filters.FilterSet):
    """?task_type= &search= &ordering="""

    task_type = django_filters.ChoiceFilter(choices=TaskType.choices)
    search = django_filters.CharFilter(method="search_text")
    ordering = StableOrdering(fields=["id", "name", "task_type", "num_rows", "size_bytes", "created_at"])

    class Meta:
        model = Dataset
        fields = ["task_type"]

    def search_text(self, datasets: QuerySet[Dataset], name: str, value: str) -> QuerySet[Dataset]:
        """In name, description, file name, or the beginning of the hash."""
        in_words = Q(name__icontains=value) | Q(description__icontains=value) | Q(original_filename__icontains=value)
        return datasets.filter(in_words | Q(sha256_hash__startswith=value.lower()))
