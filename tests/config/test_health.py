"""/healthz and /readyz: for platforms, without a token."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import OperationalError
from django.test import Client

pytestmark = pytest.mark.django_db


def test_the_process_is_alive() -> None:
    answer = Client().get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_the_process_is_alive_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: Any, **_kwargs: Any) -> None:
        raise OperationalError

    monkeypatch.setattr("django.db.backends.utils.CursorWrapper.execute", away)
    assert Client().get("/healthz").status_code == 200


def test_a_server_that_can_work_is_ready(media: Path) -> None:
    answer = Client().get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "checks": {"database": "ok", "migrations": "ok", "storage": "ok"}}
    assert not [path for path in media.rglob("*") if path.is_file()]


def test_without_a_database_it_is_not_ready_and_says_so_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: Any, **_kwargs: Any) -> None:
        raise OperationalError("password=hunter2 host=10.0.0.1")

    monkeypatch.setattr("django.db.backends.utils.CursorWrapper.execute", away)
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["database"]) == (503, "failed: OperationalError")
    assert int(answer.headers["Retry-After"]) > 0
    assert b"hunter2" not in answer.content


def test_without_a_storage_it_is_not_ready(settings: LazySettings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    settings.MEDIA_ROOT = tmp_path / "file" / "media"
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["database"]) == (503, "ok")
    assert answer.json()["checks"]["storage"].startswith("failed")


def test_with_a_migration_to_apply_it_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("config.health.MigrationExecutor.migration_plan", lambda *_args: [("one", False)])
    answer = Client().get("/readyz")
    assert (answer.status_code, "migrate" in answer.json()["checks"]["migrations"]) == (503, True)


def test_a_health_check_over_plain_http_is_not_redirected(settings: LazySettings) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert Client().get("/healthz").status_code == 200
    assert Client().get("/bert-training/api/runs").status_code == 301
