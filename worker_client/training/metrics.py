"""Figures from gold and predicted labels: pure functions, no model and no file."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

Span = tuple[int, str, int, int]  # row, type, first word, word after the last


def classification_figures(gold: Sequence[int], predicted: Sequence[int]) -> dict[str, float]:
    """Accuracy and macro precision, recall and F1.

    The mean is over the classes that occur in `gold` or `predicted`, as in scikit-learn: a class without rows
    in this part says nothing about the model.
    """
    precision, recall, f1, _ = precision_recall_fscore_support(gold, predicted, average="macro", zero_division=0)
    accuracy = float(np.mean(np.asarray(gold) == np.asarray(predicted)))
    return {"accuracy": accuracy, "precision": float(precision), "recall": float(recall), "f1": float(f1)}


def per_class(gold: Sequence[int], predicted: Sequence[int], labels: Sequence[str]) -> list[dict[str, Any]]:
    """One row per label, in the order of `labels`; support 0 for a label without rows in this part."""
    figures = precision_recall_fscore_support(gold, predicted, labels=range(len(labels)), zero_division=0)
    names = ("precision", "recall", "f1")
    return [
        {
            "label": label,
            **{name: float(figures[at][i]) for at, name in enumerate(names)},
            "support": int(figures[3][i]),
        }
        for i, label in enumerate(labels)
    ]


@dataclass(frozen=True)
class Confusion:
    """Which labels were taken for which. Of many labels most pairs never occur, so that only the others are kept."""

    labels: list[str]
    pairs: Counter[tuple[int, int]]  # gold and predicted

    def rows(self) -> Iterator[list[int]]:
        """A row for each gold label with a column for each predicted one: rows (or words) of the part."""
        by_gold: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for (gold, predicted), count in self.pairs.items():
            by_gold[gold].append((predicted, count))
        for gold in range(len(self.labels)):
            row = [0] * len(self.labels)
            for predicted, count in by_gold[gold]:
                row[predicted] = count
            yield row

    def table(self, most: int) -> dict[str, Any]:
        """`{labels, counts}`, the counts left out where there are more than `most` labels."""
        return {"labels": self.labels, "counts": list(self.rows()) if len(self.labels) <= most else []}


def confusion(gold: Iterable[int], predicted: Iterable[int], labels: Sequence[str]) -> Confusion:
    """Of labels as indexes into `labels`."""
    return Confusion(list(labels), Counter(zip(gold, predicted, strict=True)))


def majority_figures(train_gold: Iterable[int], gold: Sequence[int]) -> dict[str, float]:
    """What one gets by always answering the most frequent label of the training part."""
    counts = Counter(train_gold)
    majority = min(counts, key=lambda label: (-counts[label], label))
    return classification_figures(gold, [majority] * len(gold))


def log_loss(probabilities: np.ndarray, gold: Sequence[int]) -> float:
    """Mean cross-entropy, unweighted, so that runs with and without class weights compare. (N, C) and N labels."""
    of_gold = probabilities[np.arange(len(gold)), np.asarray(gold)]
    return float(-np.log(np.clip(of_gold, 1e-12, None)).mean())


def entities(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Entities of one row by strict IOB2: `(type, first word, word after the last)`.

    An entity begins with B-X and goes on with I-X only; an I-X that follows neither belongs to nothing.
    """
    found = []
    start = None
    for at, tag in enumerate([*tags, "O"]):
        if start is not None and tag != "I-" + tags[start][2:]:
            found.append((tags[start][2:], start, at))
            start = None
        if tag.startswith("B-"):
            start = at
    return found


def repair_tags(tags: Sequence[str]) -> list[str]:
    """Valid BIO: an I-X that follows neither B-X nor I-X opens an entity of its own."""
    repaired: list[str] = []
    for tag in tags:
        previous = repaired[-1] if repaired else "O"
        orphan = tag.startswith("I-") and previous[2:] != tag[2:]
        repaired.append("B-" + tag[2:] if orphan else tag)
    return repaired


def entity_figures(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """Accuracy per word; precision, recall and F1 of whole entities (micro, strict IOB2, as seqeval's strict mode)."""
    gold_spans, predicted_spans = _spans(gold), _spans(predicted)
    words = [pair for g, p in zip(gold, predicted, strict=True) for pair in zip(g, p, strict=True)]
    accuracy = sum(g == p for g, p in words) / len(words) if words else 0.0
    return {"accuracy": accuracy, **_scores(gold_spans, predicted_spans)}


def per_entity_type(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """One row per entity type of either side, by name."""
    gold_spans, predicted_spans = _spans(gold), _spans(predicted)
    types = sorted({span[1] for span in gold_spans | predicted_spans})
    return [
        {"label": kind, **_scores(mine := _of(kind, gold_spans), _of(kind, predicted_spans)), "support": len(mine)}
        for kind in types
    ]


def _spans(rows: Sequence[Sequence[str]]) -> set[Span]:
    return {(row, *entity) for row, tags in enumerate(rows) for entity in entities(tags)}


def _of(kind: str, spans: set[Span]) -> set[Span]:
    return {span for span in spans if span[1] == kind}


def _scores(gold: set[Span], predicted: set[Span]) -> dict[str, float]:
    hits = len(gold & predicted)
    precision = hits / len(predicted) if predicted else 0.0
    recall = hits / len(gold) if gold else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}
