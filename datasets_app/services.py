"""From an uploaded file to a dataset: hash, check in a child process, save once per content and mapping."""

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.core.files.base import File
from django.db import IntegrityError, transaction

from datasets_app.checking import check_file
from datasets_app.comparing import Side
from datasets_app.confined import CheckingFailed
from datasets_app.messages import refusal_sentence, row_sentence
from datasets_app.models import Dataset
from datasets_app.reading_slots import reading_slot
from datasets_app.sheet_child import compare_files
from datasets_app.validation import DatasetReport
from worker_client.formats import Limits, SheetRefused, SheetRequest

logger = logging.getLogger(__name__)

INVALID_DATASET = "invalid_dataset"
MAX_NAME_CHARS = 200
MAX_DESCRIPTION_CHARS = 10_000
MAX_FILENAME_CHARS = 255


@dataclass(frozen=True)
class SheetChoice:
    """How a person wants the sheet to be read; what is empty is found by the reader."""

    task_type: str = ""
    sheet: str = ""
    text_column: str = ""
    label_column: str = ""
    tokens_column: str = ""
    tags_column: str = ""
    repair_bio: bool = False

    def request(self) -> SheetRequest:
        """As the reader asks for it."""
        roles = ("text", "label", "tokens", "tags")
        columns = {role: value for role in roles if (value := getattr(self, f"{role}_column"))}
        return SheetRequest(task_type=self.task_type or None, sheet=self.sheet or None, columns=columns)


@dataclass(frozen=True)
class Checked:
    """A sheet that may be stored: its bytes' hash and size, and what was found in it."""

    sha256: str
    size_bytes: int
    report: DatasetReport


class DatasetInvalid(Exception):
    """The sheet cannot be used. `code` is the file's, or `invalid_dataset` when rows are at fault."""

    def __init__(self, code: str, detail: str, errors: list[dict[str, Any]], error_count: int) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = errors
        self.error_count = error_count


class UploadTooLarge(Exception):
    """More bytes than MAX_UPLOAD_MB."""


class OtherTask(Exception):
    """A dataset of one task cannot be the next version of one of another task."""


def check_dataset(*, file: File, choice: SheetChoice) -> Checked:
    """The dry run: nothing is stored. Raises DatasetInvalid and UploadTooLarge."""
    with private_copy(file) as (path, sha256, size_bytes):
        return Checked(sha256, size_bytes, judge(path, choice))


def import_dataset(
    *,
    file: File,
    filename: str,
    name: str,
    choice: SheetChoice,
    description: str = "",
    user: AbstractBaseUser | None = None,
    previous: Dataset | None = None,
) -> tuple[Dataset, bool]:
    """Check and store a sheet, as the next version of `previous` if there is one; returns it and whether it is new.

    The same bytes read in the same way are stored once. Raises DatasetInvalid, UploadTooLarge and OtherTask.
    """
    choice = as_next_version(choice, previous)
    with private_copy(file) as (path, sha256, size_bytes):
        checked = Checked(sha256, size_bytes, judge(path, choice))
        known = same_sheet(checked, choice)
        if known is not None:
            return known, False
        about = {"name": name, "description": description, "original_filename": clean_filename(filename)}
        more = changes(previous, path, checked.report, choice)
        about |= lineage(previous)
        return store_sheet(path=path, checked=checked, choice=choice, user=user, about=about, more=more)


def as_next_version(choice: SheetChoice, previous: Dataset | None) -> SheetChoice:
    """The choice with the task of the previous version. Raises OtherTask."""
    if previous is None:
        return choice
    if choice.task_type not in ("", previous.task_type):
        raise OtherTask
    return replace(choice, task_type=previous.task_type)


def lineage(previous: Dataset | None) -> dict[str, Any]:
    """`previous` and `version` of what follows it."""
    return {"previous": previous, "version": previous.version + 1 if previous else 1}


def changes(previous: Dataset | None, path: Path, report: DatasetReport, choice: SheetChoice) -> dict[str, Any]:
    """{difference} from the previous version, as the report keeps it.

    Empty also when the previous file is gone or the two cost too much together: the upload need not fail for that.
    """
    if previous is None:
        return {}
    old = SheetRequest(previous.task_type, previous.sheet, previous.columns)
    new: Side = (path, SheetRequest(report.task_type, report.sheet, report.columns), choice.repair_bio)
    try:
        with private_copy(previous.file) as (old_path, _sha256, _size_bytes), child_at_work():
            difference = compare_files((old_path, old, previous.repair_bio), new, limits=reader_limits())
    except (FileNotFoundError, DatasetInvalid) as error:
        logger.warning("dataset %d is not compared with its next version: %s", previous.pk, type(error).__name__)
        return {}
    return {"difference": difference}


def store_sheet(
    *,
    path: Path,
    checked: Checked,
    choice: SheetChoice,
    user: AbstractBaseUser | None,
    about: dict[str, Any],
    more: dict[str, Any] | None = None,
) -> tuple[Dataset, bool]:
    """Keep a sheet that was found valid; returns the dataset and whether it is new.

    about: name, description, original_filename and, of a later version, previous and version. more: what is added to
    the report.
    """
    known = same_sheet(checked, choice)
    if known is not None:
        return known, False
    return _save_once(draft(checked=checked, choice=choice, user=user, about=about, more=more), path)


