"""One attempt, from the claim to its end, with a stub in the place of the training child."""

import logging
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.worker_client.fake_server import ROUTES, TOKEN
from worker_client.api import ApiClient
from worker_client.attempt import Attempt
from worker_client.delivery import JobEnd, deliver
from worker_client.errors import ChildExit, Unauthorized
from worker_client.lease import Lease
from worker_client.poller import ExitCode
from worker_client.protocol import Outcome, Registration
from worker_client.signals import StopRequests
from worker_client.spool import Spool
from worker_client.workspace import Workspace


def test_a_job_is_trained_and_completed_with_every_line_and_figure(server, settings, work):
    job = server.add_job(steps=5)
    assert work() == ExitCode.DRAINED
    assert job.status == "completed"
    assert job.result["metrics"] == {"test_f1": 0.9, "odd": None}
    assert job.result["model_path"] == str(settings.models_dir / "run-101")
    assert [message for message in job.messages() if message.startswith("step")] == [f"step {n}" for n in range(1, 6)]
    assert sorted(job.points) == [("train", step) for step in range(1, 6)]
    assert job.progress[-1]["phase"] == "training"
    assert job.progress[-1]["total_steps"] == 5


def test_the_run_page_tells_what_the_parent_did(server, work):
    job = server.add_job()
    work()
    story = "\n".join(job.messages())
    assert "takes job 1, attempt 1" in story
    assert "andamentos.xlsx is here" in story
    assert job.messages()[-1].startswith("Completed. The model is in")


def test_nothing_of_a_finished_job_stays_in_the_work_folder(server, settings, work):
    server.add_job()
    work()
    assert sorted(path.name for path in settings.work_dir.rglob("*") if path.is_file()) == ["claim.json"]
    assert not (settings.work_dir / "datasets").exists()


def test_the_child_gets_no_token_and_no_way_to_the_hub(server, work, monkeypatch):
    monkeypatch.setenv("BERT_WORKER_TOKEN", TOKEN)
    job = server.add_job()
    work()
    environment = job.result["environment"]
    assert TOKEN not in str(environment)
    assert not [name for name in environment if name.startswith("BERT_WORKER")]
    assert environment["HF_HUB_OFFLINE"] == "1"


def test_out_of_memory_is_tried_again_with_half_the_batch_each_time(server, work):
    job = server.add_job(batch_size=16, fits=4)
    work()
    assert job.status == "completed"
    assert [line for line in job.messages() if line.startswith("device batch")] == [
        "device batch 16",
        "device batch 8",
        "device batch 4",
    ]
    assert len([line for line in job.messages() if "effective batch stays 16" in line]) == 2


def test_the_smaller_batch_always_divides_the_effective_one(server, work):
    job = server.add_job(batch_size=12, fits=2)
    work()
    assert [line for line in job.messages() if line.startswith("device batch")][1:] == [
        "device batch 6",
        "device batch 3",
        "device batch 1",
    ]


def test_each_step_down_is_an_event_of_the_run(server, work):
    job = server.add_job(batch_size=16, fits=0.5)
    work()
    assert job.status == "completed"
    assert job.told("batch_halved") == [
        {"from": 16, "to": 8, "accumulation": 2},
        {"from": 8, "to": 4, "accumulation": 4},
        {"from": 4, "to": 2, "accumulation": 8},
        {"from": 2, "to": 1, "accumulation": 16},
    ]
    assert job.told("gradient_checkpointing") == [{}]
    assert "device batch 1, recomputed" in job.messages()


def test_out_of_memory_at_one_text_at_a_time_even_with_gradient_checkpointing_fails(server, work):
    job = server.add_job(batch_size=2, fits=0)
    assert work(once=True) == ExitCode.JOB_FAILED
    assert job.failure["reason"] == "out_of_memory"
    assert job.failure["retryable"] is False
    assert [line for line in job.messages() if line.startswith("device batch")] == [
        "device batch 2",
        "device batch 1",
        "device batch 1, recomputed",
    ]


def test_gradient_checkpointing_that_was_on_from_the_start_is_not_tried_again(server, work):
    job = server.add_job(batch_size=1, fits=0, gradient_checkpointing=True)
    work(once=True)
    assert job.failure["reason"] == "out_of_memory"
    assert job.told("gradient_checkpointing") == []


