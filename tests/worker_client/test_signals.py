"""The real program and real signals."""

import signal
import sys
import time

import psutil
import pytest

from tests.worker_client.fake_server import TOKEN

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
]


def test_the_first_ctrl_c_finishes_the_job_and_takes_no_other(server, start_worker, tmp_path):
    first, second = server.add_job(steps=30, step_s=0.05), server.add_job()
    process = start_worker()
    server.wait_for(lambda: first.points)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert (first.status, second.status) == ("completed", "pending")
    assert "SIGINT: finishing the job under way" in (tmp_path / "worker.log").read_text()


def test_the_second_ctrl_c_gives_the_job_back_with_a_checkpoint(server, settings, start_worker, tmp_path):
    job = server.add_job(steps=2000, step_s=0.05)
    process = start_worker()
    server.wait_for(lambda: job.points)
    process.send_signal(signal.SIGINT)
    server.wait_for(lambda: "A second one gives it back" in (tmp_path / "worker.log").read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert job.releases == ["shutdown"]
    assert (settings.work_dir / "jobs/1/checkpoints/step").exists()


def test_the_first_sigterm_gives_the_job_back_with_a_checkpoint(server, settings, start_worker):
    job = server.add_job(steps=2000, step_s=0.05)
    process = start_worker()
    server.wait_for(lambda: job.points)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert (job.releases, job.status) == (["shutdown"], "pending")
    assert (settings.work_dir / "jobs/1/checkpoints/step").exists()


def test_a_sigterm_to_every_process_at_once_costs_no_attempt(server, settings, start_worker):
    job = server.add_job(steps=2000, step_s=0.05)
    process = start_worker()
    server.wait_for(lambda: job.points)
    for member in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
        member.terminate()
    assert process.wait(20) == 0
    assert job.releases == ["shutdown"]


def test_the_second_sigterm_does_not_wait_for_the_training(server, start_worker, tmp_path):
    job = server.add_job(steps=2000, step_s=0.05, deaf=1)
    process = start_worker()
    server.wait_for(lambda: job.points)
    process.send_signal(signal.SIGTERM)
    server.wait_for(lambda: "A second one does not save" in (tmp_path / "worker.log").read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert job.releases == ["shutdown"]


def test_a_file_stops_where_no_signal_can_be_sent(server, settings, start_worker):
    job = server.add_job(steps=2000, step_s=0.05)
    process = start_worker()
    server.wait_for(lambda: job.points)
    (settings.work_dir / "stop").touch()
    assert process.wait(20) == 0
    assert job.releases == ["shutdown"]


def test_a_file_of_an_earlier_stop_does_not_stop_the_next_worker(server, settings, start_worker):
    (settings.work_dir / "stop").touch()
    job = server.add_job()
    assert start_worker("--drain-when-idle").wait(20) == 0
    assert job.status == "completed"
    assert not (settings.work_dir / "stop").exists()


def test_a_worker_that_slept_while_its_job_was_given_away_stops_its_training(server, settings, start_worker):
    job = server.add_job(steps=2000, step_s=0.05)
    process = start_worker()
    server.wait_for(lambda: job.points)
    process.send_signal(signal.SIGSTOP)
    job.fenced, job.status = True, "failed"
    time.sleep(1)
    (child,) = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGCONT)
    assert psutil.wait_procs([child], timeout=10)[1] == []
    assert (settings.work_dir / "jobs/1/checkpoints/step").exists()
    assert not server.calls("/jobs/1/(complete|fail|release)")


def test_an_idle_worker_ends_at_the_first_signal(server, start_worker):
    process = start_worker("--poll-seconds", "60")
    server.wait_for(lambda: server.calls("/jobs/claim"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_a_worker_whose_claim_the_server_holds_back_ends_within_seconds(server, start_worker):
    server.holds_claims = True
    process = start_worker(poll_seconds=None)
    server.wait_for(lambda: len(server.calls("/workers/heartbeat")) >= 1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(4) == 0


def test_two_workers_on_one_work_folder_are_refused(server, start_worker, tmp_path):
    start_worker()
    server.wait_for(lambda: server.calls("/jobs/claim"))
    assert start_worker().wait(10) == 2
    assert "Another worker is running in" in (tmp_path / "worker.log").read_text()


def test_the_token_is_in_no_log(server, start_worker, settings, tmp_path):
    job = server.add_job()
    start_worker("--drain-when-idle", "--log-level", "debug").wait(20)
    assert job.status == "completed"
    assert TOKEN not in (tmp_path / "worker.log").read_text()
    assert TOKEN not in "\n".join(job.messages())


@pytest.mark.parametrize(
    ("wishes", "code"),
    [({}, 0), ({"fail": "invalid_data"}, 5), ({"signal": 9}, 5)],
)
def test_once_tells_by_its_exit_code_whether_the_job_failed(server, start_worker, wishes, code):
    server.add_job(**wishes)
    assert start_worker("--once").wait(20) == code


def test_a_wrong_token_is_exit_code_3(server, start_worker):
    assert start_worker(token="btw_unknown_token").wait(10) == 3


def test_a_person_s_token_is_exit_code_3_and_says_so(server, start_worker, tmp_path):
    assert start_worker(token="btp_0123456789").wait(10) == 3
    assert "person's API token" in (tmp_path / "worker.log").read_text()
