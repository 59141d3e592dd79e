"""Ready sets of hyperparameters, for people who would rather not choose each one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

from runs_app.hyperparameters import HYPERPARAMETERS

CUSTOM = "custom"
DEFAULTS = {name: rule.default for name, rule in HYPERPARAMETERS.items()}


@dataclass(frozen=True)
class Preset:
    """A name, what it is good for, and every hyperparameter."""

    name: str
    label: Any
    use: Any
    values: Mapping[str, Any]


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "fast",
            _("Fast"),
            _("3 epochs, 128 tokens: shows early whether the data teach anything."),
            {**DEFAULTS, "epochs": 3, "max_length": 128},
        ),
        Preset("recommended", _("Recommended"), _("Up to 10 epochs, 256 tokens: right for most sheets."), DEFAULTS),
        Preset(
            "careful",
            _("Careful"),
            _("Up to 20 epochs, 512 tokens, small corrections, patience 5: for the final model."),
            {**DEFAULTS, "epochs": 20, "max_length": 512, "learning_rate": 2e-5, "early_stopping_patience": 5},
        ),
    )
}
CUSTOM_LABEL, CUSTOM_USE = _("Custom"), _("The values below, each chosen by you.")


def preset_of(values: Mapping[str, Any]) -> str:
    """The name of the preset with exactly these hyperparameters, else `custom`."""
    return next((preset.name for preset in PRESETS.values() if preset.values == values), CUSTOM)


def preset_label(name: str) -> str:
    """What people call it."""
    return str(PRESETS[name].label if name in PRESETS else CUSTOM_LABEL)