@pytest.mark.parametrize("during", ["loading", "evaluation"])
def test_a_smaller_training_batch_is_not_tried_where_it_cannot_help(server, work, during):
    job = server.add_job(batch_size=16, fits=0, during=during)
    work(once=True)
    assert job.failure["reason"] == "out_of_memory"
    assert job.told("batch_halved") == []


def test_the_next_attempt_starts_from_the_batch_that_fitted(server, work):
    job = server.add_job(batch_size=16, fits=4, signal=int(signal.SIGKILL), steps=3)
    work(once=True)
    assert (job.status, job.attempt) == ("pending", 1)
    del job.hyperparameters["signal"]
    work()
    assert job.status == "completed"
    assert [line for line in job.messages() if line.startswith("device batch")] == [
        "device batch 16",
        "device batch 8",
        "device batch 4",
        "device batch 4",
    ]


def test_a_child_that_died_of_its_memory_without_a_word_is_tried_with_half_the_batch(server, work):
    job = server.add_job(batch_size=2, exit=134, says="terminate called: CUDA out of memory. Tried to allocate")
    work(once=True)
    assert job.failure["reason"] == "out_of_memory"
    assert job.told("batch_halved") == [{"from": 2, "to": 1, "accumulation": 2}]


def test_half_of_a_batch_is_half_of_what_the_child_tried_and_not_of_what_it_might_have(server, work):
    says = "terminate called: CUDA out of memory. Tried to allocate"
    job = server.add_job(batch_size=16, tries=4, exit=134, says=says)
    work(once=True)
    assert [(step["from"], step["to"]) for step in job.told("batch_halved")] == [(4, 2), (2, 1)]


def test_a_child_that_the_system_killed_for_its_memory_is_tried_with_half_the_batch(server, work, monkeypatch):
    kills = iter(range(100))
    monkeypatch.setattr("worker_client.hardware.memory_kills", lambda: next(kills))
    job = server.add_job(batch_size=2, signal=int(signal.SIGKILL))
    work(once=True)
    assert job.failure["reason"] == "out_of_memory"
    assert len(job.told("batch_halved")) == 1


def test_the_end_says_how_many_lines_figures_and_events_there_should_be(server, work):
    job = server.add_job(steps=5, fits=8)
    work()
    assert job.counts == [{"log_lines": len(job.lines), "left_out": 0, "metric_points": 5, "events": 1}]


@pytest.mark.parametrize("end", [{"fail": "nan_loss"}, {"signal": int(signal.SIGKILL)}])
def test_a_failure_says_so_too(server, work, end):
    job = server.add_job(**end)
    work(once=True)
    assert job.counts == [{"log_lines": len(job.lines), "left_out": 0, "metric_points": 0, "events": 0}]


def test_lines_that_were_dropped_while_the_server_was_away_are_told_and_counted(server, work, monkeypatch):
    monkeypatch.setattr("worker_client.spool.MAX_UNSENT_LINES", 20)
    monkeypatch.setattr("worker_client.spool.CHECK_EVERY_LINES", 1)
    job = server.add_job()
    server.answers["/logs/batch"] = [(503, {"code": "unavailable", "detail": "away"}, {"Retry-After": "1"})]
    real = Attempt.__enter__

    def talk(attempt):
        opened = real(attempt)
        for number in range(100):
            logging.getLogger("worker_client").info("chatter %d", number)
        return opened

    monkeypatch.setattr(Attempt, "__enter__", talk)
    work()
    (counts,) = job.counts
    assert counts["left_out"] > 0
    assert counts["log_lines"] == len(job.lines) + counts["left_out"]
    assert job.told("spool_full") == [{"left_out": counts["left_out"]}]
    assert any("Lines left out here" in message for message in job.messages())


def test_a_server_from_before_there_were_events_is_no_trouble(server, work):
    job = server.add_job(batch_size=16, fits=8)
    server.answers["/jobs/1/events"] = [(404, {"code": "not_found", "detail": "No such route."}, {})] * 9
    work()
    assert job.status == "completed"
    assert job.events == {}


