"""A new run: dataset, base model and the hyperparameters with the ranges and defaults of `hyperparameters.py`."""

import json
from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from config.display import parameter
from config.fields import MAX_INT
from datasets_app.models import Dataset
from runs_app.admin.words import OPTION_WORDS, parameter_label
from runs_app.hyperparameters import HYPERPARAMETERS, Choice, Number, Parameter, Switch
from runs_app.models import BaseModel, Run
from runs_app.presets import CUSTOM, CUSTOM_LABEL, CUSTOM_USE, PRESETS, preset_of
from runs_app.services.runs import DEFAULT_SEED

MAX_PRIORITY = 1000
BASIC = ["epochs", "learning_rate", "batch_size", "max_length"]
ADVANCED = [name for name in HYPERPARAMETERS if name not in BASIC]
HELP = {
    "epochs": gettext_lazy("How often the model sees every example, at most; it stops earlier when nothing improves."),
    "learning_rate": gettext_lazy("How large each correction is. 2e-5 to 5e-5 suits BERT."),
    "batch_size": gettext_lazy("Examples per correction. The worker divides it by itself when its memory is small."),
    "max_length": gettext_lazy("Tokens of a text that the model reads. Longer takes more time and memory."),
    "train_split": gettext_lazy("The rest is shared equally by validation and test."),
    "early_stopping_patience": gettext_lazy("Epochs without improvement before it stops. 0: never."),
    "long_text": gettext_lazy("What becomes of texts beyond the maximum length."),
    "window_stride": gettext_lazy("Only for windows: how much neighbouring windows share."),
    "gradient_checkpointing": gettext_lazy("Needs less memory and takes about a third more time."),
    "class_weights": gettext_lazy(
        "Balanced lets rare labels count more. Measured: it helps where one label fills most of the sheet, "
        "and harms entities."
    ),
    "label_smoothing": gettext_lazy("Share of each label that is spread over all: for doubtful labels. 0: off."),
    "layer_lr_decay": gettext_lazy(
        "Each layer learns at so much of the rate of the one above it: keeps more of the base model. 1: all alike."
    ),
}


class NumberField(forms.CharField):
    """A number as people write it: 5e-5 or 0,00005."""

    def __init__(self, rule: Number, **kwargs: Any) -> None:
        widget = forms.TextInput({"inputmode": "decimal", "size": 8})
        super().__init__(initial=number_word(rule.default), widget=widget, **kwargs)
        self.rule = rule

    def clean(self, value: Any) -> Any:
        """The number, within the limits of the rule. Raises ValidationError."""
        text = super().clean(value)
        try:
            return self.rule.parse(text)
        except (ValueError, OverflowError) as error:
            raise forms.ValidationError(str(error)) from error


class DatasetField(forms.ModelChoiceField):
    """Datasets with what one chooses them by."""

    default_error_messages = {"invalid_choice": gettext_lazy("This dataset is not there any more. Choose another one.")}

    def label_from_instance(self, dataset: Any) -> str:
        """Name, size, task."""
        rows = _("%(rows)s examples") % {"rows": number_format(dataset.num_rows, force_grouping=True)}
        return f"{dataset} · {rows} · {dataset.get_task_type_display()}"


def hyperparameter_field(name: str, rule: Parameter) -> forms.Field:
    """The field of one hyperparameter."""
    words: dict[str, Any] = {"label": parameter_label(name), "help_text": _help(name, rule)}
    if isinstance(rule, Switch):
        return forms.BooleanField(required=False, initial=rule.default, **words)
    if isinstance(rule, Choice):
        options = [(option, OPTION_WORDS.get(name, {}).get(option, option)) for option in rule.options]
        return forms.ChoiceField(choices=options, initial=rule.default, **words)
    return NumberField(rule, **words)


def _help(name: str, rule: Parameter) -> str:
    """What it does, and its range as the reader writes numbers (a form is made per request)."""
    told = str(HELP.get(name, ""))
    if not isinstance(rule, Number):
        return told
    limits = {"low": number_word(rule.low), "high": number_word(rule.high)}
    return f"{told} {_limits(rule) % limits}".strip()


def _limits(rule: Number) -> str:
    if rule.above:
        return _("Above %(low)s, at most %(high)s.")
    return _("From %(low)s, below %(high)s.") if rule.below else _("From %(low)s to %(high)s.")


def number_word(value: float) -> str:
    """A limit or default without a needless ",0"."""
    return parameter(int(value) if float(value).is_integer() else value)


def field_word(value: Any) -> str:
    """A hyperparameter as its field holds it; a switch that is off holds nothing."""
    if isinstance(value, bool):
        return "on" if value else ""
    return value if isinstance(value, str) else number_word(value)


def field_words(values: Mapping[str, Any]) -> dict[str, str]:
    """All of them by name."""
    return {name: field_word(values[name]) for name in HYPERPARAMETERS}


