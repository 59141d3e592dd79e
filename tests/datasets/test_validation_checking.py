"""The child process around the judgement: same report, and limits that end it."""

import time
from pathlib import Path

import pytest

from datasets_app.checking import check_file
from datasets_app.confined import CheckingFailed, ChildLimits
from datasets_app.validation import check_sheet
from tests.sheet_factories import TEXT_ROWS, inline, parts, text_sheet, text_xml, write_parts
from worker_client.formats import Limits, SheetRefused, SheetRequest


def refusal(path: Path, *, limits: Limits | None = None, child: ChildLimits | None = None) -> SheetRefused:
    with pytest.raises(SheetRefused) as caught:
        check_file(path, SheetRequest(), limits=limits or Limits(), child=child or ChildLimits())
    return caught.value


def test_the_child_gives_the_same_report_as_the_judgement_itself(tmp_path: Path) -> None:
    path = text_sheet(tmp_path / "ação 1.xlsx", [*TEXT_ROWS, ("sem rótulo", None)])
    asked = SheetRequest("text_classification", "dados", {"text": "text", "label": "LABEL"})
    report = check_file(path, asked)
    assert report == check_sheet(path, asked)
    assert report.error_count == 1


def test_a_refusal_comes_through_with_code_words_and_facts(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(b"%PDF-1.7")
    refused = refusal(path)
    assert (refused.code, refused.params) == ("not_xlsx", {"kind": "pdf"})
    assert "not an .xlsx workbook" in str(refused)


def test_the_limits_of_the_caller_hold_in_the_child(tmp_path: Path) -> None:
    path = text_sheet(tmp_path / "a.xlsx")
    assert refusal(path, limits=Limits(max_rows=2)).code == "too_many_rows"


def large(tmp_path: Path) -> Path:
    """Many cells in a small file: seconds of work, hundreds of megabytes of strings."""
    strings = "".join(f"<si><t>{i:030d}</t></si>" for i in range(1_000_000))
    return write_parts(tmp_path / "a.xlsx", parts(text_xml(), strings=strings))


def test_a_file_that_needs_more_memory_than_allowed_is_too_large(tmp_path: Path) -> None:
    refused = refusal(large(tmp_path), child=ChildLimits(memory_bytes=64 << 20))
    assert (refused.code, refused.params["what"]) == ("too_large", "bytes of memory")


def slow(tmp_path: Path) -> Path:
    row = "".join(f'<c r="{chr(65 + i)}4"><f>1</f></c>' for i in range(26))
    xml = text_xml().replace(
        "</sheetData>", "".join(f'<row r="{n}">{row}</row>' for n in range(4, 100_000)) + "</sheetData>"
    )
    return write_parts(tmp_path / "a.xlsx", parts(xml))


def test_a_file_that_takes_too_long_is_too_large_and_its_child_is_gone(tmp_path: Path) -> None:
    path = slow(tmp_path)
    started = time.monotonic()
    by_clock = refusal(path, child=ChildLimits(wall_s=1))
    assert time.monotonic() - started < 5
    by_processor = refusal(path, child=ChildLimits(cpu_s=1))
    assert [by_clock.code, by_processor.code] == ["too_large", "too_large"]
    assert by_processor.params["what"] == "seconds of computing"


def test_a_file_that_is_not_there_is_no_fault_of_the_sheet(tmp_path: Path) -> None:
    with pytest.raises(CheckingFailed, match="No such file"):
        check_file(tmp_path / "gone.xlsx", SheetRequest())


def test_an_unknown_task_is_a_programming_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="task_type"):
        check_file(text_sheet(tmp_path / "a.xlsx"), SheetRequest(task_type="regression"))


def test_hidden_content_of_a_workbook_cannot_reach_the_report(tmp_path: Path) -> None:
    """Only headers, labels and shortened cells come back, never whole texts."""
    secret = "segredo " * 100
    path = write_parts(tmp_path / "a.xlsx", parts(text_xml(inline("A4", secret) + inline("B4", "sim"))))
    assert secret.strip() not in str(check_file(path, SheetRequest()).to_json())
