"""Model inputs made of records."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

TEXTS_PER_CALL = 1_000  # bounded memory, and long enough to keep the tokenizer's threads busy

Feature = dict[str, Any]


@dataclass(frozen=True)
class Encoded:
    """Features and where they come from.

    owners: the record of each feature. cut: per record, the sub-tokens that no view holds. lost_words: words of
    token tasks without a sub-token in any view; they are predicted O. lengths: per record, all its sub-tokens.
    """

    features: list[Feature]
    owners: list[int]
    cut: list[int]
    lost_words: int = 0
    lengths: list[int] = field(default_factory=list)

    def by_length(self) -> "Encoded":
        """The same, longest first: little padding, and a batch that does not fit fails at once."""
        order = sorted(range(len(self.features)), key=lambda i: -self.features[i]["length"])
        return replace(self, features=[self.features[i] for i in order], owners=[self.owners[i] for i in order])

    def usual_inputs(self) -> int:
        """Model inputs that nine of ten features have at most: above 1 where long texts are windows."""
        counts = [len(feature.get("windows", (0,))) for feature in self.features]
        return int(np.quantile(counts, 0.9, method="higher")) if counts else 1

    @property
    def cut_share(self) -> float:
        """Share of records of which a part is not read."""
        return sum(count > 0 for count in self.cut) / len(self.cut) if self.cut else 0.0


def in_chunks(items: Sequence[Any]) -> Iterator[list[Any]]:
    """Slices of TEXTS_PER_CALL items."""
    for start in range(0, len(items), TEXTS_PER_CALL):
        yield list(items[start : start + TEXTS_PER_CALL])


def balanced_weights(counts: np.ndarray) -> np.ndarray:
    """Weight of each class, n / (classes present * rows of the class): the mean over the rows is 1; absent: 0."""
    present = counts > 0
    weights = np.zeros(len(counts))
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights
