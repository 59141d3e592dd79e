"""Workers are answered while people, and worse, make the server read sheets."""

import statistics
import threading
import time
from pathlib import Path

import pytest
import requests

from tests.end_to_end.sheet_load import Load, claim_seconds, honest_sheet
from tests.end_to_end.site import Site
from tests.sheet_factories import text_sheet

pytestmark = pytest.mark.slow

CLIENTS = 6
AT_MOST_S = 300
# The goal is 1 s for every claim, which benchmarks/bench_claim_under_load.py measures on a quiet machine. Here other
# processes may take the processors for a moment: 19 of 20 claims must reach it, and no claim may hang.
GOAL_S, NEVER_S = 1, 10
BUSY = 503  # come again: for who waited too long in the queue of a slow machine
STATUSES = {"accept": {200, BUSY}, "reject": {422, BUSY}, "either": {200, 422, BUSY}}


def test_a_claim_is_answered_within_a_second_while_every_awkward_sheet_is_sent(site: Site, tmp_path: Path) -> None:
    site.queue_run(site.upload(text_sheet(tmp_path / "small.xlsx")))
    large, large_answers = honest_sheet(tmp_path / "large.xlsx", rows=60_000), list[requests.Response]()
    load, deadline = Load(site, CLIENTS), time.monotonic() + AT_MOST_S

    def send_large() -> None:
        while (answer := load.validate(large)).status_code == BUSY and time.monotonic() < deadline:
            time.sleep(1)
        large_answers.append(answer)

    def all_is_answered() -> bool:
        assert time.monotonic() < deadline, "not every sheet was answered in time"
        return load.is_through() and bool(large_answers)

    sender = threading.Thread(target=send_large)
    with load.running():
        sender.start()
        seconds = claim_seconds(site, "gpu-1", until=all_is_answered)
    sender.join()

    assert len(seconds) > 20
    assert statistics.quantiles(seconds, n=20)[-1] < GOAL_S
    assert max(seconds) < NEVER_S
    assert (large_answers[0].status_code, large_answers[0].json()["num_rows"]) == (200, 60_000)
    wrong = [(case["file"], status) for case, status in load.answers if status not in STATUSES[case["expected"]]]
    assert wrong == []
