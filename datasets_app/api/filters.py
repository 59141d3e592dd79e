"""Query parameters of the dataset list; a bad value is a 400 that names it."""

import django_filters
from django.db.models import Q, QuerySet

from datasets_app.models import Dataset, TaskType


class DatasetFilter(django_filters.FilterSet):
    """?task_type= &search= &ordering="""

    task_type = django_filters.ChoiceFilter(choices=TaskType.choices)
    search = django_filters.CharFilter(method="search_text")
    ordering = django_filters.OrderingFilter(fields=["id", "name", "task_type", "num_rows", "size_bytes", "created_at"])

    class Meta:
        model = Dataset
        fields = ["task_type"]

    def search_text(self, datasets: QuerySet[Dataset], name: str, value: str) -> QuerySet[Dataset]:
        """In name, description, file name, or the beginning of the hash."""
        in_words = Q(name__icontains=value) | Q(description__icontains=value) | Q(original_filename__icontains=value)
        return datasets.filter(in_words | Q(sha256_hash__startswith=value.lower()))
