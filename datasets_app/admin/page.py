"""What the page of a dataset shows beside its form: facts, findings, labels; all of it from the stored report."""

from typing import Any

from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from config.display import figure
from datasets_app.admin.findings import finding_sentence, row_words
from datasets_app.admin.quality import (
    beyond_sentences,
    change_sentences,
    entity_words,
    identifier_sentences,
    lengths,
    measured_sentences,
    split_sentences,
)
from datasets_app.models import Dataset, TaskType

LABELS_SHOWN = 200
ROLE_WORDS = {
    "text": gettext_lazy("text"),
    "label": gettext_lazy("label"),
    "tokens": gettext_lazy("tokens"),
    "tags": gettext_lazy("tags"),
    "id": "id",
    "group": gettext_lazy("group"),
    "split": gettext_lazy("part"),
}


def kinds(dataset: Dataset) -> list[str]:
    """Labels, or the entity types behind the tags."""
    if dataset.task_type == TaskType.TEXT_CLASSIFICATION:
        return dataset.label_names
    return sorted({name[2:] for name in dataset.label_names if name != "O"})


def dataset_page(dataset: Dataset) -> dict[str, Any]:
    """What the page shows beside name and description."""
    columns = ", ".join(f"{ROLE_WORDS.get(role, role)} = “{header}”" for role, header in dataset.columns.items())
    quality = dataset.report.get("quality") or {}
    facts = [
        (_("Version"), _version_words(dataset)),
        (_("Task"), dataset.get_task_type_display()),
        (_("Examples"), number_format(dataset.num_rows, force_grouping=True)),
        (_("File"), f"{dataset.original_filename} ({filesizeformat(dataset.size_bytes)})"),
        (_("Sheet"), dataset.sheet),
        (_("Columns"), columns),
        (_("Uploaded by"), dataset.created_by),
        (_("Uploaded at"), dataset.created_at and date_format(localtime(dataset.created_at), "SHORT_DATETIME_FORMAT")),
        (_("Entities"), entity_words(quality)),
        ("SHA-256", dataset.sha256_hash),
    ]
    return {
        "facts": [(name, value) for name, value in facts if value],
        "label_title": _("Labels") if dataset.task_type == TaskType.TEXT_CLASSIFICATION else _("Tags"),
        "label_rows": label_rows(dataset)[:LABELS_SHOWN],
        "findings": [(finding_sentence(warning), row_words(warning)) for warning in dataset.warnings],
        "changes": change_sentences(dataset.report.get("difference") or {}),
        "lengths": lengths(quality, dataset.token_lengths),
        "beyond": [] if dataset.token_lengths else beyond_sentences(quality),
        "measured": measured_sentences(dataset.token_lengths),
        "split": split_sentences(quality),
        "identifiers": identifier_sentences(quality),
    }


def _version_words(dataset: Dataset) -> Any:
    """The number and a way to the one before; nothing for a dataset of one version."""
    if dataset.previous is None:
        return dataset.version if dataset.version > 1 else None
    address = reverse("admin:datasets_app_dataset_change", args=[dataset.previous.pk])
    text = _("%(version)d, after version %(previous)d")
    said = text % {"version": dataset.version, "previous": dataset.previous.version}
    return format_html('<a href="{}">{}</a>', address, said)


def label_rows(dataset: Dataset) -> list[dict[str, Any]]:
    """[{name, count, share of the largest, percent of all}], most frequent first."""
    total = sum(item["count"] for item in dataset.labels) or 1
    most = max((item["count"] for item in dataset.labels), default=1) or 1
    ordered = sorted(dataset.labels, key=lambda item: (-item["count"], item["name"]))
    return [
        {
            "name": item["name"],
            "count": number_format(item["count"], force_grouping=True),
            "share": f"{item['count'] / most:.4f}",
            "percent": f"{figure(100 * item['count'] / total, 1)} %",
        }
        for item in ordered
    ]
