"""Importing sheets: stored once, and nothing left behind when something goes wrong."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connections

from datasets_app import services, staging
from datasets_app.models import Dataset
from datasets_app.services import DatasetInvalid, SheetChoice, import_dataset
from tests.factories import make_user, sheet_bytes


def import_sheet(content: bytes, **values: Any) -> tuple[Dataset, bool]:
    return import_dataset(
        file=ContentFile(content), **{"filename": "a.xlsx", "name": "a", "choice": SheetChoice(), **values}
    )


def files(media: Path) -> list[Path]:
    return [path for path in media.rglob("*") if path.is_file()]


@pytest.mark.django_db
def test_a_sheet_is_stored_with_file_and_row(media: Path) -> None:
    dataset, created = import_sheet(sheet_bytes())
    assert (created, dataset.num_rows, len(files(media))) == (True, 4, 1)


@pytest.mark.django_db
def test_an_invalid_sheet_leaves_neither_row_nor_file(media: Path) -> None:
    with pytest.raises(DatasetInvalid) as refused:
        import_sheet(sheet_bytes([("a", "x"), ("b", None), ("c", "y")]))
    assert (refused.value.code, refused.value.error_count) == ("invalid_dataset", 1)
    assert (Dataset.objects.count(), files(media)) == (0, [])


@pytest.mark.django_db
def test_a_row_that_cannot_be_written_leaves_no_file(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(Dataset, "save", broken)
    with pytest.raises(RuntimeError):
        import_sheet(sheet_bytes())
    assert files(media) == []


@pytest.mark.django_db(transaction=True)
def test_the_same_sheet_sent_twice_at_once_is_stored_once(media: Path) -> None:
    content = sheet_bytes()

    def send(_number: int) -> tuple[int, bool]:
        try:
            dataset, created = import_sheet(content)
            return dataset.pk, created
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(send, range(3)))
    assert len({pk for pk, _created in answers}) == 1
    assert sorted(created for _pk, created in answers) == [False, False, True]
    assert (Dataset.objects.count(), len(files(media))) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_a_sheet_is_kept_though_the_version_before_it_was_deleted_meanwhile(
    media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _created = import_sheet(sheet_bytes())
    judge = services.judge

    def judge_slowly(*args: Any) -> Any:
        Dataset.objects.filter(pk=first.pk).delete()
        return judge(*args)

    monkeypatch.setattr(services, "judge", judge_slowly)
    second, created = import_sheet(sheet_bytes([("a", "x"), ("b", "y")]), previous=first)
    assert (created, second.previous, Dataset.objects.get()) == (True, None, second)


@pytest.mark.django_db(transaction=True)
def test_an_upload_goes_on_though_the_version_before_it_was_deleted_meanwhile(
    media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _created = import_sheet(sheet_bytes())
    look = staging.look_at_file

    def look_slowly(*args: Any, **kwargs: Any) -> Any:
        Dataset.objects.filter(pk=first.pk).delete()
        return look(*args, **kwargs)

    monkeypatch.setattr(staging, "look_at_file", look_slowly)
    upload = {"file": ContentFile(sheet_bytes()), "filename": "a.xlsx", "name": "a", "user": make_user()}
    assert staging.stage_upload(**upload, previous=first).previous is None
