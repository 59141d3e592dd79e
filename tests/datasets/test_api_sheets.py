"""/datasets/validate and /datasets/upload: sheets that are accepted, refused, and sent twice."""

import hashlib
import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from datasets_app.models import Dataset
from tests.factories import (
    CLASSIFICATION_ROWS,
    TOKEN_ROWS,
    client_for,
    make_api_token,
    make_dataset,
    make_user,
    sheet_bytes,
)

pytestmark = pytest.mark.django_db

API = "/bert-training/api"
CONTRACT_KEYS = {
    "id",
    "name",
    "description",
    "task_type",
    "sha256",
    "size_bytes",
    "original_filename",
    "sheet",
    "columns",
    "num_rows",
    "labels",
    "report",
    "created_at",
    "created",
}


@pytest.fixture(autouse=True)
def temporary_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, media: Path) -> Path:
    """Where temporary copies are made; nothing may be left there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def send(api: APIClient, route: str, content: bytes, filename: str = "decisões.xlsx", **fields: Any) -> Any:
    form = {"file": SimpleUploadedFile(filename, content), **fields}
    return api.post(f"{API}/datasets/{route}", form, format="multipart")


def upload(api: APIClient, content: bytes, **fields: Any) -> Any:
    return send(api, "upload", content, **{"name": "Decisões", **fields})


# Validate


def test_a_good_sheet_is_reported_and_nothing_is_stored(api: APIClient, media: Path, temporary_files: Path) -> None:
    content = sheet_bytes()
    answer = send(api, "validate", content)
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() >= {"valid", "task_type", "sha256", "num_rows", "columns", "labels", "report"}
    assert (body["valid"], body["task_type"], body["num_rows"]) == (True, "text_classification", 4)
    assert body["sha256"] == hashlib.sha256(content).hexdigest()
    assert body["columns"] == {"text": "texto", "label": "rótulo"}
    assert sorted((label["name"], label["count"]) for label in body["labels"]) == [("negado", 2), ("provido", 2)]
    assert "warnings" in body["report"]
    assert not Dataset.objects.exists()
    assert list(media.rglob("*")) == list(temporary_files.rglob("*")) == []


def test_row_errors_are_listed_with_row_column_code_and_value(
    api: APIClient, media: Path, temporary_files: Path
) -> None:
    content = sheet_bytes([*CLASSIFICATION_ROWS, ("sem rótulo", None), (None, "provido")])
    answer = send(api, "validate", content)
    assert answer.status_code == 422
    body = answer.json()
    assert body.keys() >= {"valid", "code", "detail", "error_count", "errors"}
    assert (body["valid"], body["code"], body["error_count"]) == (False, "invalid_dataset", 2)
    assert [error.keys() >= {"sheet", "row", "column", "code", "message", "value"} for error in body["errors"]]
    assert [(error["sheet"], error["row"], error["code"]) for error in body["errors"]] == [
        ("Sheet", 6, "empty_label"),
        ("Sheet", 7, "empty_text"),
    ]
    assert all(str(error["row"]) in error["message"] for error in body["errors"])
    assert list(media.rglob("*")) == list(temporary_files.rglob("*")) == []


def test_an_invalid_tag_is_named_with_its_repair(api: APIClient) -> None:
    content = sheet_bytes([*TOKEN_ROWS, ("a b", "O I-X")], header=("tokens", "tags"))
    error = send(api, "validate", content).json()["errors"][0]
    assert (error["code"], error["row"]) == ("invalid_bio", 4)
    assert "I-X" in error["message"]
    assert "B-X" in error["message"]
    assert "?" not in error["message"]


def test_offered_repairs_are_taken_on_request(api: APIClient) -> None:
    content = sheet_bytes([*TOKEN_ROWS, ("a b", "O I-X")], header=("tokens", "tags"))
    body = send(api, "validate", content, repair_bio="1").json()
    assert (body["valid"], body["task_type"], body["num_rows"]) == (True, "token_classification", 3)
    assert [w["count"] for w in body["report"]["warnings"] if w["code"] == "repaired_bio"] == [1]


def test_lists_of_unequal_length_are_told_with_their_lengths(api: APIClient) -> None:
    content = sheet_bytes([*TOKEN_ROWS, ("a b c", "O O")], header=("tokens", "tags"))
    error = send(api, "validate", content).json()["errors"][0]
    assert error["code"] == "length_mismatch"
    assert "3" in error["message"]
    assert "2" in error["message"]


def emptied(name: str) -> bytes:
    """A real sheet in which one part was replaced by text that is no XML."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(sheet_bytes())) as source, zipfile.ZipFile(made, "w") as target:
        for item in source.namelist():
            target.writestr(item, b"<broken" if item == name else source.read(item))
    return made.getvalue()


