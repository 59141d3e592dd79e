"""Sets of datasets, by domain name."""

from django.db import models


class DatasetQuerySet(models.QuerySet):
    """Datasets."""

    def same_as(self, *, sha256: str, mapping_key: str) -> "DatasetQuerySet":
        """The dataset of the same bytes, read in the same way."""
        return self.filter(sha256_hash=sha256, mapping_key=mapping_key)
