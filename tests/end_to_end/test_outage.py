"""The server goes away in the middle of a training and comes back."""

import os
import time
from collections import Counter
from datetime import UTC, datetime

import pytest

from tests.end_to_end.site import SAMPLES, Site

pytestmark = pytest.mark.slow

# 60 for acceptance: BERT_TESTS_OUTAGE_SECONDS=60 pytest tests/end_to_end/test_outage.py
OUTAGE_S = float(os.environ.get("BERT_TESTS_OUTAGE_SECONDS", "5"))
EPOCHS = int(15 + 3 * OUTAGE_S)


def test_a_training_goes_on_while_the_server_is_away_and_nothing_is_lost_or_doubled(site: Site) -> None:
    dataset = site.upload(SAMPLES / "sample_ner.xlsx")
    run_id = site.queue_run(dataset, epochs=EPOCHS, early_stopping_patience=0, max_length=64)
    worker = site.start_worker("gpu-1", "--once")
    site.wait_until(lambda: bool(_epochs(site, run_id)), "the first epoch is reported", seconds=120)

    assert site.server is not None
    site.server.kill()
    gone_at = datetime.now(UTC)
    time.sleep(OUTAGE_S)
    back_at = datetime.now(UTC)
    site.start_server()
    [run] = site.wait_for_runs([run_id], seconds=180 + 10 * OUTAGE_S)

    assert run["status"] == "completed", run["error"]
    assert run["job"]["attempt"] == 1
    assert _epochs(site, run_id) == Counter(dict.fromkeys(range(1, EPOCHS + 1), 1))
    numbers = [number for (number,) in site.rows("SELECT seq FROM bert_logs ORDER BY seq")]
    assert numbers == list(range(1, len(numbers) + 1))
    lines = site.get(f"/runs/{run_id}/logs", format="json")["results"]
    assert any(gone_at < datetime.fromisoformat(line["timestamp"]) < back_at for line in lines), "training stood still"
    assert worker.wait(60) == 0


def _epochs(site: Site, run_id: int) -> Counter[int]:
    """How often each epoch's validation was reported."""
    points = site.get(f"/runs/{run_id}/metrics")["results"]
    return Counter(round(point["epoch"]) for point in points if point["split"] == "validation")
