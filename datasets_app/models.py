"""The dataset: a sheet as it was uploaded, how its columns are read, and what was found in it."""

import uuid
from functools import partial
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from datasets_app.querysets import DatasetQuerySet


class TaskType(models.TextChoices):
    """The two things that a sheet can teach."""

    TEXT_CLASSIFICATION = "text_classification", _("Text classification")
    TOKEN_CLASSIFICATION = "token_classification", _("Entity recognition (NER)")


def storage_name(instance: "Dataset", filename: str) -> str:
    """A name of our own: what a stranger called the file never reaches the disk."""
    return f"datasets/{uuid.uuid4().hex}.xlsx"


class Dataset(models.Model):
    """One sheet. Never edited after its upload but for its name and description; runs add what they measured."""

    name = models.CharField(_("name"), max_length=200)
    description = models.TextField(_("description"), blank=True)
    task_type = models.CharField(_("task"), max_length=32, choices=TaskType.choices)
    file = models.FileField(_("sheet file"), upload_to=storage_name)
    sha256_hash = models.CharField(_("SHA-256"), max_length=64)
    size_bytes = models.BigIntegerField(_("size (bytes)"))
    original_filename = models.CharField(_("original file name"), max_length=255)
    sheet = models.CharField(_("sheet"), max_length=100)
    columns = models.JSONField(_("columns"), default=dict)  # role -> header
    repair_bio = models.BooleanField(_("repair BIO tags"), default=False)
    mapping_key = models.CharField(max_length=64, editable=False)  # hash of task, sheet, columns and repair_bio
    num_rows = models.PositiveIntegerField(_("examples"))
    labels = models.JSONField(_("labels"), default=list)  # [{name, count}], tag strings for tokens
    report = models.JSONField(_("quality report"), default=dict)
    token_lengths = models.JSONField(_("token lengths"), default=dict, editable=False)  # base model -> as kept
    previous = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, verbose_name=_("previous version"), related_name="next_versions"
    )
    version = models.PositiveIntegerField(_("version"), default=1)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, verbose_name=_("uploaded by"), related_name="+"
    )
    created_at = models.DateTimeField(_("uploaded at"), auto_now_add=True)

    objects = DatasetQuerySet.as_manager()

    class Meta:
        db_table = "bert_datasets"
        verbose_name = _("dataset")
        verbose_name_plural = _("datasets")
        ordering = ["-id"]
        indexes = [models.Index(fields=["sha256_hash"], name="ix_bert_datasets_sha256_hash")]
        constraints = [
            models.UniqueConstraint(fields=["sha256_hash", "mapping_key"], name="uq_bert_datasets_same_sheet"),
            models.CheckConstraint(
                condition=models.Q(task_type__in=TaskType.values), name="ck_bert_datasets_task_type"
            ),
        ]

    def __str__(self) -> str:
        if self.version == 1:
            return self.name
        return gettext("%(name)s (version %(number)d)") % {"name": self.name, "number": self.version}

    @property
    def label_names(self) -> list[str]:
        """The labels, or tag strings, in the order that a model is trained with."""
        return [item["name"] for item in self.labels]

    @property
    def warnings(self) -> list[dict[str, Any]]:
        """What was noticed and does not refuse the sheet: [{code, count, rows}]."""
        return self.report.get("warnings", [])

    @property
    def whole_report(self) -> dict[str, Any]:
        """The report of the upload, and beside it what runs measured since: `token_lengths` by base model."""
        return {**self.report, "token_lengths": self.token_lengths} if self.token_lengths else self.report


def staged_name(instance: "StagedUpload", filename: str) -> str:
    """Apart from the datasets, so that what is left behind by a crash can be told."""
    return f"staged/{uuid.uuid4().hex}.xlsx"


class StagedUpload(models.Model):
    """A sheet between the steps of its upload, of one person; gone once it is confirmed, cancelled or too old."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    file = models.FileField(upload_to=staged_name)
    sha256_hash = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField()
    original_filename = models.CharField(max_length=255)
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    previous = models.ForeignKey(Dataset, null=True, on_delete=models.SET_NULL, related_name="+")
    look = models.JSONField(default=dict)  # as looking.look_at
    choice = models.JSONField(default=dict)  # the fields of SheetChoice
    report = models.JSONField(default=dict)  # the whole DatasetReport, once the sheet was found valid
    difference = models.JSONField(default=dict)  # from the previous version, as comparing.compare_sheets
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "bert_staged_uploads"
        default_permissions = ()

    def __str__(self) -> str:
        return self.original_filename


@receiver(post_delete, sender=StagedUpload)
def remove_staged_file(instance: StagedUpload, **_signal: Any) -> None:
    """However the row went, its person's account included, the bytes go with it once that is final."""
    transaction.on_commit(partial(instance.file.storage.delete, instance.file.name or ""))
