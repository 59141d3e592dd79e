"""One label per text. A long text may be several windows: their logits are averaged, in training too."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from worker_client.formats import Record
from worker_client.training import metrics
from worker_client.training.batches import IGNORE_INDEX, Layout
from worker_client.training.encoding import Encoded, Feature, in_chunks
from worker_client.training.framing import Frame
from worker_client.training.task import Decoded, Table, Task


class TextClassification(Task):
    """Features are whole documents: `windows`, `label`, `length`."""

    name = "text_classification"
    role = "text"
    counted = "rows"
    pipeline_tag = "text-classification"
    auto_class = "AutoModelForSequenceClassification"
    rows_weigh_alike = True

    def text_of(self, record: Record) -> str:
        """The document."""
        return record.text

    def labels_of(self, record: Record) -> Sequence[str]:
        """Its one label."""
        return (record.label,)

    def tokenize(self, records: Sequence[Record], tokenizer: Any) -> list[np.ndarray]:
        """One column: the ids."""
        return [
            np.asarray(ids, dtype=np.int32).reshape(-1, 1)
            for chunk in in_chunks(records)
            for ids in tokenizer([record.text for record in chunk], add_special_tokens=False, verbose=False)[
                "input_ids"
            ]
        ]

    def encode(
        self, records: Sequence[Record], tokens: Sequence[np.ndarray], frame: Frame, *, labelled: bool = True
    ) -> Encoded:
        """One feature per record."""
        labels = [self.ids[record.label] if labelled else 0 for record in records]
        lengths = [len(ids) for ids in tokens]
        features = [_feature(ids[:, 0], label, frame) for ids, label in zip(tokens, labels, strict=True)]
        cut = [length - _read(feature, length, frame) for feature, length in zip(features, lengths, strict=True)]
        return Encoded(features, list(range(len(records))), cut, lengths=lengths)

    def texts(self, feature: Feature) -> Sequence[np.ndarray]:
        """The windows of the document."""
        windows: list[np.ndarray] = feature["windows"]
        return windows

    def unlabelled(self, feature: Feature) -> Feature:
        """The document."""
        return {**feature, "label": IGNORE_INDEX}

    def collate(self, features: Sequence[Feature], layout: Layout) -> dict[str, Any]:
        """All windows of all documents in one batch; `window_counts` says whose they are."""
        windows = [window for feature in features for window in feature["windows"]]
        batch = {**layout.inputs(windows), "labels": torch.tensor([feature["label"] for feature in features])}
        if len(windows) > len(features):
            batch["window_counts"] = [len(feature["windows"]) for feature in features]
        return batch

    def pool(self, logits: torch.Tensor, window_counts: list[int] | None = None) -> torch.Tensor:
        """Mean of the windows' logits, document by document."""
        if window_counts is None:
            return logits
        return torch.stack([windows.mean(dim=0) for windows in logits.split(window_counts)])

    def compact(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The logits: (documents, labels)."""
        return logits.float()

    def units(self, feature: Feature) -> int:
        """One, the document."""
        return 1

    def decode(self, records: Sequence[Record], encoded: Encoded, compacted: Sequence[np.ndarray]) -> Decoded:
        """Labels by the largest logit, probabilities by softmax."""
        logits = np.empty((len(records), len(self.labels)))
        logits[encoded.owners] = np.concatenate(compacted)
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = shifted / shifted.sum(axis=1, keepdims=True)
        gold = [0] * len(records)
        for feature, owner in zip(encoded.features, encoded.owners, strict=True):
            gold[owner] = feature["label"]
        return Decoded(logits.argmax(axis=1).tolist(), probabilities, metrics.log_loss(probabilities, gold))

    def figures(self, records: Sequence[Record], decoded: Decoded) -> dict[str, float]:
        """Accuracy and macro figures."""
        return metrics.classification_figures(self._gold(records), decoded.labels)

    def baseline(self, train: Sequence[Record], test: Sequence[Record]) -> dict[str, float]:
        """The largest class of `train` for every row of `test`."""
        return metrics.majority_figures(self._gold(train), self._gold(test))

    def report(self, records: Sequence[Record], decoded: Decoded) -> dict[str, Any]:
        """Per class of the dataset, and rows by gold and predicted label."""
        gold = self._gold(records)
        return {
            "per_class": metrics.per_class(gold, decoded.labels, self.labels),
            "confusion": metrics.confusion(gold, decoded.labels, self.labels),
        }

    def prediction_table(self, records: Sequence[Record], decoded: Decoded) -> Table:
        """One line per row of the sheet."""
        rows = (
            (record.row, record.id, record.label, self.labels[label], float(chances[label]))
            for record, label, chances in zip(records, decoded.labels, decoded.probabilities, strict=True)
        )
        return Table(["row", "id", "gold", "predicted", "probability"], rows)

    def _gold(self, records: Sequence[Record]) -> list[int]:
        return [self.ids[record.label] for record in records]


def _feature(ids: np.ndarray, label: int, frame: Frame) -> Feature:
    windows = [frame.dress(ids[view]) for view in frame.views(len(ids))]
    return {"windows": windows, "label": label, "length": sum(len(window) for window in windows)}


def _read(feature: Feature, length: int, frame: Frame) -> int:
    """Sub-tokens of the text that the model sees."""
    return length if len(feature["windows"]) > 1 else min(length, frame.capacity)
