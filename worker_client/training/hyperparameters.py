"""The knobs of a run, under our names (CONTRACT section 9), checked before anything expensive starts."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Self

from worker_client.errors import FailureReason, TrainingFailed

SCHEDULERS = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
)


@dataclass(frozen=True)
class Hyperparameters:
    """Values as the person meant them; the mapping to the library's names is in trainer.py."""

    learning_rate: float = 5e-5
    batch_size: int = 16  # rows per optimizer step, whatever fits on the device at once
    epochs: int = 10
    max_length: int = 256  # sub-tokens, special ones included
    train_split: float = 0.8  # validation and test share the rest equally
    weight_decay: float = 0.01
    warmup_ratio: float = 0.1  # share of all steps
    lr_scheduler: str = "linear"
    early_stopping_patience: int = 3  # epochs without a better figure; 0 = off
    metric_for_best: str = "f1"
    class_weights: str = "none"
    long_text: str = "truncate"
    window_stride: int = 128  # sub-tokens that two neighbouring windows share
    precision: str = "auto"
    gradient_checkpointing: bool = False
    save_every_minutes: float = 5.0  # 0 = only at the end of an epoch
    label_smoothing: float = 0.0  # share of each label that is spread over all labels
    layer_lr_decay: float = 1.0  # rate of a layer as a share of the one above it

    @classmethod
    def from_spec(cls, values: dict[str, Any]) -> Self:
        """Fill the defaults in. Raises TrainingFailed(invalid_data) for an unknown name or a value out of range."""
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise _refusal(f"Unknown hyperparameter: {', '.join(unknown)}. Known: {', '.join(sorted(RULES))}.")
        return cls(**{name: _checked(name, value) for name, value in values.items()})


def _number(low: float, high: float, *, whole: bool = False) -> Callable[[Any], float | int | None]:
    def check(value: Any) -> float | int | None:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return None
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return None
        if not low <= number <= high or (whole and number != int(number)):
            return None
        return int(number) if whole else number

    return check


def _one_of(*allowed: Any) -> Callable[[Any], Any]:
    return lambda value: value if value in allowed else None


Rule = tuple[Callable[[Any], Any], str]
RULES: dict[str, Rule] = {
    "learning_rate": (_number(sys.float_info.min, 1.0), "a number above 0 and at most 1"),
    "batch_size": (_number(1, 4096, whole=True), "a whole number from 1 to 4096"),
    "epochs": (_number(1, 1000, whole=True), "a whole number from 1 to 1000"),
    "max_length": (_number(8, 32_768, whole=True), "a whole number from 8 to 32768"),
    "train_split": (_number(0.1, 0.98), "a share from 0.1 to 0.98"),
    "weight_decay": (_number(0.0, 1.0), "a number from 0 to 1"),
    "warmup_ratio": (_number(0.0, 0.99), "a share from 0 to 0.99"),
    "lr_scheduler": (_one_of(*SCHEDULERS), f"one of {', '.join(SCHEDULERS)}"),
    "early_stopping_patience": (_number(0, 1000, whole=True), "a whole number from 0 to 1000"),
    "metric_for_best": (
        _one_of("f1", "accuracy", "precision", "recall", "loss"),
        "one of f1, accuracy, precision, recall, loss",
    ),
    "class_weights": (_one_of("none", "balanced"), "none or balanced"),
    "long_text": (_one_of("truncate", "head_tail", "windows"), "one of truncate, head_tail, windows"),
    "window_stride": (_number(0, 32_768, whole=True), "a whole number from 0 to 32768"),
    "precision": (_one_of("auto", "fp32", "bf16", "fp16"), "one of auto, fp32, bf16, fp16"),
    "gradient_checkpointing": (_one_of(True, False), "true or false"),
    "save_every_minutes": (_number(0, 100_000), "minutes from 0 to 100000"),
    "label_smoothing": (_number(0.0, math.nextafter(1.0, 0.0)), "a share from 0, below 1"),
    "layer_lr_decay": (_number(sys.float_info.min, 1.0), "a number above 0 and at most 1"),
}


def _checked(name: str, value: Any) -> Any:
    check, wanted = RULES[name]
    accepted = check(value)
    if accepted is None:
        raise _refusal(
            f"Hyperparameter {name} must be {wanted}, not {value!r}. Create the run again with such a value."
        )
    return accepted


def _refusal(message: str) -> TrainingFailed:
    return TrainingFailed(FailureReason.INVALID_DATA, message)