def test_the_checkpoints_of_a_finished_run_stay_where_that_is_wished(server, settings, work):
    server.add_job()
    folder = settings.work_dir / "jobs/1/checkpoints/checkpoint-3"
    folder.mkdir(parents=True)
    (folder.parent.parent / "tokens-1.npz").write_text("the sheet as sub-tokens")
    work(keep_checkpoints=True)
    assert [path.name for path in (settings.work_dir / "jobs/1").iterdir()] == ["checkpoints"]
    assert folder.exists()


def test_a_killed_child_fails_as_killed_and_may_be_tried_again(server, work):
    job = server.add_job(signal=int(signal.SIGKILL))
    assert work(once=True) == ExitCode.JOB_FAILED
    assert job.failure["reason"] == "killed"
    assert job.failure["retryable"] is True
    assert "SIGKILL" in job.failure["message"]


def test_a_child_that_ends_without_a_word_is_told_with_its_last_output(server, work):
    job = server.add_job(exit=7)
    work(once=True)
    assert job.failure["reason"] == "internal_error"
    assert "exit code 7" in job.failure["message"]
    assert "Segfault in a library" in job.failure["traceback"]


def test_the_child_s_own_reason_is_passed_on_and_the_worker_lives_on(server, work):
    failing, good = server.add_job(fail="nan_loss"), server.add_job()
    assert work() == ExitCode.DRAINED
    assert failing.failure["reason"] == "nan_loss"
    assert failing.failure["message"] == "The stub failed as nan_loss."
    assert good.status == "completed"


def test_a_sheet_with_other_bytes_is_never_trained_on(server, work):
    job = server.add_job()
    server.sent_sheet = job.sheet[:-1] + b"!"
    assert work(once=True) == ExitCode.JOB_FAILED
    assert job.failure["reason"] == "dataset_mismatch"
    assert len(server.calls("/datasets/1/download")) == 3
    assert not job.points


def test_a_sheet_refused_while_the_lease_had_run_out_again_and_again_is_fetched_in_the_end(server, work, monkeypatch):
    monkeypatch.setattr(Attempt, "pause", lambda attempt, seconds: None)
    job = server.add_job()
    refused = (403, {"code": "permission_denied", "detail": "Only while a job with it is held."}, {})
    server.answers["/datasets/1/download"] = [refused] * 5
    work()
    assert job.status == "completed"


def test_a_sheet_that_is_refused_for_good_ends_the_attempt(server, work, monkeypatch):
    monkeypatch.setattr(Attempt, "pause", lambda attempt, seconds: None)
    job = server.add_job()
    refused = (403, {"code": "permission_denied", "detail": "Only while a job with it is held."}, {})
    server.answers["/datasets/1/download"] = [refused] * 30
    work()
    assert job.failure["reason"] == "dataset_mismatch"


def test_a_sheet_that_arrives_whole_the_second_time_is_used(server, work):
    job = server.add_job()
    server.answers["/datasets/1/download"] = [(200, job.sheet[:5], {})]
    work()
    assert job.status == "completed"


def test_a_base_model_that_is_nowhere_fails_with_where_to_put_it(server, work, tmp_path):
    job = server.add_job()
    job.base_model = "neuralmind/bert-base-portuguese-cased"
    (tmp_path / "base").mkdir()
    work(once=True, base_models_dir=tmp_path / "base")
    assert job.failure["reason"] == "base_model_unavailable"
    assert str(tmp_path / "base/neuralmind/bert-base-portuguese-cased") in job.failure["message"]


def test_a_full_disk_is_named(server, settings, work, monkeypatch):
    job = server.add_job()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("worker_client.workspace.Workspace.write_spec", full)
    work(once=True)
    assert job.failure["reason"] == "disk_full"
    assert job.failure["retryable"] is True


def test_a_child_that_could_not_even_write_its_outcome_on_a_full_disk_is_tried_again(server, work):
    job = server.add_job(exit=int(ChildExit.DISK_FULL))
    work(once=True)
    assert job.failure["reason"] == "disk_full"
    assert job.failure["retryable"] is True
    assert "Free some space" in job.failure["message"]


def test_a_spool_on_a_full_disk_does_not_hide_the_failure_under_tracebacks(server, work, monkeypatch, capsys):
    def full(self, level, message, timestamp=None):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Spool, "append_log", full)
    job = server.add_job()
    work(once=True)
    assert job.status == "completed"
    assert "Traceback" not in capsys.readouterr().err


