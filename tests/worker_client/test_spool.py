"""The spool's bounds: what is dropped, what never is, and what is said and counted of it."""

import json
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from worker_client import reserve, spool
from worker_client.spool import Spool


@pytest.fixture
def small(tmp_path, monkeypatch) -> Spool:
    """A spool that holds at most a hundred unsent lines."""
    monkeypatch.setattr(spool, "MAX_UNSENT_LINES", 100)
    monkeypatch.setattr(spool, "CHECK_EVERY_LINES", 1)
    return Spool(tmp_path / "spool.sqlite3")


def fill(target, count, *, size=0):
    for number in range(1, count + 1):
        target.append_log("INFO", f"line {number}" + "x" * size)


def balance(target):
    """Numbers given out, kept and dropped: they must agree."""
    counts = target.counts()
    assert counts["log_lines"] == len(target.next_logs(10**6)) + counts["left_out"]
    return counts


def test_beyond_the_bound_the_oldest_lines_make_place_for_one_that_says_how_many(small):
    fill(small, 101)
    gap, *kept = small.next_logs(10**6)
    assert gap["message"].startswith("Lines left out here: 11. ")
    assert gap["level"] == "WARNING"
    assert [line["message"] for line in kept] == [f"line {n}" for n in range(12, 102)]
    assert balance(small)["left_out"] == 10


def test_gaps_that_meet_become_one(small):
    fill(small, 1_000)
    gap, after, *_ = small.next_logs(10**6)
    lost = int(gap["message"].split(": ")[1].split(".")[0])
    assert after["message"] == f"line {lost + 1}"
    assert balance(small)["left_out"] == lost - 1


def test_thousands_are_easy_to_read(small, monkeypatch):
    monkeypatch.setattr(spool, "CHECK_EVERY_LINES", 5_000)
    fill(small, 5_000)
    assert small.next_logs(1)[0]["message"].startswith("Lines left out here: 4,910.")


def test_lines_that_are_on_their_way_are_not_dropped(small):
    fill(small, 100)
    small.start_sending(small.next_logs(60))
    fill(small, 80)
    assert [line["seq"] for line in small.next_logs(61)[:60]] == list(range(1, 61))
    assert "left out" in small.next_logs(61)[60]["message"]
    balance(small)


def test_lines_that_are_dropped_after_they_were_read_are_not_sent(small):
    fill(small, 50)
    read = small.next_logs(50)
    fill(small, 100)
    sent = small.start_sending(read)
    assert sent == [line for line in small.next_logs(10**6) if line["seq"] <= 50]
    assert len(sent) < 50
    balance(small)


def test_lines_that_the_server_holds_do_not_count_as_unsent(small):
    fill(small, 90)
    small.accept_logs(91)
    fill(small, 90)
    assert small.counts()["left_out"] == 0


def test_a_spool_of_long_lines_is_bounded_in_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "MAX_BYTES", 200_000)
    monkeypatch.setattr(spool, "CHECK_EVERY_LINES", 10)
    bounded = Spool(tmp_path / "spool.sqlite3")
    fill(bounded, 500, size=2_000)
    bounded._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert bounded.path.stat().st_size < 300_000
    assert bounded.next_logs(10**6)[-1]["message"].startswith("line 500")
    assert balance(bounded)["left_out"] > 300


def test_in_a_full_spool_sent_lines_go_first(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "MAX_BYTES", 200_000)
    monkeypatch.setattr(spool, "CHECK_EVERY_LINES", 10)
    bounded = Spool(tmp_path / "spool.sqlite3")
    for _ in range(10):
        fill(bounded, 50, size=1_000)
        bounded.accept_logs(bounded.counts()["log_lines"] + 1)
    assert bounded.counts()["left_out"] == 0
    assert bounded.path.stat().st_size < 300_000


def test_figures_and_events_are_never_dropped(small):
    for step in range(300):
        small.append_log("INFO", "line")
        small.append_metrics(epoch=1, step=step, split="train", values={"loss": 1.0})
        small.append_event("resumed", step=step)
    assert len(small.next_metrics(10**6)[0]) == 300
    assert [event["details"]["step"] for event in small.next_events(10**6)] == list(range(300))