def draft(
    *,
    checked: Checked,
    choice: SheetChoice,
    user: AbstractBaseUser | None,
    about: dict[str, Any],
    more: dict[str, Any] | None = None,
) -> Dataset:
    """The dataset as `store_sheet` would keep it, without its file and not saved."""
    report = checked.report
    return Dataset(
        **about,
        task_type=report.task_type,
        sha256_hash=checked.sha256,
        size_bytes=checked.size_bytes,
        sheet=report.sheet,
        columns=dict(report.columns),
        repair_bio=choice.repair_bio,
        mapping_key=mapping_key(report.task_type, report.sheet, report.columns, choice.repair_bio),
        num_rows=report.num_rows,
        labels=list(report.labels),
        report={**report_json(report), **(more or {})},
        created_by_id=user.pk if user is not None else None,
    )


def same_sheet(checked: Checked, choice: SheetChoice) -> Dataset | None:
    """The dataset of the same bytes, read in the same way."""
    report = checked.report
    key = mapping_key(report.task_type, report.sheet, report.columns, choice.repair_bio)
    return Dataset.objects.same_as(sha256=checked.sha256, mapping_key=key).first()


def report_json(report: DatasetReport) -> dict[str, Any]:
    """What is kept and shown of a valid sheet: the warnings and the quality part."""
    whole = report.to_json()
    return {key: whole[key] for key in ("warnings", "quality") if key in whole}


def judge(path: Path, choice: SheetChoice) -> DatasetReport:
    """The report of a valid sheet. Raises DatasetInvalid."""
    report = full_report(path, choice)
    if not report.valid:
        raise _rows_at_fault(report)
    return report


def full_report(path: Path, choice: SheetChoice) -> DatasetReport:
    """The report, also of a sheet with rows at fault.

    Raises DatasetInvalid for a file that cannot be judged; ReadersBusy, as all that reads a sheet.
    """
    with child_at_work():
        return check_file(path, choice.request(), repair_bio=choice.repair_bio, limits=reader_limits())


def reader_limits() -> Limits:
    """What this server reads of a sheet."""
    return Limits(max_rows=settings.MAX_DATASET_ROWS)


@contextmanager
def child_at_work() -> Iterator[None]:
    """A slot for a child process; what it raises becomes DatasetInvalid. Raises ReadersBusy when there is none."""
    try:
        with reading_slot():
            yield
    except SheetRefused as refused:
        raise DatasetInvalid(refused.code, refusal_sentence(refused.code, refused.params), [], 0) from refused
    except CheckingFailed as failure:
        # The child broke on this file: for the sender it is a file that cannot be read, for us a fault to mend.
        logger.error("the sheet checker broke: %s", failure)
        raise DatasetInvalid("corrupt", refusal_sentence("corrupt", {}), [], 0) from failure


def _rows_at_fault(report: DatasetReport) -> DatasetInvalid:
    detail = refusal_sentence(INVALID_DATASET, {"count": report.error_count})
    return DatasetInvalid(INVALID_DATASET, detail, told_errors(report), report.error_count)


def told_errors(report: DatasetReport) -> list[dict[str, Any]]:
    """[{sheet, row, column, code, message, value}] in the reader's language."""
    return [
        {
            "sheet": report.sheet,
            "row": fault["row"],
            "column": fault["column"],
            "code": fault["code"],
            "message": row_sentence(fault["code"], fault["row"], fault["column"], fault.get("params") or {}),
            "value": fault.get("value", ""),
        }
        for fault in report.to_json()["errors"]
    ]


@contextmanager
def private_copy(file: File) -> Iterator[tuple[Path, str, int]]:
    """A private copy of the upload with its hash and size; gone afterwards, whatever happens."""
    limit = settings.MAX_UPLOAD_MB * 2**20
    digest, size = hashlib.sha256(), 0
    with tempfile.TemporaryDirectory(prefix="bert-upload-") as folder:
        path = Path(folder) / "sheet.xlsx"
        with path.open("wb") as copy:
            for chunk in file.chunks():
                size += len(chunk)
                if size > limit:
                    raise UploadTooLarge
                digest.update(chunk)
                copy.write(chunk)
        yield path, digest.hexdigest(), size


def mapping_key(task_type: str, sheet: str, columns: Mapping[str, str], repair_bio: bool) -> str:
    """One value for one way to read a file."""
    mapping = [task_type, sheet, sorted(columns.items()), repair_bio]
    return hashlib.sha256(json.dumps(mapping, ensure_ascii=False).encode()).hexdigest()


def _save_once(dataset: Dataset, path: Path) -> tuple[Dataset, bool]:
    """Store file and row together: a row that cannot be written leaves no file behind."""
    with path.open("rb") as content:
        dataset.file.save("sheet.xlsx", File(content), save=False)
    try:
        with transaction.atomic():
            dataset.previous = still_there(dataset.previous)
            dataset.save(force_insert=True)
        return dataset, True
    except BaseException as error:
        dataset.file.storage.delete(dataset.file.name or "")
        if not isinstance(error, IntegrityError):
            raise
        # The same sheet was uploaded twice at the same moment, and the other one was first; or who uploads is gone.
        first = Dataset.objects.same_as(sha256=dataset.sha256_hash, mapping_key=dataset.mapping_key).first()
        if first is None:
            raise
        return first, False


def still_there(dataset: Dataset | None) -> Dataset | None:
    """The dataset, which nobody deletes until the transaction ends; None where somebody has deleted it meanwhile."""
    return dataset and Dataset.objects.select_for_update(no_key=True).filter(pk=dataset.pk).first()


def clean_filename(filename: str) -> str:
    """What the person called the file, without a path or characters that no file name holds."""
    last = filename.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in last if c.isprintable()).strip()[-MAX_FILENAME_CHARS:] or "planilha.xlsx"
