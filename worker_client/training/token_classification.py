"""One tag per word, carried by its first sub-token. A long row may be several windows; each word is tagged once."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from worker_client.formats import Record
from worker_client.training import metrics
from worker_client.training.batches import IGNORE_INDEX, Layout
from worker_client.training.encoding import Encoded, Feature, in_chunks
from worker_client.training.framing import Frame, own_views
from worker_client.training.task import Decoded, Table, Task

OUTSIDE = "O"


class TokenClassification(Task):
    """Features are windows: `ids`, `labels` per position, `words` (the word of each labelled position), `length`."""

    name = "token_classification"
    role = "tokens"
    counted = "words"
    pipeline_tag = "token-classification"
    auto_class = "AutoModelForTokenClassification"
    rows_weigh_alike = False

    def __init__(self, labels: Sequence[str]) -> None:
        # Words that a model never sees are predicted O, so O is always among the tags.
        super().__init__(labels if OUTSIDE in labels else [*labels, OUTSIDE])

    def text_of(self, record: Record) -> str:
        """The words, joined by blanks."""
        return " ".join(record.tokens)

    def labels_of(self, record: Record) -> Sequence[str]:
        """The tags."""
        return record.tags

    def tokenize(self, records: Sequence[Record], tokenizer: Any) -> list[np.ndarray]:
        """Two columns: the ids, and which word each is of, -1 for none."""
        return [
            _columns(encoding)
            for chunk in in_chunks(records)
            for encoding in tokenizer(
                [list(record.tokens) for record in chunk],
                is_split_into_words=True,
                add_special_tokens=False,
                verbose=False,
            ).encodings
        ]

    def encode(
        self, records: Sequence[Record], tokens: Sequence[np.ndarray], frame: Frame, *, labelled: bool = True
    ) -> Encoded:
        """One feature per view of a record; a row that gives none (words without sub-tokens) has no feature."""
        features: list[Feature] = []
        owners: list[int] = []
        cut: list[int] = []
        lost = 0
        for record, pieces in zip(records, tokens, strict=True):
            tags = [self.ids[tag] for tag in record.tags] if labelled else [0] * len(record.tokens)
            views = list(_features(pieces, tags, frame))
            owners += [len(cut)] * len(views)
            features += views
            lost += len(tags) - sum(len(view["words"]) for view in views)
            cut.append(max(len(pieces) - _read(views, frame), 0))
        return Encoded(features, owners, cut, lost, [len(pieces) for pieces in tokens])

    def texts(self, feature: Feature) -> Sequence[np.ndarray]:
        """The one window."""
        return [feature["ids"]]

    def unlabelled(self, feature: Feature) -> Feature:
        """The window."""
        return {**feature, "labels": np.full_like(feature["labels"], IGNORE_INDEX), "words": []}

    def collate(self, features: Sequence[Feature], layout: Layout) -> dict[str, Any]:
        """A label for every position."""
        inputs = layout.inputs([feature["ids"] for feature in features])
        return {**inputs, "labels": layout.labels([feature["labels"] for feature in features])}

    def compact(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Per word: tag, its probability, and the loss of the label. (words, 3)"""
        of_words = labels != IGNORE_INDEX
        log_probabilities = logits[of_words].float().log_softmax(dim=-1)
        best, tag = log_probabilities.max(dim=-1)
        of_gold = log_probabilities.gather(-1, labels[of_words].unsqueeze(-1)).squeeze(-1)
        return torch.stack([tag.float(), best.exp(), -of_gold], dim=-1)

    def units(self, feature: Feature) -> int:
        """The words that this window tags."""
        return len(feature["words"])

    def decode(self, records: Sequence[Record], encoded: Encoded, compacted: Sequence[np.ndarray]) -> Decoded:
        """Every word once; O with probability 0 for words that no window holds."""
        tags = [[self.ids[OUTSIDE]] * len(record.tokens) for record in records]
        chances = [[0.0] * len(record.tokens) for record in records]
        losses: list[float] = []
        for feature, owner, rows in zip(encoded.features, encoded.owners, compacted, strict=True):
            for word, (tag, chance, loss) in zip(feature["words"], rows.tolist(), strict=True):
                tags[owner][word] = int(tag)
                chances[owner][word] = chance
                losses.append(loss)
        return Decoded(tags, chances, float(np.mean(losses)) if losses else 0.0)

    def figures(self, records: Sequence[Record], decoded: Decoded) -> dict[str, float]:
        """Accuracy per word; precision, recall and f1 of whole entities."""
        return metrics.entity_figures([record.tags for record in records], self._strings(decoded))

    def baseline(self, train: Sequence[Record], test: Sequence[Record]) -> dict[str, float]:
        """The most frequent tag of `train`, nearly always O, for every word of `test`."""
        majority = self.labels[int(self.label_counts(train).argmax())]
        return metrics.entity_figures(
            [record.tags for record in test], [[majority] * len(record.tags) for record in test]
        )

    def report(self, records: Sequence[Record], decoded: Decoded) -> dict[str, Any]:
        """Per entity type, and words by gold and predicted tag."""
        gold = [self.ids[tag] for record in records for tag in record.tags]
        predicted = [tag for tags in decoded.labels for tag in tags]
        return {
            "per_class": metrics.per_entity_type([record.tags for record in records], self._strings(decoded)),
            "confusion": metrics.confusion(gold, predicted, self.labels),
        }

    def prediction_table(self, records: Sequence[Record], decoded: Decoded) -> Table:
        """One line per row of the sheet; tags joined by blanks."""
        rows = (
            (record.row, record.id, " ".join(record.tags), " ".join(tags), float(np.mean(chances)))
            for record, tags, chances in zip(records, self._strings(decoded), decoded.probabilities, strict=True)
        )
        return Table(["row", "id", "gold", "predicted", "probability"], rows)

    def _strings(self, decoded: Decoded) -> list[list[str]]:
        return [[self.labels[tag] for tag in tags] for tags in decoded.labels]


def _columns(encoding: Any) -> np.ndarray:
    words = [-1 if word is None else word for word in encoding.word_ids]
    return np.asarray([encoding.ids, words], dtype=np.int32).T


def _features(pieces: np.ndarray, tags: Sequence[int], frame: Frame) -> Iterator[Feature]:
    """The views of one row, each with the labels of the words that it owns."""
    ids, of_word = pieces.T
    firsts = np.flatnonzero(np.r_[True, of_word[1:] != of_word[:-1]] & (of_word >= 0)) if len(ids) else ids
    views = frame.views(len(ids)) if len(ids) else []
    owner = own_views(firsts, views, len(ids))
    build = partial(_feature, ids, of_word, np.asarray(tags, dtype=np.int64), frame)
    return (build(view, firsts[owner == index]) for index, view in enumerate(views))


def _feature(
    ids: np.ndarray, of_word: np.ndarray, tags: np.ndarray, frame: Frame, view: np.ndarray, owned: np.ndarray
) -> Feature:
    labels = np.full(len(view), IGNORE_INDEX, dtype=np.int64)
    labels[np.searchsorted(view, owned)] = tags[of_word[owned]]
    head = np.full(len(frame.prefix), IGNORE_INDEX)
    tail = np.full(len(frame.suffix), IGNORE_INDEX)
    dressed = frame.dress(ids[view])
    return {
        "ids": dressed,
        "labels": np.concatenate([head, labels, tail]),
        "words": of_word[owned].tolist(),
        "length": len(dressed),
    }


def _read(views: Sequence[Feature], frame: Frame) -> int:
    """Sub-tokens that the model sees; with several windows it sees them all."""
    return frame.capacity if len(views) == 1 else 1 << 62
