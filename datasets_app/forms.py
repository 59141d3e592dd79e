"""The upload of a sheet."""

from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from datasets_app.models import TaskType
from datasets_app.services import SheetChoice

TEXT = {"class": "vTextField"}
XLSX_ACCEPT = ".xlsx,application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class UploadForm(forms.Form):
    """A file with a name to keep it by; how to read it may be left to the reader."""

    file = forms.FileField(
        label=gettext_lazy("Excel sheet (.xlsx)"),
        allow_empty_file=True,
        widget=forms.FileInput(attrs={"accept": XLSX_ACCEPT}),
    )
    name = forms.CharField(label=gettext_lazy("Name"), max_length=200, widget=forms.TextInput(TEXT))
    description = forms.CharField(
        label=gettext_lazy("Description"),
        max_length=10_000,
        required=False,
        widget=forms.Textarea({"rows": 3, "class": "vLargeTextField"}),
        help_text=gettext_lazy("Where the texts come from, who labelled them, what the labels mean."),
    )
    task_type = forms.ChoiceField(
        label=gettext_lazy("Task"),
        choices=[("", gettext_lazy("Find out from the columns")), *TaskType.choices],
        required=False,
    )
    sheet = forms.CharField(
        label=gettext_lazy("Sheet of the workbook"),
        max_length=100,
        required=False,
        strip=False,
        widget=forms.TextInput(TEXT),
        help_text=gettext_lazy("Empty: the first visible sheet whose header fits."),
    )
    text_column = forms.CharField(
        label=gettext_lazy("Text column"), max_length=1000, required=False, widget=forms.TextInput(TEXT)
    )
    label_column = forms.CharField(
        label=gettext_lazy("Label column"), max_length=1000, required=False, widget=forms.TextInput(TEXT)
    )
    tokens_column = forms.CharField(
        label=gettext_lazy("Tokens column"), max_length=1000, required=False, widget=forms.TextInput(TEXT)
    )
    tags_column = forms.CharField(
        label=gettext_lazy("Tags column"), max_length=1000, required=False, widget=forms.TextInput(TEXT)
    )
    repair_bio = forms.BooleanField(
        label=gettext_lazy("Repair BIO tags"),
        required=False,
        help_text=gettext_lazy("An I-X that begins an entity is read as B-X; the report says how many were."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        limits = {"size": settings.MAX_UPLOAD_MB}
        self.fields["file"].help_text = (
            _("With a header row: text and label, or tokens and tags. At most %(size)d MB.") % limits
        )

    def choice(self) -> SheetChoice:
        """How the person wants the sheet to be read."""
        return SheetChoice(**{name: self.cleaned_data[name] for name in SheetChoice.__dataclass_fields__})


SECTIONS = [
    (None, {"fields": ["file", "name", "description"]}),
    (
        gettext_lazy("How to read the sheet (only where it is not found by itself)"),
        {
            "fields": [
                "task_type",
                "sheet",
                ("text_column", "label_column"),
                ("tokens_column", "tags_column"),
                "repair_bio",
            ],
            "classes": ["collapse"],
        },
    ),
]
