"""What a worker does when its last process ended in the middle of something."""

import json
import os
import signal
import time
from uuid import uuid4

import psutil
import pytest

from tests.worker_client.training_factories import make_spec, text_rows
from worker_client.poller import ExitCode
from worker_client.protocol import Outcome
from worker_client.spool import Spool
from worker_client.workspace import Workspace, partial_model


def test_a_claim_whose_answer_was_lost_brings_the_same_attempt(server, work):
    job = server.add_job()
    server.swallow.append("/jobs/claim")
    assert work() == ExitCode.DRAINED
    first, second = server.calls("/jobs/claim")[:2]
    assert first.body["claim_id"] == second.body["claim_id"]
    assert job.attempt == 1
    assert job.status == "completed"


def test_a_claim_written_before_a_crash_is_repeated_after_it(server, settings, work):
    job, claim_id = server.add_job(), str(uuid4())
    (settings.work_dir / "claim.json").write_text(json.dumps({"claim_id": claim_id}))
    job.status, job.attempt, job.claim_id = "running", 1, claim_id
    work()
    assert job.status == "completed"
    assert job.attempt == 1
    assert job.releases == []


def test_each_job_is_claimed_under_an_id_of_its_own(server, work):
    jobs = [server.add_job(), server.add_job()]
    work()
    assert len({job.claim_id for job in jobs}) == 2


def test_an_unfinished_attempt_is_released_as_crashed_and_goes_on_as_the_next(server, settings, work):
    job = server.add_job()
    leave_behind(job, settings)
    work()
    assert job.releases == ["crashed"]
    assert len(server.calls("/jobs/1/release")) == 1
    assert job.attempt == 2
    assert job.status == "completed"


def test_what_a_crash_left_of_a_model_is_removed(server, settings, work, tmp_path):
    job = server.add_job()
    workspace = leave_behind(job, settings)
    spec = make_spec(tmp_path, text_rows(1), run_id=101, model_dir=str(settings.models_dir / "run-101"))
    workspace.write_spec(spec)
    partial_model(spec).mkdir()
    (partial_model(spec) / "model.safetensors").write_bytes(b"half")
    work()
    assert [path.name for path in settings.models_dir.iterdir()] == ["run-101"]


def test_lines_and_figures_that_a_crash_left_unsent_arrive(server, settings, work):
    job = server.add_job()
    spool = Spool(leave_behind(job, settings).spool_path)
    spool.append_log("INFO", "written before the crash")
    spool.append_metrics(epoch=1, step=77, split="validation", values={"f1": 0.5})
    spool.close()
    work()
    assert "written before the crash" in job.messages()
    assert ("validation", 77) in job.points


def test_a_result_that_a_crash_left_untold_is_told_and_not_trained_again(server, settings, work):
    job = server.add_job()
    outcome = Outcome("completed", metrics={"test_f1": 0.7}, model_path="/models/run-101")
    leave_behind(job, settings).write_outcome(outcome)
    work()
    assert job.status == "completed"
    assert job.attempt == 1
    assert job.result["metrics"] == {"test_f1": 0.7}
    assert not server.calls("/datasets/1/download")


def test_a_worker_that_ended_in_order_while_it_was_refused_has_not_crashed(server, settings, work):
    job = server.add_job()
    leave_behind(job, settings).write_outcome(Outcome("stopped", reason="shutdown"))
    work()
    assert job.releases == ["shutdown"]
    assert (job.attempt, job.status) == (2, "completed")


def test_a_result_left_untold_over_a_recess_of_months_is_told(server, settings, work):
    job = server.add_job()
    workspace = leave_behind(job, settings)
    workspace.write_outcome(Outcome("completed", metrics={"test_f1": 0.7}, model_path="/models/run-101"))
    grow_old(settings.work_dir / "jobs", days=100)
    work()
    assert (job.status, job.attempt) == ("completed", 1)
    assert job.result["metrics"] == {"test_f1": 0.7}


@pytest.mark.parametrize(("days", "is_kept"), [(31, True), (40, False)])
def test_a_checkpoint_outlives_a_month_in_which_all_was_off_and_no_more(settings, work, days, is_kept):
    checkpoint = settings.work_dir / "jobs" / "9" / "checkpoints" / "checkpoint-5"
    checkpoint.mkdir(parents=True)
    grow_old(settings.work_dir / "jobs", days=days)
    work()
    assert checkpoint.exists() == is_kept


def test_an_attempt_that_another_worker_has_taken_over_is_left_alone(server, settings, work):
    job = server.add_job()
    leave_behind(job, settings)
    job.fenced, job.status = True, "failed"
    assert work() == ExitCode.DRAINED
    assert job.releases == []


def test_a_held_job_that_this_disk_knows_nothing_of_is_given_back(server, work):
    job = server.add_job()
    job.status, job.attempt, job.claim_id = "running", 1, str(uuid4())
    work()
    assert job.releases == ["crashed"]
    assert job.status == "completed"


def test_a_job_on_which_another_process_of_this_token_works_is_left_to_it(server, settings, start_worker, work):
    job = server.add_job(steps=1000, step_s=0.05)
    server.heartbeat_s = 1.0
    start_worker("--drain-when-idle")
    server.wait_for(lambda: job.points)
    elsewhere = settings.work_dir.with_name("elsewhere")
    elsewhere.mkdir()
    assert work(work_dir=elsewhere) == ExitCode.BAD_ARGUMENTS
    assert (job.releases, job.attempt, job.status) == ([], 1, "running")


def test_a_damaged_claim_file_does_not_stop_the_worker(server, settings, work):
    (settings.work_dir / "claim.json").write_text('{"claim_id": 5')
    job = server.add_job()
    work()
    assert job.status == "completed"


def test_a_killed_worker_s_training_process_is_ended_before_the_job_goes_on(server, settings, start_worker, work):
    job = server.add_job(steps=1000, step_s=0.05)
    process = start_worker("--drain-when-idle")
    server.wait_for(lambda: job.points)
    child = json.loads((settings.work_dir / "jobs/1/attempt-1/child.json").read_text())["pid"]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert psutil.pid_exists(child)
    job.hyperparameters["steps"] = 3
    work()
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    assert job.releases == ["crashed"]
    assert job.attempt == 2
    assert job.status == "completed"


def grow_old(folder, *, days) -> None:
    """As if nothing in it had been touched since."""
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - days * 86_400,) * 2)


def leave_behind(job, settings) -> Workspace:
    """The disk and the server as a worker that was killed in attempt 1 leaves them."""
    claim_id = str(uuid4())
    job.status, job.attempt, job.claim_id = "running", 1, claim_id
    claim = {"claim_id": claim_id, "job_id": job.id, "attempt": 1}
    (settings.work_dir / "claim.json").write_text(json.dumps(claim))
    return Workspace.create(settings.work_dir, job.id, 1)