def test_dropped_lines_become_one_event(small):
    fill(small, 300)
    small.tell_left_out()
    small.tell_left_out()
    (event,) = small.next_events()
    assert (event["kind"], event["details"]) == ("spool_full", {"left_out": small.counts()["left_out"]})


def test_a_spool_that_was_never_full_has_no_such_event(small):
    fill(small, 3)
    small.tell_left_out()
    assert small.next_events() == []


def test_the_counts_say_what_the_server_should_have(small):
    fill(small, 3)
    small.append_event("resumed", step=4)
    for _ in range(2):
        small.append_metrics(epoch=1, step=1, split="train", values={"loss": 1.0})
    assert small.counts() == {"log_lines": 3, "left_out": 0, "metric_points": 1, "events": 1}


def test_the_numbers_go_on_after_a_restart(small):
    fill(small, 300)
    left_out = small.counts()["left_out"]
    small.close()
    again = Spool(small.path)
    fill(again, 300)
    assert balance(again)["log_lines"] == 600
    assert again.counts()["left_out"] > left_out


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_every_number_is_kept_or_counted(tmp_path, monkeypatch, seed):
    dice = random.Random(seed)
    monkeypatch.setattr(spool, "MAX_UNSENT_LINES", 40)
    monkeypatch.setattr(spool, "CHECK_EVERY_LINES", 3)
    target, sent = Spool(tmp_path / "spool.sqlite3"), set()
    for _ in range(400):
        if dice.random() < 0.8:
            fill(target, dice.randint(1, 9))
            continue
        batch = target.next_logs(dice.randint(1, 30))
        if not batch:
            continue
        if dice.random() < 0.5:  # the child goes on writing
            fill(target, dice.randint(1, 30))
        on_their_way = target.start_sending(batch)
        if dice.random() < 0.6:
            sent |= {line["seq"] for line in on_their_way}
            target.accept_logs(batch[-1]["seq"] + 1)
    sent |= {line["seq"] for line in target.next_logs(10**6)}
    counts = target.counts()
    assert counts["left_out"] > 0
    assert counts["log_lines"] == len(sent) + counts["left_out"]


def test_the_reserve_is_of_real_blocks(tmp_path):
    Spool(tmp_path / "spool.sqlite3")
    held = (tmp_path / "spool.reserve").stat()
    assert held.st_size == reserve.RESERVE_BYTES
    assert held.st_blocks * 512 >= reserve.RESERVE_BYTES


def test_a_spool_in_memory_needs_no_room(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Spool(Path(":memory:")).append_log("INFO", "line")
    assert list(tmp_path.iterdir()) == []


def full_database(target):
    """SQLite itself then says that the disk is full."""
    pages = target._db.execute("PRAGMA page_count").fetchone()[0]
    target._db.execute(f"PRAGMA max_page_count = {pages}")


def test_lines_for_which_there_is_no_room_are_counted_and_said_later(tmp_path):
    target = Spool(tmp_path / "spool.sqlite3")
    full_database(target)
    written = 0
    while target.append_log("INFO", "x" * 1_000):
        written += 1
    assert target.append_log("INFO", "x" * 1_000) == 0
    target._db.execute("PRAGMA max_page_count = 100000")
    target.append_log("INFO", "room again")
    *_, gap, last = target.next_logs(10**6)
    assert gap["message"] == "Lines left out here: 2. The disk of this worker was full."
    assert (gap["seq"], last["seq"]) == (written + 3, written + 4)
    assert balance(target)["left_out"] == 2


def test_figures_take_the_place_of_the_reserve(tmp_path, monkeypatch):
    target = Spool(tmp_path / "spool.sqlite3")
    full_database(target)
    freed = reserve.Reserve.give_up

    def free(self):
        freed(self)
        target._db.execute("PRAGMA max_page_count = 100000")

    monkeypatch.setattr(reserve.Reserve, "give_up", free)
    for step in range(300):
        target.append_metrics(epoch=1, step=step, split="train", values={"loss": 1.0, "f1": 0.5})
    assert len(target.next_metrics(10**6)[0]) == 300
    assert not (tmp_path / "spool.reserve").exists()


def test_a_figure_that_finds_no_room_at_all_is_an_error(tmp_path):
    target = Spool(tmp_path / "spool.sqlite3")
    full_database(target)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        for step in range(10_000):
            target.append_metrics(epoch=1, step=step, split="train", values={"loss": 1.0})


def test_what_the_server_took_is_remembered_even_where_the_disk_has_no_room(tmp_path, monkeypatch):
    target = Spool(tmp_path / "spool.sqlite3")
    fill(target, 3)

    def full(self, sql, values):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Spool, "_write_surely", full)
    target.accept_logs(4)
    assert target.next_logs() == []


