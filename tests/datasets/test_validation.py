"""The report on a sheet: errors, warnings, labels, quality."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from datasets_app.report import DatasetReport, ReportedWarning
from datasets_app.validation import check_sheet
from tests.sheet_factories import text_sheet, token_sheet, write_sheet
from worker_client.formats import SheetRefused, SheetRequest

Rows = list[tuple[Any, ...]]


def rows_of(**counts: int) -> Rows:
    """Different texts, so many of each label."""
    words = ["apelação", "embargos", "agravo", "recurso", "sentença", "acórdão", "citação", "penhora"]
    return [
        (f"{label} {words[i % 8]} {words[i // 8 % 8]} do processo {chr(97 + i % 26) * 5}", label)
        for label, count in counts.items()
        for i in range(count)
    ]


def check(tmp_path: Path, rows: Rows, header: tuple[str, ...] = ("text", "label"), **asked: Any) -> DatasetReport:
    path = write_sheet(tmp_path / "a.xlsx", [header, *rows])
    return check_sheet(path, SheetRequest(), **asked)


def warning(report: DatasetReport, code: str) -> ReportedWarning | None:
    return next((found for found in report.warnings if found.code == code), None)


def counted(report: DatasetReport, code: str) -> tuple[int, list[int]] | None:
    found = warning(report, code)
    return found and (found.count, found.rows)


BALANCED = rows_of(a=8, b=8)  # rows 2 to 17


def test_a_clean_sheet_is_valid_and_has_nothing_to_warn_of(tmp_path: Path) -> None:
    report = check(tmp_path, BALANCED)
    assert (report.valid, report.num_rows, report.error_count, report.warnings) == (True, 16, 0, [])
    assert report.labels == [{"name": "a", "count": 8}, {"name": "b", "count": 8}]
    assert (report.task_type, report.sheet) == ("text_classification", "dados")
    assert report.columns == {"text": "text", "label": "label"}


def test_a_report_survives_json(tmp_path: Path) -> None:
    report = check(tmp_path, [*BALANCED, ("", "a"), ("texto", "c")])
    assert DatasetReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_errors_name_sheet_row_column_code_and_value(tmp_path: Path) -> None:
    report = check(tmp_path, [*BALANCED, (None, "a"), ("texto", "  "), ("outro", "#N/A")])
    assert not report.valid
    found = [(e.sheet, e.row, e.column, e.code, e.value) for e in report.errors]
    assert found == [
        ("dados", 18, "A", "empty_text", ""),
        ("dados", 19, "B", "empty_label", ""),
        ("dados", 20, "B", "error_cell", "#N/A"),
    ]


def test_a_value_is_shortened(tmp_path: Path) -> None:
    report = check(tmp_path, [("a " * 500, "O")], header=("tokens", "tags"))
    assert report.errors[0].params["tokens"] == 500
    assert len(check(tmp_path, [("a", "O " * 500)], header=("tokens", "tags")).errors[0].value) == 80


def test_the_list_of_errors_stops_at_a_thousand_and_the_count_goes_on(tmp_path: Path) -> None:
    report = check(tmp_path, [*BALANCED, *((None, "a"),) * 1_200])
    assert (len(report.errors), report.error_count) == (1_000, 1_200)


def refusal(tmp_path: Path, rows: Rows, header: tuple[str, ...] = ("text", "label")) -> SheetRefused:
    with pytest.raises(SheetRefused) as caught:
        check(tmp_path, rows, header)
    return caught.value


def test_a_header_without_rows_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, []).code == "no_rows"


def test_one_class_is_too_few(tmp_path: Path) -> None:
    refused = refusal(tmp_path, rows_of(a=8))
    assert (refused.code, refused.params["found"]) == ("too_few_classes", ["a"])


def test_tokens_without_any_entity_are_too_few_classes(tmp_path: Path) -> None:
    assert refusal(tmp_path, [("a b", "O O")], ("tokens", "tags")).code == "too_few_classes"


def test_faulty_rows_are_told_before_missing_classes(tmp_path: Path) -> None:
    report = check(tmp_path, [*rows_of(a=8), ("texto", None)])
    assert (report.valid, report.errors[0].code) == (False, "empty_label")


def test_classes_under_five_rows_are_rare(tmp_path: Path) -> None:
    report = check(tmp_path, [*BALANCED, *rows_of(c=4), *rows_of(d=5)])
    assert counted(report, "rare_class") == (4, [18, 19, 20, 21])
    assert warning(report, "rare_class").params["classes"] == ["c"]  # type: ignore[union-attr]


def test_labels_that_differ_by_case_or_accents_are_variants(tmp_path: Path) -> None:
    rows = [*rows_of(Citação=8, outro=8), ("um texto novo", "CITACAO"), ("mais um texto", "citação")]
    report = check(tmp_path, rows)
    assert counted(report, "label_variant") == (2, [18, 19])
    assert warning(report, "label_variant").params["groups"] == [["Citação", "CITACAO", "citação"]]  # type: ignore[union-attr]


def test_repeated_texts_are_counted_after_the_first(tmp_path: Path) -> None:
    report = check(tmp_path, [*BALANCED, BALANCED[0], BALANCED[0]])
    assert counted(report, "duplicate_text") == (2, [18, 19])
    assert warning(report, "contradictory_labels") is None
    assert report.quality["distinct_texts"] == 16


def test_one_text_with_two_labels_contradicts_itself(tmp_path: Path) -> None:
    report = check(tmp_path, [*BALANCED, (BALANCED[0][0], "b")])
    assert counted(report, "contradictory_labels") == (2, [2, 18])


def test_texts_that_differ_by_case_accents_digits_and_signs_are_near_duplicates(tmp_path: Path) -> None:
    rows = [
        *BALANCED,
        ("Intime-se a ré em 5 dias.", "a"),
        ("INTIME SE A RE, EM 15 DIAS", "a"),
        ("Intime-se o réu", "b"),
    ]
    report = check(tmp_path, rows)
    assert counted(report, "near_duplicate") == (1, [19])
    assert warning(report, "duplicate_text") is None


def test_long_texts_are_estimated_by_their_words(tmp_path: Path) -> None:
    report = check(tmp_path, [*BALANCED, ("palavra " * 169, "a"), ("palavra " * 170, "b")])
    found = warning(report, "long_text")
    assert found is not None
    assert (found.count, found.rows) == (1, [19])
    assert (found.params["basis"], found.params["max_length"], found.params["share"]) == ("words", 256, 0.0556)


def test_a_class_ten_times_another_is_an_imbalance(tmp_path: Path) -> None:
    assert warning(check(tmp_path, rows_of(a=60, b=7)), "imbalance") is None
    found = warning(check(tmp_path, rows_of(a=60, b=6)), "imbalance")
    assert found is not None
    assert (found.count, found.params["largest"], found.params["classes"]) == (1, "a", ["b"])


def test_dates_formulas_and_extra_columns_are_noted(tmp_path: Path) -> None:
    rows = [(*row, None) for row in BALANCED] + [("com data", date(2024, 1, 31), "x")]
    report = check(tmp_path, rows, header=("text", "label", "nota"))
    assert counted(report, "date_label") == (1, [18])
    assert {"name": "2024-01-31", "count": 1} in report.labels
    assert warning(report, "extra_columns").params["columns"] == ["nota"]  # type: ignore[union-attr]


def test_tags_are_listed_as_they_are_and_counted_by_token(tmp_path: Path) -> None:
    path = token_sheet(tmp_path / "a.xlsx", [("a b c", "B-P I-P O"), ("d e", "B-L O"), ("f", "O")])
    report = check_sheet(path, SheetRequest())
    assert report.labels == [
        {"name": "O", "count": 3},
        {"name": "B-L", "count": 1},
        {"name": "B-P", "count": 1},
        {"name": "I-P", "count": 1},
    ]
    quality = report.quality
    assert (quality["tokens"], quality["tokens_outside"], quality["rows_without_entity"]) == (6, 3, 1)
    assert quality["classes"] == [{"name": "L", "count": 1, "share": 0.5}, {"name": "P", "count": 1, "share": 0.5}]


def test_repairs_are_counted_by_tag_with_their_rows(tmp_path: Path) -> None:
    path = token_sheet(tmp_path / "a.xlsx", [("a b", "B-P I-P"), ("a c", "I-P O"), ("x y", "I-P I-L")])
    report = check_sheet(path, SheetRequest(), repair_bio=True)
    assert counted(report, "repaired_bio") == (3, [3, 4])


def test_the_same_tokens_with_other_tags_contradict(tmp_path: Path) -> None:
    path = token_sheet(tmp_path / "a.xlsx", [("a b", "B-P O"), ("a b", "O O"), ("c", "B-P")])
    assert counted(check_sheet(path, SheetRequest()), "contradictory_labels") == (2, [2, 3])


def test_quality_tells_lengths_and_shares(tmp_path: Path) -> None:
    rows = [("palavra " * n, "ab"[n % 2]) for n in range(1, 101)]
    quality = check(tmp_path, rows).quality
    assert quality["words"] == {"min": 1, "p50": 50, "p90": 90, "p99": 99, "max": 100, "mean": 50.5}
    assert quality["characters"]["max"] == 799
    assert quality["beyond"][0] == {"max_length": 128, "rows": 16, "share": 0.16, "basis": "words"}
    assert [c["share"] for c in quality["classes"]] == [0.5, 0.5]


def test_groups_and_given_splits_are_counted(tmp_path: Path) -> None:
    rows = [(*row, f"p{i % 3}", "test" if i < 4 else "train") for i, row in enumerate(BALANCED)]
    quality = check(tmp_path, rows, header=("text", "label", "processo", "split")).quality
    assert (quality["groups"], quality["splits"]) == (3, {"test": 4, "train": 12})


def test_a_sheet_of_planted_faults_is_told_row_by_row(tmp_path: Path) -> None:
    rows: Rows = [
        *((*row, "") for row in BALANCED),
        (None, "a", ""),
        ("\u00a0\u200b", "a", ""),
        ("#DIV/0!", "a", ""),
        ("texto sem rótulo", None, ""),
        ("fórmula sem valor", "=B2", ""),
        ("divisão desconhecida", "a", "holdout"),
        ("classe de um só", "única", ""),
        (7, 7, ""),
        ("x" * 32_767, "a", ""),
    ]
    report = check(tmp_path, rows, header=("Texto", "Rótulo", "split"))
    assert [(e.row, e.column, e.code) for e in report.errors] == [
        (18, "A", "empty_text"),
        (19, "A", "empty_text"),
        (20, "A", "error_cell"),
        (21, "B", "empty_label"),
        (22, "B", "empty_label"),
        (23, "C", "unknown_split"),
    ]
    assert counted(report, "rare_class") == (2, [24, 25])
    assert {"name": "7", "count": 1} in report.labels


def test_judging_loads_no_django_and_nothing_heavy() -> None:
    heavy = ("django", "numpy", "pandas", "openpyxl")
    loaded = f"import sys, datasets_app.checking; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_extra_text_columns_do_not_matter_to_a_named_sheet(tmp_path: Path) -> None:
    path = text_sheet(tmp_path / "a.xlsx", BALANCED)
    asked = SheetRequest(sheet="dados", columns={"text": "TEXT", "label": "label"})
    assert check_sheet(path, asked) == check_sheet(path, SheetRequest())
