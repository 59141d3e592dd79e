"""What a model answers to features: in evaluation, for the test part, and in prediction."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from worker_client.training.batches import Layout, moved
from worker_client.training.encoding import Feature
from worker_client.training.task import Task

CACHED_TOKENS = 2048  # of a batch on a processor: 4 texts of 512 took 6 % less time than 8 at once, and 11 % than 16


def answers(
    model: Any,
    task: Task,
    features: Sequence[Feature],
    layout: Layout,
    *,
    rows: int,
    after_batch: Callable[[], None] = lambda: None,
) -> list[np.ndarray]:
    """What `task.decode` needs of each feature, in their order: (units, n).

    rows: how many inputs as long as the longest fit at once; of shorter ones there are more in a batch.
    """
    was_training = model.training
    model.eval()
    found: list[np.ndarray] = []
    for batch in batches(task, features, rows_at_once(task, features, rows, model.device.type)):
        found += _answer(model, task, batch, layout)
        after_batch()
    model.train(was_training)
    return found


def rows_at_once(task: Task, features: Sequence[Feature], rows: int, device: str) -> int:
    """`rows`, or on a processor as many of the longest inputs as its cache holds, at least one."""
    return min(rows, max(CACHED_TOKENS // _longest(task, features), 1)) if device == "cpu" else rows


def batches(task: Task, features: Sequence[Feature], rows: int) -> Iterator[list[Feature]]:
    """Neighbours, as many as `rows` of the longest inputs of all would take in memory, at least one."""
    room = rows * _longest(task, features)
    batch: list[Feature] = []
    inputs = longest = 0
    for feature in features:
        texts = task.texts(feature)
        inputs, longest = inputs + len(texts), max(longest, *map(len, texts))
        if batch and inputs * longest > room:
            yield batch
            batch, inputs, longest = [], len(texts), max(map(len, texts))
        batch.append(feature)
    if batch:
        yield batch


def _longest(task: Task, features: Sequence[Feature]) -> int:
    return max((len(text) for feature in features for text in task.texts(feature)), default=1)


def _answer(model: Any, task: Task, features: Sequence[Feature], layout: Layout) -> list[np.ndarray]:
    batch = moved(task.collate(features, layout), model.device)
    labels = batch.pop("labels")
    window_counts = batch.pop("window_counts", None)
    with torch.inference_mode():
        logits = task.pool(model(**batch).logits, window_counts)
    compacted = task.compact(logits, labels).cpu().numpy()
    ends = np.cumsum([task.units(feature) for feature in features])
    return np.split(compacted, ends[:-1])