def test_a_cancelled_run_stops_the_child_and_is_released(server, settings, work):
    job = server.add_job(steps=500, step_s=0.05)
    when_training(server, job, lambda: setattr(job, "cancel_requested", True))
    assert work() == ExitCode.DRAINED
    assert job.releases == ["cancelled"]
    assert job.status == "cancelled"
    assert not (settings.work_dir / "jobs/1").exists()


def test_a_paused_run_keeps_its_checkpoint(server, settings, work):
    job = server.add_job(steps=500, step_s=0.05)
    when_training(server, job, lambda: setattr(job, "pause_requested", True))
    work()
    assert job.releases == ["paused"]
    assert (settings.work_dir / "jobs/1/checkpoints/step").exists()


def test_a_child_that_does_not_stop_is_ended_with_all_its_processes(server, settings, work):
    job = server.add_job(steps=500, step_s=0.05, deaf=1, grandchild=1)
    when_training(server, job, lambda: setattr(job, "cancel_requested", True))
    work(stop_grace_s=0.5)
    assert job.releases == ["cancelled"]
    grandchild = int((settings.models_dir / "run-101.pid").read_text())
    assert not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE


def test_a_cancelled_child_that_is_still_loading_is_not_waited_for_long(server, work, monkeypatch):
    monkeypatch.setattr("worker_client.runner.CANCEL_GRACE_S", 0.3)
    job = server.add_job(steps=500, step_s=0.05, deaf=1)
    when_training(server, job, lambda: setattr(job, "cancel_requested", True))
    began = time.monotonic()
    work(stop_grace_s=30)
    assert job.releases == ["cancelled"]
    assert time.monotonic() - began < 10


def test_a_cancel_while_the_sheet_is_fetched_is_obeyed(server, work):
    job = server.add_job()
    job.cancel_requested = True
    server.answers["/datasets/1/download"] = [(503, {"code": "unavailable", "detail": "database away"}, {})] * 20
    work()
    assert job.releases == ["cancelled"]
    assert not job.points


def test_a_cancel_that_is_there_before_anything_is_done_is_obeyed(server, work):
    job = server.add_job(steps=500, step_s=0.05)
    job.cancel_requested = True
    work()
    assert job.releases == ["cancelled"]


def test_a_cancel_while_the_base_model_is_fetched_ends_the_fetching(server, work, tmp_path, monkeypatch):
    note = tmp_path / "hub.pid"
    program = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    monkeypatch.setattr("worker_client.cache.HUB_COMMAND", (sys.executable, "-c", program))
    job = server.add_job()
    job.base_model = "org/large"

    def cancel():
        server.wait_for(lambda: note.exists() and note.read_text())
        job.cancel_requested = True

    threading.Thread(target=cancel, daemon=True).start()
    work(offline=False)
    assert job.releases == ["cancelled"]
    fetcher = int(note.read_text())
    assert not psutil.pid_exists(fetcher) or psutil.Process(fetcher).status() == psutil.STATUS_ZOMBIE


def test_a_cancel_asked_for_while_the_server_was_away_is_obeyed_when_it_is_back(server, work):
    job = server.add_job(steps=2000, step_s=0.02)

    def cancel_in_an_outage():
        with server.away(2):
            job.cancel_requested = True

    when_training(server, job, cancel_in_an_outage)
    work()
    assert job.releases == ["cancelled"]


@pytest.mark.parametrize("route", ["/metrics", "/logs/batch", "/jobs/1/progress", "/jobs/1/events"])
def test_a_cancel_is_seen_with_the_next_answer_of_any_kind(server, work, route):
    server.heartbeat_s = 60
    job = server.add_job(steps=1000, step_s=0.02, batch_size=16, fits=8)
    asked = (200, {"cancel_requested": True}, {})
    threading.Timer(1.0, lambda: server.answers.update({route: [asked]})).start()
    if route == "/jobs/1/events":  # there is one event only, told at the start
        server.answers[route] = [(503, {"code": "unavailable", "detail": "away"}, {})] * 3 + [asked]
    began = time.monotonic()
    work()
    assert job.releases == ["cancelled"]
    assert time.monotonic() - began < 15


