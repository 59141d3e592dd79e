"""The upload of a sheet: the file, then its columns."""

from typing import Any

from django import forms
from django.conf import settings
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from datasets_app.messages import too_large_sentence
from datasets_app.models import Dataset, StagedUpload, TaskType
from datasets_app.services import MAX_DESCRIPTION_CHARS, MAX_NAME_CHARS, SheetChoice
from worker_client.formats.columns import ROLES

TEXT = {"class": "vTextField"}
XLSX_ACCEPT = ".xlsx,application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class FileForm(forms.Form):
    """Step 1: a file with a name to keep it by."""

    file = forms.FileField(
        label=gettext_lazy("Excel sheet (.xlsx)"),
        allow_empty_file=True,
        widget=forms.FileInput(attrs={"accept": XLSX_ACCEPT}),
    )
    name = forms.CharField(label=gettext_lazy("Name"), max_length=MAX_NAME_CHARS, widget=forms.TextInput(TEXT))
    description = forms.CharField(
        label=gettext_lazy("Description"),
        max_length=MAX_DESCRIPTION_CHARS,
        required=False,
        widget=forms.Textarea({"rows": 3, "class": "vLargeTextField"}),
        help_text=gettext_lazy("Where the texts come from, who labelled them, what the labels mean."),
    )
    previous = forms.ModelChoiceField(
        label=gettext_lazy("Next version of"),
        queryset=Dataset.objects.all(),
        required=False,
        widget=forms.HiddenInput,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        limits = {"size": settings.MAX_UPLOAD_MB, "rows": number_format(settings.MAX_DATASET_ROWS, force_grouping=True)}
        said = _("With a header row: text and label, or tokens and tags. At most %(size)d MB and %(rows)s rows.")
        self.fields["file"].help_text = said % limits
        # Told before it is sent: what is far too long is refused half-way, and a browser then does not say why.
        refused = {"data-max-bytes": settings.MAX_UPLOAD_MB * 2**20, "data-too-large": too_large_sentence()}
        self.fields["file"].widget.attrs.update(refused)


class ColumnsForm(forms.Form):
    """Step 2: what each column is. The choices are what was found in the file."""

    task_type = forms.ChoiceField(label=gettext_lazy("Task"), choices=TaskType.choices)
    text_column = forms.ChoiceField(label=gettext_lazy("Text column"), required=False)
    label_column = forms.ChoiceField(label=gettext_lazy("Label column"), required=False)
    tokens_column = forms.ChoiceField(label=gettext_lazy("Tokens column"), required=False)
    tags_column = forms.ChoiceField(label=gettext_lazy("Tags column"), required=False)
    repair_bio = forms.BooleanField(
        label=gettext_lazy("Repair BIO tags"),
        required=False,
        help_text=gettext_lazy("An I-X that begins an entity is read as B-X; the report says how many were."),
    )

    def __init__(self, staged: StagedUpload, data: Any = None) -> None:
        self.staged = staged
        super().__init__(data, initial=self._first_guess())
        offered = [("", _("choose a column")), *((header, header) for header in staged.look["headers"])]
        for name in self._column_names():
            _offer(self.fields[name], offered)
        if staged.previous is not None:  # a version of another task would be another dataset
            same = [choice for choice in TaskType.choices if choice[0] == staged.previous.task_type]
            _offer(self.fields["task_type"], same)

    def clean(self) -> dict[str, Any]:
        """Both columns of the task, and not the same one."""
        values = super().clean() or {}
        roles = ROLES.get(values.get("task_type", ""), ())
        names = [f"{role}_column" for role in roles]
        for name in names:
            if not values.get(name) and name not in self.errors:
                self.add_error(name, _("Choose the column."))
        chosen = [values.get(name) for name in names]
        if len(chosen) == 2 and chosen[0] and chosen[0] == chosen[1]:
            self.add_error(names[1], _("One column cannot be both."))
        return values

    def choice(self) -> SheetChoice:
        """How the person wants the sheet to be read; columns of the other task do not count."""
        task_type = self.cleaned_data["task_type"]
        columns = {f"{role}_column": self.cleaned_data[f"{role}_column"] for role in ROLES[task_type]}
        repair_bio = self.cleaned_data["repair_bio"] and task_type == TaskType.TOKEN_CLASSIFICATION
        return SheetChoice(task_type=task_type, sheet=self.staged.look["sheet"], repair_bio=repair_bio, **columns)

    def _first_guess(self) -> dict[str, Any]:
        """What was chosen before, else as in the previous version, else what the headers say."""
        if self.staged.choice:
            return self.staged.choice
        look, previous = self.staged.look, self.staged.previous
        columns = dict(look["columns"])
        if previous is not None:
            columns |= {role: name for role, name in previous.columns.items() if name in look["headers"]}
        guess = {f"{role}_column": header for role, header in columns.items()}
        if previous is not None:
            return {"task_type": previous.task_type, "repair_bio": previous.repair_bio, **guess}
        return {"task_type": look["task_type"], **guess}

    @staticmethod
    def _column_names() -> list[str]:
        return [f"{role}_column" for roles in ROLES.values() for role in roles]


def _offer(field: forms.Field, choices: list[Any]) -> None:
    assert isinstance(field, forms.ChoiceField)
    field.choices = choices


COLUMN_SECTIONS = [
    (
        None,
        {"fields": ["task_type", ("text_column", "label_column"), ("tokens_column", "tags_column"), "repair_bio"]},
    )
]
