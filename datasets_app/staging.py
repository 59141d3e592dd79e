"""An upload in steps: the bytes are kept between them, for one person and a few hours."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.core.files.base import File
from django.db import transaction
from django.utils import timezone

from datasets_app.annotating import annotate_sheet
from datasets_app.models import Dataset, StagedUpload
from datasets_app.services import (
    Checked,
    SheetChoice,
    changes,
    child_at_work,
    clean_filename,
    draft,
    judge,
    lineage,
    private_copy,
    reader_limits,
    same_sheet,
    still_there,
    store_sheet,
)
from datasets_app.sheet_child import look_at_file
from datasets_app.validation import DatasetReport

KEPT_FOR = timedelta(hours=12)
MAX_PER_PERSON = 3


class UploadOver(Exception):
    """Cancelled or confirmed in another window, or given way to newer ones, while the sheet was read."""


def stage_upload(
    *, file: File, filename: str, user: AbstractBaseUser, name: str, description: str = "", previous: Dataset | None
) -> StagedUpload:
    """Keep the bytes and look at them. Raises DatasetInvalid (then nothing is kept) and UploadTooLarge.

    A person has at most three uploads under way; the oldest gives way.
    """
    remove_expired(now=timezone.now())
    with private_copy(file) as (path, sha256, size_bytes):
        with child_at_work():
            look = look_at_file(path, limits=reader_limits())
        staged = StagedUpload(
            user_id=user.pk,
            sha256_hash=sha256,
            size_bytes=size_bytes,
            original_filename=clean_filename(filename),
            name=name,
            description=description,
            previous=previous,
            look=look,
        )
        with path.open("rb") as content:
            staged.file.save("sheet.xlsx", File(content), save=False)
        try:
            with transaction.atomic():
                staged.previous = still_there(previous)
                staged.save(force_insert=True)
        except BaseException:
            staged.file.storage.delete(staged.file.name or "")
            raise
    for old in StagedUpload.objects.filter(user_id=user.pk).order_by("-created_at")[MAX_PER_PERSON:]:
        old.delete()
    return staged


def staged_upload(*, pk: UUID, user: AbstractBaseUser) -> StagedUpload | None:
    """This person's upload under way; None when it is somebody else's, over or too old."""
    remove_expired(now=timezone.now())
    uploads = StagedUpload.objects.select_related("previous", "user")
    staged = uploads.filter(pk=pk, user_id=user.pk).first()
    if staged is not None and not staged.file.storage.exists(staged.file.name or ""):
        staged.delete()  # a disk that was emptied by a new deployment, say
        return None
    return staged


def remove_expired(*, now: datetime) -> int:
    """Remove what nobody went on with; returns how many there were."""
    expired = list(StagedUpload.objects.filter(created_at__lt=now - KEPT_FOR))
    for staged in expired:
        staged.delete()
    return len(expired)


def look_at_sheet(*, staged: StagedUpload, sheet: str) -> None:
    """Look at another sheet of the workbook. Raises DatasetInvalid and UploadOver."""
    with private_copy(_opened(staged)) as (path, _sha256, _size_bytes), child_at_work():
        look = look_at_file(path, sheet, limits=reader_limits())
    _write(staged, look=look)


def check_upload(*, staged: StagedUpload, choice: SheetChoice) -> None:
    """Judge the sheet as read by `choice`, and compare it with the previous version.

    Raises DatasetInvalid and UploadOver.
    """
    _write(staged, choice=vars(choice), report={}, difference={})
    with private_copy(_opened(staged)) as (path, _sha256, _size_bytes):
        report = judge(path, choice)
        difference = changes(staged.previous, path, report, choice).get("difference", {})
    _write(staged, report=report.to_json(), difference=difference)


def _opened(staged: StagedUpload) -> File:
    try:
        return staged.file.open("rb")
    except FileNotFoundError:
        raise UploadOver from None


def _write(staged: StagedUpload, **values: Any) -> None:
    if not StagedUpload.objects.filter(pk=staged.pk).update(**values):
        raise UploadOver
    for name, value in values.items():
        setattr(staged, name, value)


def existing_dataset(staged: StagedUpload) -> Dataset | None:
    """The dataset of the same bytes that was read in the same way, once the upload was checked."""
    return same_sheet(checked_upload(staged), SheetChoice(**staged.choice))


def draft_dataset(staged: StagedUpload) -> Dataset:
    """What confirming would keep, not saved."""
    return draft(
        checked=checked_upload(staged),
        choice=SheetChoice(**staged.choice),
        user=staged.user,
        about=_about(staged),
        more=_more(staged),
    )


def checked_upload(staged: StagedUpload) -> Checked:
    """The judgement of an upload that passed it."""
    return Checked(staged.sha256_hash, staged.size_bytes, DatasetReport.from_json(staged.report))


def confirm_upload(*, staged: StagedUpload) -> tuple[Dataset, bool]:
    """Keep the sheet as a dataset; returns it and whether it is new. The staged bytes are gone afterwards.

    Raises UploadOver.
    """
    with private_copy(_opened(staged)) as (path, _sha256, _size_bytes):
        kept = store_sheet(
            path=path,
            checked=checked_upload(staged),
            choice=SheetChoice(**staged.choice),
            user=staged.user,
            about=_about(staged),
            more=_more(staged),
        )
    staged.delete()
    return kept


def annotated_upload(*, staged: StagedUpload) -> tuple[bytes, str]:
    """The marked copy of the sheet, and its name. Raises DatasetInvalid and UploadOver."""
    return annotate_sheet(file=_opened(staged), filename=staged.original_filename, choice=SheetChoice(**staged.choice))


def _about(staged: StagedUpload) -> dict[str, Any]:
    about = {name: getattr(staged, name) for name in ("name", "description", "original_filename")}
    return {**about, **lineage(staged.previous)}


def _more(staged: StagedUpload) -> dict[str, Any]:
    return {"difference": staged.difference} if staged.difference else {}
