"""Sets of datasets, by domain name."""

from typing import TYPE_CHECKING

from django.db import models

if TYPE_CHECKING:
    from datasets_app.models import Dataset  # noqa: F401  named in strings below


class DatasetQuerySet(models.QuerySet["Dataset"]):
    """Datasets."""

    def same_as(self, *, sha256: str, mapping_key: str) -> "DatasetQuerySet":
        """The dataset of the same bytes, read in the same way."""
        return self.filter(sha256_hash=sha256, mapping_key=mapping_key)
