"""Words for the fixed values of a run: status badges, parts of a sheet, choices of hyperparameters."""

from typing import Any

from django.db.models import Field
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from config.display import badge
from runs_app.choices import Status
from runs_app.models import Run

METRIC_WORDS: dict[str, Any] = {
    "f1": _("F1"),
    "accuracy": _("accuracy"),
    "precision": _("precision"),
    "recall": _("recall"),
    "loss": _("loss"),
    "baseline_f1": _("F1 of always answering the most frequent label"),
    "baseline_accuracy": _("accuracy of always answering the most frequent label"),
}
OPTION_WORDS: dict[str, dict[str, Any]] = {
    "lr_scheduler": {
        "linear": _("linear decrease"),
        "cosine": _("cosine decrease"),
        "constant": _("constant"),
        "constant_with_warmup": _("constant after warm-up"),
        "polynomial": _("polynomial decrease"),
    },
    "metric_for_best": METRIC_WORDS,
    "class_weights": {"none": _("all rows count the same"), "balanced": _("rare labels count more")},
    "long_text": {
        "truncate": _("keep the beginning"),
        "head_tail": _("keep beginning and end"),
        "windows": _("read all in overlapping windows"),
    },
    "precision": {"auto": _("automatic"), "fp32": "fp32", "bf16": "bf16", "fp16": "fp16"},
}


def status_badge(status: str) -> str:
    """The status as a coloured word."""
    return badge(status, Status(status).label)


def option_word(name: str, value: Any) -> Any:
    """The word for a choice; the value itself where there is none."""
    return OPTION_WORDS.get(name, {}).get(value, value)


def parameter_label(name: str) -> str:
    """What people call a hyperparameter."""
    field = Run._meta.get_field(name)
    assert isinstance(field, Field)
    return str(capfirst(field.verbose_name))
