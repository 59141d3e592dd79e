"""The lines that tell a person what a run does. Labels and counts, never the text of a row."""

import logging
from typing import Any

from worker_client.training.batches import Layout
from worker_client.training.data import Parts
from worker_client.training.encoding import Encoded
from worker_client.training.environment import Recipe
from worker_client.training.framing import Frame
from worker_client.training.task import Task

logger = logging.getLogger(__name__)

LABELS_NAMED = 50


def parts(task: Task, split: Parts) -> None:
    """Rows per part, and how often each label occurs in it."""
    sizes = split.sizes()
    logger.info(
        "%d rows: %s (split %s)",
        sum(sizes.values()),
        ", ".join(f"{name} {size}" for name, size in sizes.items()),
        split.digest[:12],
    )
    counts = [task.label_counts(rows) for rows in (split.train, split.validation, split.test)]
    logger.info("%d labels; %s of each in train, validation and test:", len(task.labels), task.counted)
    for label, *numbers in list(zip(task.labels, *counts, strict=True))[:LABELS_NAMED]:
        logger.info("  %s: %d, %d, %d", label, *numbers)


def encoded(
    by_part: dict[str, Encoded], frame: Frame, measured: dict[str, Any], by_label: list[dict[str, Any]]
) -> None:
    """How long the rows are, how much is not read, whose labels that are, and how much of it are words."""
    points = tuple(measured[name] for name in ("p50", "p90", "p99", "max"))
    logger.info("Sub-tokens of a row: half up to %d, 9 of 10 up to %d, 99 of 100 up to %d, longest %d", *points)
    shares = ", ".join(f"{name} {part.cut_share:.1%}" for name, part in by_part.items())
    logger.info("Cut beyond %d sub-tokens (long_text %s): %s of the rows", frame.max_length, frame.long_text, shares)
    for row in [row for row in by_label if row["cut"]][:LABELS_NAMED]:
        logger.info(
            "  %s: %d of %d rows are cut (%.1f%%)",
            row["label"],
            row["cut"],
            row["rows"],
            100 * row["cut"] / row["rows"],
        )
    lost = sum(part.lost_words for part in by_part.values())
    if lost:
        logger.warning("%d words are not read at all: they are predicted O and count as errors", lost)


def recipe(chosen: Recipe, arguments: Any, layout: Layout, base_model: str) -> None:
    """Device, precision and batches."""
    logger.info(
        "Base model %s on %s, precision %s, %s batches, %d rows at once x %d x %d processes = %d rows per step",
        base_model,
        chosen.device,
        chosen.precision,
        layout.name,
        arguments.per_device_train_batch_size,
        arguments.gradient_accumulation_steps,
        arguments.world_size,
        arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size,
    )


def result(metrics: dict[str, float], best_epoch: float) -> None:
    """The test part, and what guessing the majority would have given."""
    shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items() if not name.startswith("baseline"))
    logger.info("Test part, weights of epoch %g: %s", best_epoch, shown)
    logger.info(
        "Always guessing the majority class gives on the same rows: f1 %.4f, accuracy %.4f",
        metrics["baseline_f1"],
        metrics["baseline_accuracy"],
    )
