"""A full disk and a database that is away: the client is told to come again, and nothing half-done stays."""

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import InterfaceError, OperationalError
from django.test import Client
from rest_framework.test import APIClient

from config.outages import outage_of
from datasets_app.models import Dataset, StagedUpload
from tests.factories import sheet_bytes

UPLOAD = "/bert-training/api/datasets/upload"


class Shortened(io.FileIO):
    """An open file whose disk takes ten bytes and no more."""

    def write(self, data: Any) -> int:
        super().write(data[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def full_media(media: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A media folder on a disk that is full; what the storage writes goes through os.fdopen."""
    monkeypatch.setattr(os, "fdopen", lambda descriptor, mode: Shortened(descriptor, "wb"))
    return media


def sheet() -> io.BytesIO:
    content = io.BytesIO(sheet_bytes())
    content.name = "decisões.xlsx"
    return content


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_507(number: int) -> None:
    outage = outage_of(OSError(number, "full"))
    assert outage is not None
    assert (outage.status, outage.code) == (507, "insufficient_storage")


@pytest.mark.parametrize(
    "error", [OperationalError("server closed the connection"), InterfaceError("closed")], ids=["away", "closed"]
)
def test_a_database_that_is_away_is_503(error: Exception) -> None:
    outage = outage_of(error)
    assert outage is not None
    assert (outage.status, outage.code, outage.retry_after_s) == (503, "unavailable", 5)


def test_a_full_database_says_that_it_is_full() -> None:
    away, filled = outage_of(OperationalError("gone")), outage_of(OperationalError("database or disk is full"))
    assert away is not None
    assert filled is not None
    assert (filled.status, filled.retry_after_s) == (503, 60)
    assert filled.detail != away.detail


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "no"), ValueError("wrong")], ids=["permission", "mistake"])
def test_what_is_no_outage_stays_an_error(error: Exception) -> None:
    assert outage_of(error) is None


@pytest.mark.django_db
def test_an_upload_to_a_full_disk_is_told_and_leaves_nothing(api: APIClient, full_media: Path) -> None:
    answer = api.post(UPLOAD, {"file": sheet(), "name": "decisões"}, format="multipart")
    assert (answer.status_code, answer.json()["code"]) == (507, "insufficient_storage")
    assert int(answer.headers["Retry-After"]) > 0
    assert not Dataset.objects.exists()
    assert files_in(full_media) == []


@pytest.mark.django_db
def test_the_admin_says_that_the_disk_is_full(admin_client: Client, full_media: Path) -> None:
    answer = admin_client.post("/admin/datasets_app/dataset/add/", {"file": sheet(), "name": "decisões"})
    assert answer.status_code == 507, answer.content.decode()
    assert "disco" in answer.content.decode()
    assert not StagedUpload.objects.exists()
    assert files_in(full_media) == []


def test_a_file_that_could_not_be_written_whole_is_removed(full_media: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        default_storage.save("a/sheet.xlsx", ContentFile(b"x" * 100))
    assert files_in(full_media) == []