ON_A_SMALL_DISK = """
import json, sys
from pathlib import Path
from worker_client import reserve
from worker_client.protocol import Outcome
from worker_client.spool import Spool
from worker_client.workspace import Workspace

reserve.RETAKE_EVERY_S = 0.0
workspace = Workspace.create(Path(sys.argv[1]), 1, 1)
spool = Spool(workspace.spool_path)
spool.append_log("INFO", "before")
other = open(sys.argv[1] + "/other", "wb", buffering=0)
try:
    while other.write(bytes(4096)):
        pass
except OSError:
    pass
refused = 0
for number in range(2000):
    refused += spool.append_log("INFO", "y" * 4000) == 0
for step in range(500):
    spool.append_metrics(epoch=1, step=step, split="train", values={"loss": 1.0})
spool.append_event("resumed", step=1)
late = spool.append_log("INFO", "the reserve is gone")
workspace.write_outcome(Outcome("failed", reason="disk_full", message="z" * 20_000))
other.truncate(0)
after = spool.append_log("INFO", "room again")
counts = spool.counts()
kept = len(spool.next_logs(10**6))
print(json.dumps({**counts, "kept": kept, "refused": refused, "late": late, "after": after,
    "figures": len(spool.next_metrics(10**6)[0]), "outcome": workspace.read_outcome().reason}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small disk")
def test_on_a_real_disk_that_is_full_figures_and_the_outcome_go_in_and_lines_are_counted(tmp_path):
    mount = 'mount -t tmpfs -o size=12m none "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-Urm", "sh", "-c", mount, "sh", str(tmp_path), sys.executable, ON_A_SMALL_DISK]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)})
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    told = json.loads(done.stdout)
    assert (told["figures"], told["events"], told["outcome"]) == (500, 1, "disk_full")
    assert told["refused"] > 500
    assert told["late"] == 0
    assert told["after"] == told["log_lines"] == told["kept"] + told["left_out"] == 2_004


def refused(target, count):
    """Lines that come when the reserve has just been given up."""
    target.give_up_reserve()
    for _ in range(count):
        assert target.append_log("INFO", "line") == 0


def test_lines_refused_shortly_before_the_end_are_said_and_counted(tmp_path):
    target = Spool(tmp_path / "spool.sqlite3")
    refused(target, 3)
    target.close()
    again = Spool(target.path)
    assert [line["message"] for line in again.next_logs()] == [
        "Lines left out here: 3. The disk of this worker was full."
    ]
    assert balance(again) == {"log_lines": 4, "left_out": 3, "metric_points": 0, "events": 0}


@pytest.fixture
def no_room_for_the_gap(monkeypatch):
    def full(self, seq, lines, dropped):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Spool, "_add_gap", full)


def test_on_a_disk_that_stays_full_the_parent_counts_what_its_child_could_not_write(tmp_path, no_room_for_the_gap):
    parent, child = Spool(tmp_path / "spool.sqlite3"), Spool(tmp_path / "spool.sqlite3")
    refused(child, 3)
    refused(parent, 2)
    child.close()
    parent.tell_left_out()
    parent.tell_left_out()
    assert (parent.counts()["log_lines"], parent.counts()["left_out"]) == (5, 5)


def test_what_was_counted_and_not_told_waits_for_the_next_start(tmp_path, no_room_for_the_gap):
    target = Spool(tmp_path / "spool.sqlite3")
    refused(target, 3)
    for _ in range(2):
        target.tell_left_out()
        target.close()
        target = Spool(target.path)
    target.tell_left_out()
    assert target.counts()["left_out"] == 3