@pytest.mark.parametrize(
    ("content", "fields", "code"),
    [
        (b"", {}, "not_xlsx"),
        (b"texto;rotulo\na;b\n", {}, "not_xlsx"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 600, {}, "not_xlsx"),
        (sheet_bytes()[:300], {}, "corrupt"),
        (emptied("xl/worksheets/sheet1.xml"), {}, "corrupt"),
        (sheet_bytes(), {"sheet": "Outra"}, "sheet_not_found"),
        (sheet_bytes(header=("a", "b")), {}, "missing_columns"),
        (sheet_bytes(), {"text_column": "ementa"}, "missing_columns"),
        (sheet_bytes([("a", "b", "c")], header=("texto", "texto", "rótulo")), {}, "duplicate_column"),
        (sheet_bytes([]), {}, "no_rows"),
        (sheet_bytes([("a", "x"), ("b", "x")]), {}, "too_few_classes"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
@pytest.mark.parametrize("route", ["validate", "upload"])
def test_a_file_that_cannot_be_used_is_refused_with_its_code(
    api: APIClient, media: Path, temporary_files: Path, route: str, content: bytes, fields: dict[str, str], code: str
) -> None:
    answer = send(api, route, content, name="x", **fields)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json().keys() >= {"valid", "code", "detail", "error_count", "errors"}
    assert answer.json()["valid"] is False
    assert len(answer.json()["detail"]) > 20
    assert not Dataset.objects.exists()
    assert list(media.rglob("*")) == list(temporary_files.rglob("*")) == []


def test_missing_columns_are_named_with_those_that_were_found(api: APIClient) -> None:
    detail = send(api, "validate", sheet_bytes(header=("assunto", "classe"))).json()["detail"]
    assert "assunto" in detail


def test_a_missing_sheet_is_named_with_those_that_are_there(api: APIClient) -> None:
    detail = send(api, "validate", sheet_bytes(), sheet="Outra").json()["detail"]
    assert "Outra" in detail
    assert "Sheet" in detail


def test_columns_can_be_named(api: APIClient) -> None:
    content = sheet_bytes(header=("ementa", "assunto"))
    body = send(api, "validate", content, text_column="Ementa", label_column="assunto").json()
    assert body["columns"] == {"text": "ementa", "label": "assunto"}


@pytest.mark.parametrize("route", ["validate", "upload"])
def test_a_file_over_the_limit_is_refused_as_too_large(
    api: APIClient, settings: LazySettings, media: Path, route: str
) -> None:
    settings.MAX_UPLOAD_MB = 1
    answer = send(api, route, b"x" * (2**20 + 1), name="x")
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert not list(media.rglob("*"))


def test_a_length_over_the_limit_is_refused_before_the_body_is_read(api: APIClient, settings: LazySettings) -> None:
    settings.MAX_UPLOAD_MB = 1
    answer = api.post(f"{API}/datasets/validate", {}, format="multipart", CONTENT_LENGTH=str(5 * 2**20))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_too_many_rows_are_refused(api: APIClient, settings: LazySettings) -> None:
    settings.MAX_DATASET_ROWS = 3
    answer = send(api, "validate", sheet_bytes())
    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_rows")
    assert "3" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"task_type": "regression"}, "task_type"),
        ({"sheet": "x" * 101}, "sheet"),
        ({"text_column": "x" * 1001}, "text_column"),
        ({"label_column": "a\x00b"}, "label_column"),
        ({"repair_bio": "perhaps"}, "repair_bio"),
        ({"file": "not a file"}, "file"),
        ({"name": "x" * 201}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"description": "x" * 10_001}, "description"),
    ],
)
def test_a_wrong_form_field_is_refused_by_name(api: APIClient, fields: dict[str, str], named: str) -> None:
    answer = upload(api, sheet_bytes(), **fields)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [named])


def test_a_form_without_file_and_name_names_both(api: APIClient) -> None:
    answer = api.post(f"{API}/datasets/upload", {}, format="multipart")
    assert (answer.status_code, set(answer.json()["errors"])) == (400, {"file", "name"})


# Upload


def test_an_upload_is_stored_byte_for_byte(api: APIClient, media: Path, temporary_files: Path) -> None:
    content = sheet_bytes()
    answer = upload(api, content, description="2ª instância")
    assert answer.status_code == 201
    body = answer.json()
    assert body.keys() >= CONTRACT_KEYS
    expected = {
        "name": "Decisões",
        "description": "2ª instância",
        "task_type": "text_classification",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        "original_filename": "decisões.xlsx",
        "sheet": "Sheet",
        "columns": {"text": "texto", "label": "rótulo"},
        "num_rows": 4,
        "created": True,
    }
    assert {key: body[key] for key in expected} == expected
    assert Dataset.objects.get().file.read() == content
    assert list(temporary_files.rglob("*")) == []


