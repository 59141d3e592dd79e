"""Every line of the corpus of awkward and hostile files, each judged in a child with little memory and time."""

import csv
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from datasets_app.checking import check_file
from datasets_app.confined import ChildLimits
from datasets_app.validation import DatasetReport
from worker_client.formats import SheetRefused, SheetRequest

ROOT = Path(__file__).parent.parent.parent
CORPUS = ROOT / "tests" / "data" / "nasty"
# Processor seconds and address space of the whole child, an empty interpreter (about 30 MiB) included.
TIGHT = ChildLimits(memory_bytes=180 << 20, cpu_s=2, wall_s=60)

with (CORPUS / "manifest.csv").open(encoding="utf-8", newline="") as manifest:
    CASES = list(csv.DictReader(manifest))


def judge(case: dict[str, str]) -> DatasetReport:
    params = dict(parse_qsl(case["params"]))
    request = SheetRequest(task_type=case["task"], sheet=params.get("sheet"))
    return check_file(CORPUS / case["file"], request, repair_bio=params.get("repair_bio") == "1", child=TIGHT)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(filter(None, (case["file"], case["params"]))))
def test_a_file_of_the_corpus_ends_as_its_manifest_says(case: dict[str, str]) -> None:
    try:
        report = judge(case)
    except SheetRefused as refused:
        assert case["expected"] in ("reject", "either"), str(refused)
        assert refused.code in case["reason"].split("|")
        assert refused.params.get("what") not in ("seconds", "seconds of computing", "bytes of memory")
        return
    assert report.valid == (case["expected"] in ("accept", "either")), report.errors
    if report.valid:
        assert report.num_rows == int(case["rows"])
        assert set(case["warnings"].split()) <= {warning.code for warning in report.warnings}
    else:
        assert {error.code for error in report.errors} <= set(case["reason"].split("|"))
        assert {error.row for error in report.errors} == {int(row) for row in case["error_rows"].split()}


MEASURED = """
import resource, sys
from pathlib import Path
from datasets_app.checking import check_sheet
from worker_client.formats import SheetRefused, SheetRequest
if sys.argv[1:]:
    path, task, sheet, repair = sys.argv[1:]
    try:
        check_sheet(Path(path), SheetRequest(task, sheet or None), repair_bio=repair == "1")
    except SheetRefused:
        pass
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_maxrss / 1024, used.ru_utime + used.ru_stime)
"""
MAX_GROWTH_MIB, MAX_CPU_S = 150, 2


def cost(*arguments: str) -> tuple[float, float]:
    """The highest resident size in MiB and the processor seconds of a child that judges a file, or does nothing."""
    # A child inherits the peak of the process that forks it: a small one in between keeps pytest's out of it.
    command = ["/bin/sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-E", "-c", MEASURED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60)
    peak, seconds = map(float, done.stdout.split())
    return peak, seconds


@cache
def empty_child() -> float:
    return cost()[0]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(filter(None, (case["file"], case["params"]))))
def test_a_file_of_the_corpus_costs_little_time_and_memory(case: dict[str, str]) -> None:
    params = dict(parse_qsl(case["params"]))
    file = str(CORPUS / case["file"])
    peak, seconds = cost(file, case["task"], params.get("sheet", ""), params.get("repair_bio", ""))
    assert peak - empty_child() < MAX_GROWTH_MIB
    assert seconds < MAX_CPU_S


def test_the_corpus_is_complete() -> None:
    assert len(CASES) == 42
    assert {case["file"] for case in CASES} == {path.name for path in CORPUS.iterdir()} - {
        "manifest.csv",
        "LICENSES.md",
    }


def case_of(file: str, params: str = "") -> dict[str, str]:
    return next(case for case in CASES if case["file"] == file and case["params"] == params)


def test_the_content_of_a_local_file_never_comes_back() -> None:
    with pytest.raises(SheetRefused) as caught:
        judge(case_of("xxe_arquivo_local.xlsx"))
    assert "root:" not in json.dumps([str(caught.value), caught.value.params])


def test_python_lists_leave_no_quotes_or_brackets_in_tags() -> None:
    labels = judge(case_of("ner_lista_python.xlsx")).labels
    assert labels
    assert not any(set("[]'\",") & set(label["name"]) for label in labels)


def test_labels_that_look_like_missing_values_stay_text() -> None:
    names = {label["name"] for label in judge(case_of("ok_caracteres_especiais.xlsx")).labels}
    assert {"N/A", "NA", "null", "None", "nan", "TRUE", "1,5"} <= names


def test_a_number_label_shows_no_decimal_point() -> None:
    assert [label["name"] for label in judge(case_of("ok_rotulo_numerico.xlsx")).labels] == ["0", "1", "2"]


def test_an_orphan_tag_is_named_with_its_place_and_its_repair() -> None:
    first = judge(case_of("ner_bio_invalido.xlsx")).errors[0]
    assert first.params["repaired"] == "B" + first.params["tag"][1:]
    assert first.params["position"] >= 1


def test_the_report_says_how_many_tags_were_repaired() -> None:
    repaired = [w for w in judge(case_of("ner_bio_invalido.xlsx", "repair_bio=1")).warnings if w.code == "repaired_bio"]
    assert [(warning.count, warning.rows) for warning in repaired] == [(2, [4, 13])]


def test_error_cells_are_named_by_their_addresses() -> None:
    errors = judge(case_of("celulas_de_erro.xlsx")).errors
    assert [(f"{error.column}{error.row}", error.value) for error in errors] == [
        ("A5", "#N/A"),
        ("B9", "#DIV/0!"),
        ("B15", "#REF!"),
    ]


def test_an_old_workbook_is_not_taken_for_an_encrypted_one() -> None:
    with pytest.raises(SheetRefused) as caught:
        judge(case_of("xls_renomeado.xlsx"))
    assert caught.value.params["kind"] == "xls"
