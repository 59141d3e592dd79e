"""A child that nobody waits for any more stops; of several processes one speaks."""

import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from tests.worker_client.training_factories import make_spec, make_workspace, text_rows
from worker_client.errors import Stopped
from worker_client.training.__main__ import main
from worker_client.training.stopping import Stopping
from worker_client.workspace import Workspace


@pytest.fixture
def worker():
    """A process that can be killed in the place of a worker; (process, when it began)."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process, psutil.Process(process.pid).create_time()
    process.kill()
    process.wait()


@pytest.fixture
def stopping(tmp_path, monkeypatch):
    monkeypatch.setattr("worker_client.training.stopping.LOOK_EVERY_S", 0.0)
    return Stopping(Workspace(tmp_path))


def test_a_worker_that_lives_is_no_reason_to_stop(stopping, worker):
    stopping.watch(worker[0].pid, worker[1])
    assert stopping.reason() is None


def test_a_killed_worker_is_one_though_the_parent_of_this_process_lives(stopping, worker):
    stopping.watch(worker[0].pid, worker[1])
    worker[0].kill()
    psutil.wait_procs([psutil.Process(worker[0].pid)], timeout=5)
    assert stopping.reason() == "crashed"
    with pytest.raises(Stopped):
        stopping.check()


def test_another_process_with_the_id_of_the_worker_is_not_taken_for_it(stopping, worker):
    stopping.watch(worker[0].pid, worker[1] - 60)
    assert stopping.reason() == "crashed"


def test_a_clock_that_is_set_meanwhile_makes_no_other_worker_of_it(stopping, worker, monkeypatch):
    stopping.watch(worker[0].pid, worker[1])
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: worker[1] + 3600)
    assert stopping.reason() is None


def test_the_worker_is_looked_for_once_a_second_only(tmp_path, worker, monkeypatch):
    looks = []
    monkeypatch.setattr("worker_client.training.stopping.is_alive", lambda process: looks.append(process) or True)
    stopping = Stopping(Workspace(tmp_path))
    stopping.watch(worker[0].pid, worker[1])
    assert [stopping.reason() for _ in range(1_000)] == [None] * 1_000
    assert len(looks) == 1


def test_of_several_processes_the_first_that_asks_has_the_word_until_the_child_is_started_again(tmp_path):
    workspace = make_workspace(tmp_path, make_spec(tmp_path, []))
    assert [workspace.take_the_word() for _ in range(3)] == [True, False, False]
    workspace.forget_outcome()
    assert workspace.take_the_word()


def test_what_the_first_process_meets_after_another_failed_is_not_told(tmp_path, monkeypatch):
    spec = make_spec(tmp_path, text_rows(30), hyperparameters={"lerning_rate": 1})
    workspace = make_workspace(tmp_path, spec)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    main([str(workspace.root)])
    workspace.write_spec(replace(spec, hyperparameters={}, dataset_path="nowhere.xlsx"))
    monkeypatch.setenv("RANK", "0")
    main([str(workspace.root)])
    assert workspace.read_outcome().reason == "invalid_data"
