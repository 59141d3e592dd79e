"""The hyperparameters of a run: names, defaults and limits (CONTRACT section 9), said once for form and serializer."""

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from config.display import parameter

TRUE_WORDS = frozenset({"true", "1", "on", "yes"})
FALSE_WORDS = frozenset({"false", "0", "off", "no"})


@dataclass(frozen=True)
class Number:
    """A number between `low` and `high`; `above` excludes `low` itself, `below` excludes `high`."""

    default: float
    low: float
    high: float
    integer: bool = False
    above: bool = False
    below: bool = False

    def check(self, value: Any) -> Any:
        """The value in its type. Raises ValueError with a sentence."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(_("Enter a number."))
        # Written so that NaN, for which every comparison is false, is refused too.
        if not (self.low <= value <= self.high) or value in self._excluded():
            raise ValueError(self._range())
        if self.integer and value != int(value):
            raise ValueError(_("Enter a whole number."))
        return int(value) if self.integer else float(value)

    def parse(self, text: str) -> Any:
        """From a form field or `--set name=value`; a decimal comma is read too."""
        try:
            number = float(text.strip().replace(",", "."))
        except ValueError:
            raise ValueError(_("Enter a number.")) from None
        return self.check(number)

    def _excluded(self) -> list[float]:
        return [end for end, out in ((self.low, self.above), (self.high, self.below)) if out]

    def _range(self) -> str:
        limits = {"low": parameter(self.low), "high": parameter(self.high)}
        if self.above:
            return _("Enter a number above %(low)s and at most %(high)s.") % limits
        if self.below:
            return _("Enter a number from %(low)s, but below %(high)s.") % limits
        return _("Enter a number between %(low)s and %(high)s.") % limits


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    default: str
    options: tuple[str, ...]

    def check(self, value: Any) -> str:
        """The word. Raises ValueError naming the options."""
        if value not in self.options:
            raise ValueError(_("Choose one of: %(options)s.") % {"options": ", ".join(self.options)})
        return str(value)

    def parse(self, text: str) -> str:
        """From a form field or `--set name=value`."""
        return self.check(text.strip())


@dataclass(frozen=True)
class Switch:
    """True or false."""

    default: bool

    def check(self, value: Any) -> bool:
        """The truth value. Raises ValueError on anything but a JSON boolean."""
        if not isinstance(value, bool):
            raise ValueError(_("Enter true or false."))
        return value

    def parse(self, text: str) -> bool:
        """From `--set name=true`."""
        word = text.strip().lower()
        if word not in TRUE_WORDS | FALSE_WORDS:
            raise ValueError(_("Enter true or false."))
        return word in TRUE_WORDS


Parameter = Number | Choice | Switch

METRICS = ("f1", "accuracy", "precision", "recall", "loss")

HYPERPARAMETERS: dict[str, Parameter] = {
    "learning_rate": Number(5e-5, 0, 1, above=True),
    "batch_size": Number(16, 1, 1024, integer=True),
    "epochs": Number(10, 1, 1000, integer=True),
    "max_length": Number(256, 8, 8192, integer=True),
    "train_split": Number(0.8, 0.1, 0.98),
    "weight_decay": Number(0.01, 0, 1),
    "warmup_ratio": Number(0.1, 0, 0.99),
    "lr_scheduler": Choice("linear", ("linear", "cosine", "constant", "constant_with_warmup", "polynomial")),
    "early_stopping_patience": Number(3, 0, 1000, integer=True),
    "metric_for_best": Choice("f1", METRICS),
    "class_weights": Choice("none", ("none", "balanced")),
    "long_text": Choice("truncate", ("truncate", "head_tail", "windows")),
    "window_stride": Number(128, 1, 4096, integer=True),
    "precision": Choice("auto", ("auto", "fp32", "bf16", "fp16")),
    "gradient_checkpointing": Switch(False),
    "save_every_minutes": Number(5, 0, 1440),
    "label_smoothing": Number(0, 0, 1, below=True),
    "layer_lr_decay": Number(1, 0, 1, above=True),
}
# Workers of an earlier release refuse names that they do not know: these are ordered only where they change something.
ADDED = ("label_smoothing", "layer_lr_decay")


class InvalidHyperparameters(ValueError):
    """`errors` maps each field at fault to its sentences."""

    def __init__(self, errors: dict[str, list[str]]) -> None:
        super().__init__("; ".join(f"{name}: {' '.join(messages)}" for name, messages in errors.items()))
        self.errors = errors


def resolve(given: dict[str, Any]) -> dict[str, Any]:
    """All hyperparameters: the given ones checked, the others at their defaults.

    Raises InvalidHyperparameters that names every unknown or unacceptable field, not only the first.
    """
    values: dict[str, Any] = {name: parameter.default for name, parameter in HYPERPARAMETERS.items()}
    errors: dict[str, list[str]] = {}
    for name, value in given.items():
        if name not in HYPERPARAMETERS:
            errors[name] = [_("Unknown hyperparameter. Known: %(known)s.") % {"known": ", ".join(HYPERPARAMETERS)}]
            continue
        try:
            values[name] = HYPERPARAMETERS[name].check(value)
        except ValueError as error:
            errors[name] = [str(error)]
    if "window_stride" not in given and values["long_text"] == "windows":
        # Nobody is refused for a default; short windows share at most half.
        values["window_stride"] = min(values["window_stride"], values["max_length"] // 2)
    errors.update(_cross_checks(values, errors))
    if errors:
        raise InvalidHyperparameters(errors)
    return values


def as_ordered(values: dict[str, Any]) -> dict[str, Any]:
    """What a worker is told of all hyperparameters; a name that is missing means its default."""
    return {
        name: value for name, value in values.items() if name not in ADDED or value != HYPERPARAMETERS[name].default
    }


def _cross_checks(values: dict[str, Any], errors: dict[str, list[str]]) -> dict[str, list[str]]:
    """Rules between two fields, asked only when each is right by itself."""
    if {"window_stride", "max_length"} & errors.keys() or values["long_text"] != "windows":
        return {}
    if values["window_stride"] >= values["max_length"]:
        return {"window_stride": [_("The window stride must be smaller than max_length.")]}
    return {}
