"""How long the texts of a dataset are for the tokenizer of a base model, as a run measured it."""

import logging
from itertools import pairwise
from typing import Any, TypeGuard

from datasets_app.models import Dataset

logger = logging.getLogger(__name__)

POINTS = ("min", "p50", "p90", "p99", "max")
LENGTH_STEPS = [128, 256, 512]
MOST_TOKENS = 10_000_000  # a cell of Excel holds 32,767 characters
MOST_BASE_MODELS = 20


def keep_token_lengths(
    *, dataset_id: int, run_id: int, base_model: str, revision: str, learned_here: bool, told: Any
) -> None:
    """Keep what a run told, one entry per base model; what no worker of ours would tell is left out.

    learned_here: the vocabulary is learned from the texts. Call inside a transaction: two runs may end at once.
    """
    dataset = Dataset.objects.select_for_update(no_key=True).get(pk=dataset_id)
    lengths = read_token_lengths(told, dataset.num_rows)
    if lengths is None:
        logger.warning("run %d told no usable token lengths of dataset %d", run_id, dataset_id)
        return
    others = {name: kept for name, kept in dataset.token_lengths.items() if name != base_model}
    newest = sorted(others, key=lambda name: -others[name]["run"])[: MOST_BASE_MODELS - 1]
    measured = {**lengths, "run": run_id, "revision": revision, "learned_here": learned_here}
    dataset.token_lengths = {base_model: measured, **{name: others[name] for name in newest}}
    dataset.save(update_fields=["token_lengths"])


def read_token_lengths(told: Any, num_rows: int) -> dict[str, Any] | None:
    """{min, p50, p90, p99, max, mean, beyond: [{max_length, rows, share}]} as told; None if it is amiss."""
    if not isinstance(told, dict) or told.get("rows") != num_rows:
        return None
    points: dict[str, Any] = {name: told.get(name) for name in POINTS}
    mean, beyond = told.get("mean"), _beyond(told.get("beyond"), num_rows)
    if not _rise([0, *points.values(), MOST_TOKENS]) or not _is_number(mean) or beyond is None:
        return None
    if not points["min"] <= mean <= points["max"]:
        return None
    return {**points, "mean": mean, "beyond": beyond}


def _beyond(told: Any, num_rows: int) -> list[dict[str, Any]] | None:
    """The shares are computed here, from rows that can be."""
    if not isinstance(told, list) or not all(isinstance(step, dict) for step in told):
        return None
    rows = [step.get("rows") for step in told]
    if [step.get("max_length") for step in told] != LENGTH_STEPS or not _rise([0, *reversed(rows), num_rows]):
        return None
    return [
        {"max_length": step, "rows": count, "share": round(count / num_rows, 4)}
        for step, count in zip(LENGTH_STEPS, rows, strict=True)
    ]


def _rise(values: list[Any]) -> bool:
    """Whole numbers, none smaller than the one before."""
    return all(type(value) is int for value in values) and all(low <= high for low, high in pairwise(values))


def _is_number(value: Any) -> TypeGuard[int | float]:
    return type(value) in (int, float)  # what is not finite was set to null when the report was read
