"""Few sheets are read at once; who comes when enough wait is told to come again."""

import json
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from rest_framework.test import APIClient

from datasets_app import reading_slots
from datasets_app.confined import NICENESS, ChildLimits
from datasets_app.models import Dataset, StagedUpload
from datasets_app.reading_slots import ReadersBusy, reading_slot
from tests.admin_client import messages_of, signed_in
from tests.datasets.test_admin_datasets import check, send
from tests.factories import sheet_bytes
from tests.routes import API
from worker_client.formats.records import DEFAULT_LIMITS

ROOT = Path(__file__).resolve().parents[2]
BUSY = "O servidor está lendo outras planilhas no momento. Tente de novo em alguns segundos."


@pytest.fixture
def nothing_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_slots, "_admitted", threading.BoundedSemaphore(0))


def test_the_third_waits_until_one_of_two_is_done() -> None:
    began, done, third = threading.Barrier(3), threading.Event(), threading.Event()

    def read() -> None:
        with reading_slot():
            began.wait(10)
            done.wait(10)

    def read_too() -> None:
        with reading_slot():
            third.set()

    readers = [threading.Thread(target=work) for work in (read, read)]
    for reader in readers:
        reader.start()
    began.wait(10)
    readers.append(threading.Thread(target=read_too))
    readers[-1].start()
    assert not third.wait(0.2)
    done.set()
    assert third.wait(10)
    for reader in readers:
        reader.join()


def test_who_waited_too_long_is_refused_and_leaves_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_slots, "WAIT_S", 0.01)
    with reading_slot(), reading_slot():
        for _more_than_may_wait in range(20):
            with pytest.raises(ReadersBusy), reading_slot():
                pass


def test_a_slot_is_free_again_after_a_failure() -> None:
    for _more_than_there_are in range(20):
        with pytest.raises(ValueError, match="broken"), reading_slot():
            raise ValueError("broken")


def test_a_child_leaves_the_processors_to_the_server() -> None:
    program = "import os; from datasets_app.confined import serve; "
    program += "serve(lambda order: lambda order, limits: {'niceness': os.nice(0)})"
    order = json.dumps({"limits": asdict(DEFAULT_LIMITS), "child": asdict(ChildLimits())})
    done = subprocess.run([sys.executable, "-c", program], input=order, capture_output=True, text=True, cwd=ROOT)
    assert json.loads(done.stdout)["niceness"] >= NICENESS


@pytest.mark.django_db
@pytest.mark.parametrize("route", ["validate", "annotate", "upload"])
def test_the_api_asks_a_client_to_come_again(api: APIClient, media: Path, nothing_is_free: None, route: str) -> None:
    file = ContentFile(sheet_bytes(), name="a.xlsx")
    answer = api.post(f"{API}/datasets/{route}", {"file": file, "name": "a"}, format="multipart")
    assert (answer.status_code, answer.json()) == (503, {"code": "unavailable", "detail": BUSY})
    assert answer.headers["Retry-After"] == str(reading_slots.RETRY_AFTER_S)
    assert not Dataset.objects.exists()


@pytest.mark.django_db
def test_the_first_step_says_that_the_server_is_busy(media: Path, nothing_is_free: None) -> None:
    page = send(signed_in(), sheet_bytes())
    assert messages_of(page) == [BUSY]
    assert not StagedUpload.objects.exists()


@pytest.mark.django_db
def test_a_busy_check_keeps_the_upload_for_another_try(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = signed_in()
    page = send(client, sheet_bytes())
    with monkeypatch.context() as busy:
        busy.setattr(reading_slots, "_admitted", threading.BoundedSemaphore(0))
        assert messages_of(check(client, page)) == [BUSY]
    assert check(client, page).status_code in (200, 302)
    assert StagedUpload.objects.get().report
