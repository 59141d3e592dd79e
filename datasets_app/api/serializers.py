"""Datasets on the wire."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from config.fields import BoundedIntegerField
from datasets_app.models import Dataset, TaskType
from datasets_app.services import MAX_DESCRIPTION_CHARS, MAX_NAME_CHARS, SheetChoice


class SheetSerializer(serializers.Serializer[Any]):
    """A file and how to read it; what is left out is found by the reader."""

    file = serializers.FileField(allow_empty_file=True, help_text=_("An .xlsx workbook."))
    task_type = serializers.ChoiceField(choices=TaskType.choices, required=False, allow_blank=True, default="")
    sheet = serializers.CharField(max_length=100, required=False, allow_blank=True, default="", trim_whitespace=False)
    text_column = serializers.CharField(max_length=1000, required=False, allow_blank=True, default="")
    label_column = serializers.CharField(max_length=1000, required=False, allow_blank=True, default="")
    tokens_column = serializers.CharField(max_length=1000, required=False, allow_blank=True, default="")
    tags_column = serializers.CharField(max_length=1000, required=False, allow_blank=True, default="")
    repair_bio = serializers.BooleanField(required=False, default=False)

    def choice(self) -> SheetChoice:
        """The validated parameters, without the file."""
        names = SheetChoice.__dataclass_fields__
        return SheetChoice(**{name: self.validated_data[name] for name in names})


class UploadSerializer(SheetSerializer):
    """The same with a name to keep it by."""

    name = serializers.CharField(max_length=MAX_NAME_CHARS)
    description = serializers.CharField(max_length=MAX_DESCRIPTION_CHARS, required=False, allow_blank=True, default="")
    previous = serializers.PrimaryKeyRelatedField(
        queryset=Dataset.objects.all(),
        pk_field=BoundedIntegerField(),
        required=False,
        allow_null=True,
        default=None,
        help_text=_("The dataset that this one is the next version of; of the same task."),
    )


class DatasetSerializer(serializers.ModelSerializer[Dataset]):
    """A stored dataset."""

    sha256 = serializers.CharField(source="sha256_hash")
    report = serializers.JSONField(source="whole_report", read_only=True)
    created_by = serializers.CharField(source="created_by.username", default=None)

    class Meta:
        model = Dataset
        fields = [
            "id",
            "name",
            "description",
            "task_type",
            "sha256",
            "size_bytes",
            "original_filename",
            "sheet",
            "columns",
            "repair_bio",
            "num_rows",
            "labels",
            "report",
            "previous",
            "version",
            "created_by",
            "created_at",
        ]
