"""How long the rows are for the tokenizer of the base model, before anything is cut."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from worker_client.protocol import TrainingSpec
from worker_client.training.framing import Frame

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
