"""What the worker measures is what the server takes."""

from pathlib import Path

import pytest

from tests.end_to_end.site import TINY, Site
from tests.sheet_factories import text_sheet, token_sheet

pytestmark = pytest.mark.slow

TEXTS = [(f"{verb} o recurso número {number}", verb) for verb in ("provido", "negado") for number in range(20)]
TOKENS = [(f"Maria {number} recorreu", "B-PESSOA O O") for number in range(40)]


@pytest.mark.parametrize(("write", "rows"), [(text_sheet, TEXTS), (token_sheet, TOKENS)], ids=["texts", "tokens"])
def test_a_dataset_shows_how_long_its_rows_are_once_a_run_has_measured_them(
    site: Site, tmp_path: Path, write, rows
) -> None:
    dataset = site.upload(write(tmp_path / "rows.xlsx", rows))
    run = site.queue_run(dataset, epochs=1, max_length=16)
    site.start_worker("gpu-1", "--once")
    site.wait_for_runs([run], seconds=120)
    measured = site.get(f"/datasets/{dataset['id']}")["report"]["token_lengths"][TINY]
    assert (measured["run"], measured["learned_here"]) == (run, True)
    assert 5 <= measured["min"] <= measured["p50"] <= measured["max"]
    assert [step["rows"] for step in measured["beyond"]] == [0, 0, 0]
