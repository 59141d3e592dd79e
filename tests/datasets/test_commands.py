"""manage.py import_dataset and validate_dataset."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from datasets_app.models import Dataset
from tests.factories import CLASSIFICATION_ROWS, TOKEN_ROWS, sheet_bytes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]


def run(command: str, *arguments: Any) -> tuple[str, str]:
    """(stdout, stderr) of a command that succeeds."""
    out, err = StringIO(), StringIO()
    call_command(command, *map(str, arguments), stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    path = tmp_path / "decisões.xlsx"
    path.write_bytes(sheet_bytes())
    return path


@pytest.fixture
def bad_sheet(tmp_path: Path) -> Path:
    path = tmp_path / "bad.xlsx"
    path.write_bytes(sheet_bytes([*CLASSIFICATION_ROWS, ("sem rótulo", None), (None, "provido")]))
    return path


def test_import_prints_the_id_alone(sheet: Path) -> None:
    out, err = run("import_dataset", sheet, "--name", "Decisões")
    dataset = Dataset.objects.get()
    assert (out, err) == (f"{dataset.pk}\n", "")
    assert (dataset.name, dataset.original_filename, dataset.num_rows) == ("Decisões", "decisões.xlsx", 4)


def test_importing_again_prints_the_same_id_and_says_that_nothing_was_stored(sheet: Path) -> None:
    first, _err = run("import_dataset", sheet, "--name", "a")
    told = f"These rows are already dataset {first.strip()}, a; nothing was stored.\n"
    assert run("import_dataset", sheet, "--name", "b") == (first, told)


@pytest.mark.parametrize(
    ("flag", "value"), [("--name", ""), ("--name", "  "), ("--name", "a" * 201), ("--description", "a" * 10_001)]
)
def test_import_refuses_what_the_upload_form_refuses(flag: str, value: str, sheet: Path) -> None:
    with pytest.raises(CommandError, match=flag):
        run("import_dataset", sheet, "--name", "Decisões", flag, value)
    assert not Dataset.objects.exists()


def test_import_takes_the_flags_of_the_upload_form(tmp_path: Path) -> None:
    path = tmp_path / "ner.xlsx"
    path.write_bytes(sheet_bytes([*TOKEN_ROWS, ("a b", "O I-X")], header=("palavras", "marcas")))
    flags = ["--task-type", "token_classification", "--sheet", "Sheet", "--repair-bio"]
    run("import_dataset", path, "--name", "NER", *flags, "--tokens-column", "palavras", "--tags-column", "marcas")
    dataset = Dataset.objects.get()
    assert (dataset.task_type, dataset.repair_bio) == ("token_classification", True)
    assert dataset.columns == {"tokens": "palavras", "tags": "marcas"}


def test_import_can_be_the_next_version_of_a_dataset(sheet: Path, tmp_path: Path) -> None:
    first, _err = run("import_dataset", sheet, "--name", "Decisões")
    other = tmp_path / "novembro.xlsx"
    other.write_bytes(sheet_bytes([*CLASSIFICATION_ROWS, ("Texto novo.", "negado")]))
    second, _err = run("import_dataset", other, "--name", "Decisões", "--previous", first.strip())
    dataset = Dataset.objects.get(pk=int(second))
    assert (dataset.previous_id, dataset.version, dataset.report["difference"]["added"]) == (int(first), 2, 1)


@pytest.mark.parametrize("previous", ["999999", "9" * 30, "-1"])
def test_a_previous_version_that_is_not_there_is_named(sheet: Path, previous: str) -> None:
    with pytest.raises(CommandError, match=f"There is no dataset {previous}"):
        run("import_dataset", sheet, "--name", "x", f"--previous={previous}")


def test_import_refuses_a_version_of_another_task(sheet: Path) -> None:
    first, _err = run("import_dataset", sheet, "--name", "Decisões")
    flags = ["--previous", first.strip(), "--task-type", "token_classification"]
    with pytest.raises(CommandError, match=f"Dataset {first.strip()} is of another task"):
        run("import_dataset", sheet, "--name", "x", *flags)


def test_import_of_an_invalid_sheet_prints_every_error_on_stderr_and_fails(bad_sheet: Path) -> None:
    out, err = StringIO(), StringIO()
    with pytest.raises(CommandError) as failure:
        call_command("import_dataset", str(bad_sheet), "--name", "x", stdout=out, stderr=err)
    assert (failure.value.returncode, out.getvalue()) == (1, "")
    lines = err.getvalue().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["empty_label", "empty_text"]
    assert not Dataset.objects.exists()


@pytest.mark.parametrize("command", ["import_dataset", "validate_dataset"])
def test_a_file_that_is_not_there_is_named(command: str, tmp_path: Path) -> None:
    name = ["--name", "x"] if command == "import_dataset" else []
    with pytest.raises(CommandError, match="nothing"):
        call_command(command, str(tmp_path / "nothing.xlsx"), *name)


@pytest.mark.parametrize("command", ["import_dataset", "validate_dataset"])
def test_a_file_over_the_limit_is_refused(command: str, sheet: Path, settings: LazySettings) -> None:
    settings.MAX_UPLOAD_MB = 0
    name = ["--name", "x"] if command == "import_dataset" else []
    with pytest.raises(CommandError, match="MB"):
        call_command(command, str(sheet), *name)


def test_validate_says_as_json_that_a_file_is_over_the_limit(sheet: Path, settings: LazySettings) -> None:
    settings.MAX_UPLOAD_MB = 0
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("validate_dataset", str(sheet), stdout=out)
    report = json.loads(out.getvalue())
    assert (report["valid"], report["code"]) == (False, "too_large")


def test_validate_prints_the_whole_report_as_json_and_stores_nothing(sheet: Path) -> None:
    out, err = run("validate_dataset", sheet)
    report = json.loads(out)
    assert (report["valid"], report["num_rows"], report["task_type"]) == (True, 4, "text_classification")
    assert {"warnings", "quality"} <= report["report"].keys()
    assert (err, Dataset.objects.count()) == ("", 0)


def test_validate_of_an_invalid_sheet_prints_the_report_and_exits_1(
    bad_sheet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = StringIO()
    with pytest.raises(SystemExit) as end:
        call_command("validate_dataset", str(bad_sheet), stdout=out)
    report = json.loads(out.getvalue())
    assert (end.value.code, report["valid"], report["code"]) == (1, False, "invalid_dataset")
    assert (report["error_count"], len(report["errors"])) == (2, 2)


def test_validate_of_a_file_that_is_no_workbook_names_the_code(tmp_path: Path) -> None:
    path, out = tmp_path / "a.xlsx", StringIO()
    path.write_text("a;b")
    with pytest.raises(SystemExit) as end:
        call_command("validate_dataset", str(path), stdout=out)
    assert (end.value.code, json.loads(out.getvalue())["code"]) == (1, "not_xlsx")
