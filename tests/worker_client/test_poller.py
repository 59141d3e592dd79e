"""Registration, the wait between jobs, and the exit codes."""

import threading
import time
from dataclasses import replace

from tests.worker_client.conftest import STUB
from worker_client import hardware
from worker_client.api import ApiClient
from worker_client.poller import ExitCode, Poller
from worker_client.signals import StopRequests


def test_a_worker_says_what_its_machine_is(server, work):
    work()
    body = server.calls("/workers/register")[0].body
    assert set(body) == {
        "hostname", "platform", "python", "torch", "transformers", "cuda", "gpus", "client_version", "base_models",
        "offline", "protocol",
    }  # fmt: skip
    assert "builtin/tiny-bert" in body["base_models"]
    assert all(body[name] for name in ("hostname", "platform", "python", "torch", "transformers", "client_version"))


def test_an_empty_queue_ends_a_worker_that_drains_when_idle(server, work):
    assert work() == ExitCode.DRAINED


def test_once_takes_one_job_of_two(server, work):
    first, second = server.add_job(), server.add_job()
    assert work(once=True) == ExitCode.DRAINED
    assert (first.status, second.status) == ("completed", "pending")


def test_an_unknown_token_ends_the_worker(server, work):
    assert work(token="btw_wrong_token") == ExitCode.TOKEN_REFUSED


def test_a_token_of_the_wrong_kind_ends_the_worker(server, work):
    server.answers["/workers/register"] = [(403, {"code": "permission_denied", "detail": "A person's token."}, {})]
    assert work() == ExitCode.TOKEN_REFUSED


def test_a_token_revoked_between_jobs_ends_the_worker(server, work):
    server.answers["/jobs/claim"] = [(401, {"code": "not_authenticated", "detail": "Revoked."}, {})]
    assert work() == ExitCode.TOKEN_REFUSED


def test_once_ends_at_once_when_the_server_cannot_be_reached(server, work):
    server.stop()
    assert work(once=True) == ExitCode.SERVER_UNREACHABLE
    server.start()


def test_a_server_that_is_away_at_the_start_is_waited_for(server, work):
    job = server.add_job()
    server.stop()
    threading.Timer(1.5, server.start).start()
    assert work() == ExitCode.DRAINED
    assert job.status == "completed"


def test_a_server_that_is_away_is_told_in_one_readable_line(server, work, caplog):
    server.answers["/jobs/claim"] = [(503, {"code": "unavailable", "detail": "The database is away."}, {})]
    work()
    assert "Server away (503 unavailable: The database is away.); nothing is lost" in caplog.text
    assert "The server answers again" in caplog.text


def test_a_claim_refused_for_a_while_is_asked_again_no_sooner_than_the_server_says(server, work):
    throttled = (429, {"code": "throttled", "detail": "Slow down."}, {"Retry-After": "2"})
    server.answers["/jobs/claim"] = [throttled]
    work()
    first, second = server.calls("/jobs/claim")
    assert second.at - first.at >= 2


def test_an_address_that_is_another_program_s_is_a_bad_argument(server, settings, work):
    assert work(api_url=f"{server.url}/elsewhere") == ExitCode.BAD_ARGUMENTS


def test_a_worker_that_is_too_new_for_its_server_ends_with_the_server_s_sentence(server, work, caplog):
    refusal = {"code": "worker_too_new", "detail": "This worker speaks protocol 2, the server 1: update the server."}
    server.answers["/workers/register"] = [(426, refusal, {})]
    assert work() == ExitCode.BAD_ARGUMENTS
    assert refusal["detail"] in caplog.text
    assert "does not answer as the training server" not in caplog.text


def test_a_worker_says_whether_it_may_fetch_base_models_and_which_protocol_it_speaks(server, work):
    work(offline=False)
    work(offline=True)
    said = [call.body for call in server.calls("/workers/register")]
    assert [body["offline"] for body in said] == [False, True]
    assert {body["protocol"] for body in said} == {1}


def test_of_a_shared_gpu_only_its_part_is_told(server, work, monkeypatch):
    monkeypatch.setattr("worker_client.hardware.gpus", lambda: [hardware.Gpu("RTX", 24_000, 0, 0.0)])
    work(gpu_memory_fraction=0.25)
    assert server.calls("/workers/register")[0].body["gpus"] == [{"name": "RTX", "memory_bytes": 6_000}]


def test_an_idle_worker_gives_signs_of_life_and_obeys_a_drain(server, settings):
    worker = Poller(
        replace(settings, drain_when_idle=False, poll_seconds=60),
        ApiClient(settings.api_url, settings.token),
        stop=StopRequests(),
        command=STUB,
    )
    ended: list[int] = []
    thread = threading.Thread(target=lambda: ended.append(worker.run()))
    thread.start()
    server.wait_for(lambda: len(server.calls("/workers/heartbeat")) >= 2)
    server.drain = True
    thread.join(10)
    assert ended == [ExitCode.DRAINED]
    assert all(call.body == {"state": "idle"} for call in server.calls("/workers/heartbeat"))


def test_an_idle_worker_starts_a_new_job_at_once_where_the_server_holds_its_claim(server, work):
    server.holds_claims, server.poll_s = True, 60
    stop, jobs = StopRequests(), []

    def add_late():
        server.wait_for(lambda: len(server.calls("/jobs/claim")) >= 2)
        jobs.append(server.add_job())
        server.wait_for(lambda: jobs[0].status == "completed", 5)
        stop.drain.set()

    thread = threading.Thread(target=add_late)
    thread.start()
    assert work(stop=stop, drain_when_idle=False) == ExitCode.DRAINED
    thread.join()
    assert jobs[0].status == "completed"
    assert server.calls("/workers/heartbeat"), "signs of life bring the server's wish that the worker ends"


def test_a_pace_that_the_operator_gave_is_kept(server, work):
    server.holds_claims = True
    job, stop = server.add_job(), StopRequests()
    threading.Thread(target=lambda: (server.wait_for(lambda: job.result), stop.drain.set()), daemon=True).start()
    work(stop=stop, drain_when_idle=False, poll_seconds=0.3)
    assert {call.body["wait_seconds"] for call in server.calls("/jobs/claim")} == {0}


def test_a_drain_asked_for_in_mid_run_lets_the_job_finish_and_takes_no_other(server, work):
    first, second = server.add_job(steps=20, step_s=0.05), server.add_job()
    server.drain = True
    assert work(drain_when_idle=False) == ExitCode.DRAINED
    assert (first.status, second.status) == ("completed", "pending")


def test_a_job_held_elsewhere_under_this_token_is_waited_for(server, work):
    job = server.add_job()
    server.answers["/jobs/claim"] = [(409, {"code": "busy", "detail": "This worker holds job 9."}, {})]
    began = time.monotonic()
    work()
    assert job.status == "completed"
    assert time.monotonic() - began > 0.1
    assert not server.calls("/jobs/9/release")