def test_the_same_sheet_again_is_the_same_dataset(api: APIClient, media: Path) -> None:
    content = sheet_bytes()
    first = upload(api, content)
    again = upload(api, content, name="another name")
    assert (again.status_code, again.json()["created"], again.json()["id"]) == (200, False, first.json()["id"])
    assert again.json()["name"] == "Decisões"
    assert len([path for path in media.rglob("*") if path.is_file()]) == 1


def test_the_same_sheet_read_in_another_way_is_another_dataset(api: APIClient) -> None:
    rows = [("a", "b", "x"), ("c", "d", "y")]
    content = sheet_bytes(rows, header=("texto", "ementa", "rótulo"))
    upload(api, content)
    other = upload(api, content, text_column="ementa")
    assert (other.status_code, Dataset.objects.count()) == (201, 2)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\pasta\\sentenças.xlsx", "sentenças.xlsx"),
        ("a\u202eb.xlsx", "ab.xlsx"),
        ("x" * 300 + ".xlsx", None),
    ],
)
def test_a_file_name_is_kept_without_its_path_and_never_used_on_disk(
    api: APIClient, media: Path, sent: str, kept: str | None
) -> None:
    body = upload(api, sheet_bytes(), filename=sent).json()
    assert body["original_filename"] == kept if kept else len(body["original_filename"]) <= 255
    for path in media.rglob("*.xlsx"):
        assert path.parent == media / "datasets"
        assert len(path.stem) == 32


def test_who_uploaded_is_remembered(api: APIClient) -> None:
    assert upload(api, sheet_bytes()).json()["created_by"].startswith("person-")


def test_an_uploaded_dataset_can_be_trained_on(api: APIClient) -> None:
    dataset = upload(api, sheet_bytes()).json()["id"]
    body = {"dataset": dataset, "base_model": "builtin/tiny-bert"}
    assert api.post(f"{API}/runs", body, format="json").status_code == 201


# Versions


def next_sheet() -> bytes:
    """One row relabelled, one removed, one added."""
    (text, _label), *rest = CLASSIFICATION_ROWS[1:]
    return sheet_bytes([(text, "provido"), *rest, ("Texto novo.", "negado")])


def test_an_upload_can_be_the_next_version_of_a_dataset(api: APIClient) -> None:
    first = upload(api, sheet_bytes()).json()
    second = upload(api, next_sheet(), previous=first["id"]).json()
    assert [(body["previous"], body["version"]) for body in (first, second)] == [(None, 1), (first["id"], 2)]
    counts = {"added": 1, "removed": 1, "relabelled": 1, "unchanged": 2}
    assert second["report"]["difference"] == {**counts, "relabelled_rows": [2]}


def test_the_same_sheet_as_the_next_version_is_the_existing_dataset(api: APIClient) -> None:
    content = sheet_bytes()  # written twice it may differ: a workbook holds the time
    first = upload(api, content).json()
    again = upload(api, content, previous=first["id"])
    assert (again.status_code, again.json()["id"], again.json()["version"]) == (200, first["id"], 1)


@pytest.mark.parametrize("previous", ["999999", "9" * 30, "x", "-1", "1e999"])
def test_a_previous_version_that_is_not_there_is_refused_by_name(api: APIClient, previous: str) -> None:
    answer = upload(api, sheet_bytes(), previous=previous)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["previous"])


def test_an_empty_previous_version_is_none(api: APIClient) -> None:
    answer = upload(api, sheet_bytes(), previous="")
    assert (answer.status_code, answer.json()["previous"]) == (201, None)


def test_a_version_of_another_task_is_refused_by_name(api: APIClient, media: Path) -> None:
    first = upload(api, sheet_bytes()).json()["id"]
    tokens = sheet_bytes(TOKEN_ROWS, header=("tokens", "tags"))
    answer = upload(api, tokens, previous=first, task_type="token_classification")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["previous"])
    assert len(list(media.rglob("*.xlsx"))) == 1


def test_a_version_is_read_for_the_task_of_the_previous_one(api: APIClient) -> None:
    first = upload(api, sheet_bytes()).json()["id"]
    answer = upload(api, sheet_bytes(TOKEN_ROWS, header=("tokens", "tags")), previous=first)
    assert (answer.status_code, answer.json()["code"]) == (422, "missing_columns")


def test_who_may_not_see_datasets_cannot_add_a_version() -> None:
    first = make_dataset()
    person = client_for(make_api_token(make_user("datasets_app.add_dataset")))
    assert upload(person, sheet_bytes(), previous=first.pk).status_code == 403
    assert upload(person, sheet_bytes()).status_code == 201