def test_a_cancel_while_the_result_is_told_comes_too_late(server, work):
    job = server.add_job()
    server.answers["/jobs/1/complete"] = [(503, {"code": "unavailable", "detail": "away"}, {})] * 2

    def cancel():
        server.wait_for(lambda: server.calls("/jobs/1/complete"))
        job.cancel_requested = True

    threading.Thread(target=cancel, daemon=True).start()
    work()
    assert job.status == "completed"


def test_a_run_that_finishes_before_it_sees_the_cancel_is_completed(server, work):
    server.heartbeat_s = 30
    job = server.add_job(steps=1, deaf=1)
    server.answers["/logs/batch"] = [(503, {"code": "unavailable", "detail": "away"}, {})]
    when_training(server, job, lambda: setattr(job, "cancel_requested", True))
    work()
    assert job.status == "completed"


def test_a_lost_lease_stops_the_child_and_sends_no_outcome(server, settings, work):
    job = server.add_job(steps=500, step_s=0.05)
    when_training(server, job, lambda: setattr(job, "fenced", True))
    work(once=True)
    assert not server.calls("/jobs/1/(complete|fail|release)")
    assert (settings.work_dir / "jobs/1/checkpoints/step").exists()
    assert not (settings.work_dir / "jobs/1/attempt-1/spool.reserve").exists()
    assert any("no longer holds the job" in message for message in job.messages()), "evidence is taken even then"


def test_a_result_reached_after_the_lease_was_lost_is_not_sent(server, settings):
    job = server.add_job()
    job.status, job.attempt = "running", 1
    attempt = Attempt(
        ApiClient(settings.api_url, settings.token),
        job_id=1,
        number=1,
        paces=Registration(id=1, name="pc-1"),
        workspace=Workspace.create(settings.work_dir, 1, 1),
        spool=Spool(settings.work_dir / "spool.sqlite3"),
        stop=StopRequests(),
    )
    attempt.lease.lost.set()
    assert deliver(attempt, Outcome("completed", model_path="/models/run-101")) is JobEnd.LOST
    assert server.requests == []


def test_a_lapsed_lease_is_taken_up_again_by_a_heartbeat_and_the_write_repeated(server, work):
    server.heartbeat_s = 30  # only the confirmation asked for by a refused write takes the lease up again
    job = server.add_job(steps=20, step_s=0.05)
    when_training(server, job, lambda: setattr(job, "lapsed", True))
    work()
    assert job.status == "completed"
    assert len(job.points) == 20


def test_a_server_away_in_mid_run_gets_every_line_and_figure_once(server, work):
    job = server.add_job(steps=40, step_s=0.05)

    def outage():
        with server.away(3):
            pass

    when_training(server, job, outage)
    work()
    assert job.status == "completed"
    assert [message for message in job.messages() if message.startswith("step")] == [f"step {n}" for n in range(1, 41)]
    assert sorted(step for _, step in job.points) == list(range(1, 41))


def test_the_result_waits_for_a_server_that_is_away_at_the_end(server, work):
    job = server.add_job()
    server.answers["/jobs/1/complete"] = [(503, {"code": "unavailable", "detail": "away"}, {"Retry-After": "1"})] * 2
    work()
    assert job.status == "completed"
    calls = server.calls("/jobs/1/complete")
    assert len(calls) == 3
    assert calls[1].at - calls[0].at >= 1


@pytest.mark.parametrize(
    ("status", "code", "asks_again"), [(503, "unavailable", True), (409, "telemetry_missing", False)]
)
def test_a_server_that_comes_back_from_a_backup_before_the_end_gets_what_it_lost(
    server, work, monkeypatch, status, code, asks_again
):
    job = server.add_job()
    real, kept = type(server).complete, []

    def restore_first(self, body, job_id):
        if kept:
            return real(self, body, job_id)
        kept.append((dict(job.lines), dict(job.points), dict(job.events)))
        for told in (job.lines, job.points, job.events):
            told.clear()
        return status, {"code": code, "detail": "Why."}, {}

    monkeypatch.setitem(ROUTES, r"/jobs/(\d+)/complete", restore_first)
    work()
    assert job.status == "completed"
    assert [(job.lines, job.points, job.events)] == kept
    assert [("may_resend" in call.body) for call in server.calls("/jobs/1/complete")] == [True, asks_again]