class PresetSelect(forms.RadioSelect):
    """Each button carries what it puts into the fields, for the script of the page."""

    def render(self, *args: Any, **kwargs: Any) -> Any:
        """Named as a group: Django's label beside it belongs to no button."""
        return format_html(
            '<div role="radiogroup" aria-label="{}">{}</div>', _("Preset"), super().render(*args, **kwargs)
        )

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Django's option with `data-values`."""
        option = super().create_option(name, value, *args, **kwargs)
        if value in PRESETS:
            option["attrs"]["data-values"] = json.dumps(field_words(PRESETS[value].values))
        return option


def _preset_choice(label: Any, use: Any) -> Any:
    return format_html('<strong>{}</strong> <span class="help">{}</span>', label, use)


class NewRunForm(forms.Form):
    """Everything that a run needs; `hyperparameters` gathers those fields for the service.

    A preset other than `custom` fills all of them, whatever was sent beside it.
    """

    preset = forms.ChoiceField(label=gettext_lazy("Preset"), required=False, initial="recommended", widget=PresetSelect)
    dataset = DatasetField(queryset=Dataset.objects.order_by("-id"), label=gettext_lazy("Dataset"))
    base_model = forms.ChoiceField(label=gettext_lazy("Base model"))
    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=200,
        required=False,
        widget=forms.TextInput({"class": "vTextField"}),
        help_text=gettext_lazy("Empty: made from the dataset and the base model."),
    )
    seed = forms.IntegerField(
        label=gettext_lazy("Seed"),
        min_value=0,
        max_value=MAX_INT,
        initial=DEFAULT_SEED,
        help_text=gettext_lazy("The same seed splits the sheet in the same way and repeats the same training."),
    )
    priority = forms.IntegerField(
        label=gettext_lazy("Priority"),
        min_value=-MAX_PRIORITY,
        max_value=MAX_PRIORITY,
        initial=0,
        help_text=gettext_lazy("Higher comes first in the queue."),
    )
    notes = forms.CharField(
        label=gettext_lazy("Notes"),
        max_length=10_000,
        required=False,
        widget=forms.Textarea({"rows": 3, "class": "vLargeTextField"}),
    )

    def __init__(self, data: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(data if data is None else _with_preset(data), **kwargs)
        preset = self.fields["preset"]
        assert isinstance(preset, forms.ChoiceField)
        preset.choices = [
            *((each.name, _preset_choice(each.label, each.use)) for each in PRESETS.values()),
            (CUSTOM, _preset_choice(CUSTOM_LABEL, CUSTOM_USE)),
        ]
        offered = list(BaseModel.objects.offered())
        base_model = self.fields["base_model"]
        assert isinstance(base_model, forms.ChoiceField)
        base_model.choices = [(entry.model_id, _model_label(entry)) for entry in offered]
        for name, rule in HYPERPARAMETERS.items():
            self.fields[name] = hyperparameter_field(name, rule)

    def hyperparameters(self) -> dict[str, Any]:
        """By name, each right by itself; rules between two of them are the service's."""
        return {name: self.cleaned_data[name] for name in HYPERPARAMETERS}

    def as_shown(self) -> dict[str, str]:
        """What a browser would send of the form as it stands, so that its plan can be judged before anyone sends it."""
        values = {name: self[name].value() for name in self.fields}
        return {name: str(value) for name, value in values.items() if value is not None and value is not False}


def _with_preset(data: Mapping[str, Any]) -> Mapping[str, Any]:
    preset = PRESETS.get(data.get("preset", ""))
    return data if preset is None else {**{name: data[name] for name in data}, **field_words(preset.values)}


def initial_of(source: Run) -> dict[str, Any]:
    """A new run's fields filled from another run, for what shall be the same but for a few of them."""
    values = source.hyperparameters
    inputs = {"dataset": source.dataset_id, "base_model": source.base_model, "seed": source.seed}
    return {**inputs, **field_words(values), "preset": preset_of(values), "notes": source.notes}


def _model_label(entry: BaseModel) -> str:
    recommended = _(" (recommended)") if entry.recommended else ""
    if not entry.parameter_count:
        return f"{entry}{recommended}"
    size = _("%(count)d million parameters") % {"count": round(entry.parameter_count / 1e6)}
    return f"{entry}{recommended} · {size}"


SECTIONS = [
    (None, {"fields": ["dataset", "base_model", "preset", "name"]}),
    (gettext_lazy("Training"), {"fields": BASIC, "classes": ["collapse"]}),
    (gettext_lazy("Advanced"), {"fields": [*ADVANCED, "seed"], "classes": ["collapse"]}),
    (gettext_lazy("Queue and notes"), {"fields": ["priority", "notes"]}),
]


class ReproduceForm(forms.Form):
    """An optional name for the new run."""

    name = forms.CharField(
        label=gettext_lazy("Name of the new run"),
        max_length=200,
        required=False,
        widget=forms.TextInput({"class": "vTextField"}),
        help_text=gettext_lazy("Empty: the name of this run with a remark."),
    )
