"""How long the rows are for the tokenizer of the base model, before anything is cut, and whose rows are cut."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from worker_client.formats import Record
from worker_client.protocol import TrainingSpec
from worker_client.training.encoding import Encoded
from worker_client.training.framing import Frame
from worker_client.training.task import Task

LENGTH_STEPS = (128, 256, 512)
RANKS = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def token_lengths(spec: TrainingSpec, lengths: Sequence[int], frame: Frame) -> dict[str, Any]:
    """{tokenizer, revision, rows, min, p50, p90, p99, max, mean, beyond: [{max_length, rows, share}]}.

    lengths: sub-tokens per row, at least one row. The special tokens are added, since max_length counts them.
    Percentiles are nearest-rank, as those of the words in the dataset's report.
    """
    sizes = np.asarray(lengths, dtype=np.int64) + frame.max_length - frame.capacity
    return {
        "tokenizer": spec.base_model,
        "revision": spec.base_model_revision,
        "rows": len(sizes),
        "min": int(sizes.min()),
        **{name: int(np.quantile(sizes, share, method="inverted_cdf")) for name, share in RANKS.items()},
        "max": int(sizes.max()),
        "mean": round(float(sizes.mean()), 1),
        "beyond": [_beyond(sizes, step) for step in LENGTH_STEPS],
    }


def _beyond(sizes: np.ndarray, max_length: int) -> dict[str, Any]:
    rows = int((sizes > max_length).sum())
    return {"max_length": max_length, "rows": rows, "share": round(rows / len(sizes), 4)}


def cut_by_label(task: Task, parts: Iterable[tuple[Sequence[Record], Encoded]]) -> list[dict[str, Any]]:
    """[{label, rows, cut}] in the order of the dataset: rows with the label, and how many of them are not read whole.

    parts: records, and what `task.encode` made of them. A row of words counts once for each of its tags.
    """
    rows: Counter[str] = Counter()
    cut: Counter[str] = Counter()
    for records, encoded in parts:
        for record, unread in zip(records, encoded.cut, strict=True):
            labels = set(task.labels_of(record))
            rows.update(labels)
            cut.update(labels if unread else ())
    return [{"label": label, "rows": rows[label], "cut": cut[label]} for label in task.labels]
