"""Two workers on one queue."""

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.end_to_end.site import Site
from tests.sheet_factories import text_sheet

pytestmark = pytest.mark.slow

# 30 for acceptance: BERT_TESTS_RUNS=30 pytest tests/end_to_end/test_many_runs.py
RUNS = int(os.environ.get("BERT_TESTS_RUNS", "4"))
ROWS = [(f"{verb} o recurso número {number}", verb) for verb in ("provido", "negado") for number in range(20)]


def test_two_workers_share_the_runs_and_each_is_trained_once(site: Site, tmp_path: Path) -> None:
    dataset = site.upload(text_sheet(tmp_path / "recursos.xlsx", ROWS))
    wanted = [site.queue_run(dataset, seed=seed, epochs=1, max_length=16) for seed in range(RUNS)]
    workers = [site.start_worker(name, "--drain-when-idle") for name in ("gpu-1", "gpu-2")]
    runs = site.wait_for_runs(wanted, seconds=60 + 30 * RUNS)

    assert Counter(run["status"] for run in runs) == {"completed": RUNS}
    assert [run["job"]["attempt"] for run in runs] == [1] * RUNS
    assert site.rows("SELECT outcome, COUNT(*) FROM bert_attempts GROUP BY outcome") == [("completed", RUNS)]
    assert {run["job"]["worker"] for run in runs} == {"gpu-1", "gpu-2"}
    kept = [path.name for name in ("gpu-1", "gpu-2") for path in site.models_dir(name).glob("run-*")]
    assert sorted(kept) == sorted(f"run-{run}" for run in wanted)
    assert [worker.wait(60) for worker in workers] == [0, 0]
    for child in (site.server, *workers):
        assert child is not None
        log = site.log_of(child)
        assert "ERROR" not in log and "Traceback" not in log, log