def test_a_completion_whose_answer_was_lost_is_sent_again(server, work):
    job = server.add_job()
    server.swallow.append("/jobs/1/complete")
    work()
    assert job.status == "completed"
    assert len(server.calls("/jobs/1/complete")) == 2


def test_a_result_that_the_server_refuses_fails_with_the_model_s_place(server, settings, work):
    job = server.add_job()
    server.answers["/jobs/1/complete"] = [(400, {"code": "invalid", "detail": "report too large"}, {})]
    work()
    assert job.failure["reason"] == "internal_error"
    assert str(settings.models_dir / "run-101") in job.failure["message"]


def test_an_abort_gives_the_job_back_with_its_checkpoint(server, settings, work):
    job = server.add_job(steps=500, step_s=0.05)
    stop = StopRequests()

    def abort():
        stop.obey("SIGTERM")

    when_training(server, job, abort)
    assert work(stop=stop) == ExitCode.DRAINED
    assert job.releases == ["shutdown"]
    assert (settings.work_dir / "jobs/1/checkpoints/step").exists()


def test_a_second_request_does_not_wait_for_a_checkpoint_and_still_gives_the_job_back(server, work):
    job = server.add_job(steps=500, step_s=0.05, deaf=1)
    stop = StopRequests()

    def abort_twice():
        stop.obey("SIGTERM")
        stop.obey("SIGTERM")

    when_training(server, job, abort_twice)
    began = time.monotonic()
    assert work(stop=stop, stop_grace_s=30) == ExitCode.DRAINED
    assert job.releases == ["shutdown"]
    assert time.monotonic() - began < 10


def test_a_training_process_that_someone_else_terminates_costs_no_attempt(server, work):
    job = server.add_job(steps=500, step_s=0.05)

    def terminate():
        for child in psutil.Process().children():
            child.terminate()
        job.hyperparameters["steps"] = 3

    when_training(server, job, terminate)
    work()
    assert job.releases == ["shutdown"]
    assert (job.status, job.attempt) == ("completed", 2)


def test_an_abort_with_the_server_away_tells_the_result_at_the_next_start(server, work, monkeypatch):
    monkeypatch.setattr("worker_client.delivery.ABORT_PATIENCE_S", 0.2)
    job = server.add_job()
    stop = StopRequests()
    server.answers["/jobs/1/complete"] = [(503, {"code": "unavailable", "detail": "away"}, {})] * 50

    def abort():
        server.wait_for(lambda: server.calls("/jobs/1/complete"))
        stop.drain.set()
        stop.abort.set()

    threading.Thread(target=abort, daemon=True).start()
    work(stop=stop)
    assert job.status == "running"
    server.answers.clear()
    work()
    assert job.status == "completed"
    assert job.attempt == 1


def test_a_refused_token_in_mid_run_ends_the_worker_and_keeps_the_checkpoint(server, settings, work):
    job = server.add_job(steps=500, step_s=0.05)
    when_training(server, job, lambda: setattr(server, "token", "btw_another_token"))
    assert work() == ExitCode.TOKEN_REFUSED
    assert (settings.work_dir / "jobs/1/checkpoints/step").exists()


def test_refusals_of_one_moment_count_as_one():
    lease = Lease(ApiClient("http://127.0.0.1:9", "btw_x"), job_id=1, attempt=1, heartbeat_seconds=0.2)
    refused = Unauthorized(403, "http_403", "Forbidden")
    for _ in range(5):
        lease.refuse(refused)
    assert not lease.unauthorized.is_set()
    for _ in range(2):
        time.sleep(0.25)
        lease.refuse(refused)
    assert lease.unauthorized.is_set()


def when_training(server, job, action) -> None:
    """Run `action` as soon as the first figures of the job are here."""

    def watch() -> None:
        deadline = time.monotonic() + 20
        while not job.points and time.monotonic() < deadline:
            time.sleep(0.02)
        action()

    threading.Thread(target=watch, daemon=True).start()


@pytest.fixture(autouse=True)
def _no_operator_variables(monkeypatch):
    for name in ("BERT_WORKER_TOKEN", "BERT_WORKER_API_URL"):
        monkeypatch.delenv(name, raising=False)


def test_each_attempt_leaves_the_models_folder_to_the_child_alone(server, settings, work):
    server.add_job()
    work()
    assert [path.name for path in Path(settings.models_dir).iterdir()] == ["run-101"]
