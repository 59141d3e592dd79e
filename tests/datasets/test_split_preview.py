"""The split preview: the worker's own split, told next to what a plain random one would leak."""

import json
from pathlib import Path
from typing import Any

import pytest

from datasets_app.preview import preview_of, random_sides
from datasets_app.report import SplitPlan
from datasets_app.validation import check_sheet
from tests.sheet_factories import write_sheet
from tests.worker_client.test_formats_identifiers import cnj, cpf, dotted
from tests.worker_client.test_formats_likeness import random_texts
from worker_client.formats import Record, SheetRequest, read_records
from worker_client.formats.batch import batches_of
from worker_client.formats.split import SplitRows, split_rows

TEXTS = random_texts(400, words=14)


def body(n: int) -> str:
    return TEXTS[n]


def rows_of(count: int, per_case: int = 1) -> list[Record]:
    return [
        Record(n, text=f"{body(n)} autos {cnj(n // per_case)}" if per_case > 1 else body(n), label="ab"[n % 2])
        for n in range(count)
    ]


def split_preview(records: list[Record], plan: SplitPlan) -> dict[str, Any]:
    rows = SplitRows()
    for batch in batches_of(records):
        rows.add(batch)
    return preview_of(rows, plan)


def test_the_preview_is_the_split_that_the_worker_uses() -> None:
    records = rows_of(200)
    preview = split_preview(records, SplitPlan(0.7, 5))
    split = split_rows(records, train_share=0.7, seed=5)
    assert preview["digest"] == split.digest
    assert preview["sizes"] == {
        "train": len(split.train),
        "validation": len(split.validation),
        "test": len(split.test),
    }
    assert sum(preview["sizes"].values()) == 200


def test_classes_are_told_by_part() -> None:
    assert split_preview(rows_of(200), SplitPlan())["classes"] == [
        {"name": "a", "train": 80, "validation": 10, "test": 10},
        {"name": "b", "train": 80, "validation": 10, "test": 10},
    ]


def test_entities_are_told_by_part() -> None:
    records = [Record(n, tokens=tuple(body(n).split()), tags=("B-P", "I-P", "O", "B-L", "O", "O")) for n in range(100)]
    assert [(c["name"], c["train"]) for c in split_preview(records, SplitPlan())["classes"]] == [("L", 80), ("P", 80)]


def test_a_random_split_leaks_cases_and_ours_none() -> None:
    preview = split_preview(rows_of(300, per_case=3), SplitPlan())
    assert (preview["basis"], preview["groups"]) == ("cnj", 100)
    assert preview["leaked_by_random"]["groups"] > 5
    assert preview["leaked_by_ours"] == {"groups": 0, "texts": 0, "near_duplicates": 0}


def test_a_random_split_leaks_near_duplicates_and_equal_texts_and_ours_none() -> None:
    records = rows_of(300)
    near = [Record(1000 + r.row, f"{r.text.upper()}, {r.row}.", r.label) for r in records[:80]]
    equal = [Record(2000 + r.row, r.text, r.label) for r in records[100:180]]
    preview = split_preview([*records, *near, *equal], SplitPlan())
    assert preview["leaked_by_random"]["near_duplicates"] > 5
    assert preview["leaked_by_random"]["texts"] > 5
    assert preview["leaked_by_ours"] == {"groups": 0, "texts": 0, "near_duplicates": 0}


def test_leaks_of_a_random_split_are_counted_one_by_one() -> None:
    """Against a count by hand: every pair of a test row and a training row."""
    records = [*rows_of(60, per_case=2), *rows_of(30, per_case=2)]
    plan = SplitPlan(0.6, 3)
    sides = random_sides(len(records), plan)
    trained = [r for r, side in zip(records, sides, strict=True) if side == 0]
    tested = [r for r, side in zip(records, sides, strict=True) if side == 2]
    cases = [{r.text[-25:] for r in part} for part in (trained, tested)]
    leaked = split_preview(records, plan)["leaked_by_random"]
    assert leaked["groups"] == len(cases[0] & cases[1])
    assert leaked["texts"] == sum(r.text in {t.text for t in trained} for r in tested)


def test_a_given_split_is_judged_as_it_is() -> None:
    records = [Record(n, body(n // 2), "ab"[n % 2], split=("train", "test")[n % 2]) for n in range(40)]
    preview = split_preview(records, SplitPlan())
    assert preview["basis"] == "split"
    assert preview["leaked_by_ours"]["texts"] == 20


def test_a_template_that_cannot_be_kept_together_is_told() -> None:
    records = [Record(n, f"Intimação do réu, prazo de {n} dias.", "ab"[n % 2]) for n in range(100)]
    preview = split_preview(records, SplitPlan())
    assert preview["split_families"] == {"families": 1, "rows": 100}
    assert preview["leaked_by_ours"]["near_duplicates"] == preview["sizes"]["test"] == 10


def sheet(tmp_path: Path, rows: list[tuple[Any, ...]]) -> Path:
    return write_sheet(tmp_path / "a.xlsx", [("text", "label"), *rows])


def test_the_report_holds_the_preview_of_the_defaults(tmp_path: Path) -> None:
    path = sheet(tmp_path, [(r.text, r.label) for r in rows_of(40, per_case=4)])
    stored = check_sheet(path, SheetRequest()).quality["split"]
    assert (stored["train_share"], stored["seed"], stored["groups"]) == (0.8, 42, 10)
    records = [*read_records(path, task_type="text_classification", sheet=None, columns={})]
    assert stored == split_preview(records, SplitPlan())


def test_identifiers_are_counted_and_never_told(tmp_path: Path) -> None:
    case, person = cnj(77), dotted(cpf("123456780"))
    rows = [(r.text, r.label) for r in rows_of(20)]
    rows += [(f"{body(30)} {case} e {case}; CPF {person}; OAB/CE nº 12.345", "a"), (f"{body(31)} {cnj(78)}", "b")]
    report = check_sheet(sheet(tmp_path, rows), SheetRequest())
    assert report.quality["identifiers"] == {
        "cnj": {"count": 3, "rows_count": 2},
        "cpf": {"count": 1, "rows_count": 1},
        "oab": {"count": 1, "rows_count": 1},
    }
    told = json.dumps(report.to_json())
    assert not any(number in told for number in (case, cnj(77, dots=False), person, cpf("123456780"), "12.345"))


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_rows_have_a_preview_too(count: int) -> None:
    assert sum(split_preview(rows_of(count), SplitPlan())["sizes"].values()) == count
