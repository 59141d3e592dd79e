"""The uploader and the spool: order, batches, marks and refusals."""

import pytest

from worker_client.api import ApiClient
from worker_client.errors import Retryable
from worker_client.lease import Lease
from worker_client.numbered import MAX_BODY_BYTES
from worker_client.spool import Spool
from worker_client.uploader import Uploader


@pytest.fixture
def spool(tmp_path) -> Spool:
    return Spool(tmp_path / "spool.sqlite3")


@pytest.fixture
def job(server):
    held = server.add_job()
    held.status, held.attempt = "running", 1
    return held


@pytest.fixture
def uploader(server, settings, job, spool) -> Uploader:
    api = ApiClient(settings.api_url, settings.token)
    lease = Lease(api, job_id=1, attempt=1, heartbeat_seconds=30)
    return Uploader(api, job_id=1, attempt=1, spool=spool, lease=lease, pace_s=0.05)


def test_lines_go_in_batches_of_at_most_a_thousand(server, job, spool, uploader):
    for number in range(2500):
        spool.append_log("INFO", f"line {number}")
    uploader.send_all()
    assert job.messages() == [f"line {number}" for number in range(2500)]
    assert [len(call.body["lines"]) for call in server.calls("/logs/batch")] == [1000, 1000, 500]


def test_a_batch_of_long_lines_stays_below_the_size_of_a_body(server, job, spool, uploader):
    for _ in range(200):
        spool.append_log("INFO", "x" * 8000)
    uploader.send_all()
    assert len(job.lines) == 200
    assert all(len(str(call.body["lines"])) < MAX_BODY_BYTES for call in server.calls("/logs/batch"))


def test_what_was_accepted_is_not_sent_again_by_the_next_process(server, job, spool, uploader, settings, tmp_path):
    spool.append_log("INFO", "once")
    spool.append_metrics(epoch=1, step=1, split="train", values={"loss": 1.0})
    uploader.send_all()
    assert Spool(tmp_path / "spool.sqlite3").is_drained()


def test_a_server_that_lost_lines_gets_them_again(server, job, spool, uploader):
    for number in range(6):
        spool.append_log("INFO", f"line {number}")
    uploader.send_all()
    for seq in (4, 5, 6):  # restored from a backup
        del job.lines[1, seq]
    spool.append_log("INFO", "line 6")
    uploader.send_all()
    assert job.messages() == [f"line {number}" for number in range(7)]


@pytest.fixture
def told(job, spool, uploader):
    """An attempt of which the server has everything."""
    for number in range(1, 1_201):
        spool.append_log("INFO", f"line {number}")
        spool.append_metrics(epoch=1, step=number, split="train", values={"loss": 1.0})
        spool.append_event("resumed", step=number)
    uploader.send_all()
    return {"lines": dict(job.lines), "points": dict(job.points), "events": dict(job.events)}


def restored(job, *, lost):
    """A backup from before the numbers in `lost` were told takes the place of the server's database."""
    job.lines = {key: line for key, line in job.lines.items() if key[1] not in lost}
    job.points = {key: point for key, point in job.points.items() if key[1] not in lost}
    job.events = {key: event for key, event in job.events.items() if key[1] not in lost}


@pytest.mark.parametrize("lost", [range(300, 1_201), range(300, 700), range(1, 1_201)])
def test_what_a_restored_server_has_lost_is_sent_again(told, job, uploader, lost):
    for _ in range(2):
        restored(job, lost=lost)
        uploader.send_again()
        assert {"lines": job.lines, "points": job.points, "events": job.events} == told


def test_a_server_that_is_restored_twice_in_mid_run_gets_the_same_lines_each_time(job, spool, uploader):
    for number in range(1, 4):
        spool.append_log("INFO", f"line {number}")
        uploader.send_all()
        job.lines.clear()
    spool.append_log("INFO", "line 4")
    uploader.send_all()
    assert job.messages() == [f"line {number}" for number in range(1, 5)]


def test_the_story_of_a_lost_attempt_can_be_sent_again_after_an_outage(told, server, job, uploader):
    restored(job, lost=range(300, 1_201))
    server.answers["/logs/batch"] = [(503, {"code": "unavailable", "detail": "away"}, {})]
    with pytest.raises(Retryable):
        uploader.send_story()
    uploader.send_story()
    assert (job.lines, job.events) == (told["lines"], told["events"])


def test_a_server_that_lost_nothing_is_asked_with_one_line_one_event_and_the_figures(told, server, uploader):
    before = len(server.requests)
    uploader.send_again()
    sent = [call.body for call in server.requests[before:]]
    assert [len(body["lines"]) for body in sent if "lines" in body] == [1]
    assert [len(body["events"]) for body in sent if "events" in body] == [1]
    assert [len(body["metrics"]) for body in sent if "metrics" in body] == [500, 500, 200]


def test_lines_that_are_not_here_either_hide_no_others_that_a_restored_server_has_lost(told, job, spool, uploader):
    spool._db.execute("DELETE FROM logs WHERE seq BETWEEN 100 AND 200")
    restored(job, lost=[*range(100, 201), *range(400, 500)])
    uploader.send_again()
    assert sorted(seq for _, seq in job.lines) == [*range(1, 100), *range(201, 1_201)]


def test_an_attempt_without_a_word_has_nothing_to_ask(server, job, uploader):
    uploader.send_again()
    assert server.requests == []


def test_a_line_that_the_server_never_stores_holds_nothing_back(server, job, spool, uploader):
    spool.append_log("INFO", "one")
    server.answers["/logs/batch"] = [(200, {"accepted": 0, "duplicates": 1, "next_seq": 1}, {})] * 2
    uploader.send_all()
    assert spool.is_drained()
    assert len(server.calls("/logs/batch")) == 2


def test_one_refused_line_costs_only_itself(server, job, spool, uploader, monkeypatch):
    for number in range(5):
        spool.append_log("INFO", f"line {number}")
    real = type(server).logs

    def refuse_line_3(self, body):
        if any(line["seq"] == 3 for line in body["lines"]):
            return 400, {"code": "invalid", "detail": "lines"}, {}
        return real(self, body)

    monkeypatch.setitem(
        __import__("tests.worker_client.fake_server", fromlist=["ROUTES"]).ROUTES, "/logs/batch", refuse_line_3
    )
    uploader.send_all()
    assert sorted(seq for _, seq in job.lines) == [1, 2, 4, 5]


def test_one_refused_figure_costs_only_itself(server, job, spool, uploader, monkeypatch):
    for step in range(1, 6):
        spool.append_metrics(epoch=1, step=step, split="train", values={"loss": 1.0})
    real = type(server).metrics

    def refuse_step_3(self, body):
        if any(point["step"] == 3 for point in body["metrics"]):
            return 400, {"code": "invalid", "detail": "metrics"}, {}
        return real(self, body)

    monkeypatch.setitem(
        __import__("tests.worker_client.fake_server", fromlist=["ROUTES"]).ROUTES, "/metrics", refuse_step_3
    )
    uploader.send_all()
    assert sorted(step for _, step in job.points) == [1, 2, 4, 5]


def test_events_arrive_in_order_and_once(server, job, spool, uploader):
    for step in range(250):
        spool.append_event("resumed", step=step)
    server.swallow.append("/jobs/1/events")
    with pytest.raises(Retryable):
        uploader.send_all()
    uploader.send_all()
    assert [details["step"] for details in job.told("resumed")] == list(range(250))
    assert [len(call.body["events"]) for call in server.calls("/jobs/1/events")] == [100, 100, 100, 50]
    assert set(job.events[1, 1]) == {"seq", "timestamp", "kind", "details"}


def test_one_refused_event_costs_only_itself(server, job, spool, uploader):
    spool.append_event("resumed", step=1)
    server.answers["/jobs/1/events"] = [(400, {"code": "invalid", "detail": "kind"}, {})]
    uploader.send_all()
    assert spool.is_drained()


def test_lines_that_were_dropped_here_are_not_looked_for(server, job, spool, uploader, monkeypatch):
    monkeypatch.setattr("worker_client.spool.MAX_UNSENT_LINES", 20)
    monkeypatch.setattr("worker_client.spool.CHECK_EVERY_LINES", 1)
    spool.append_log("INFO", "line 1")
    uploader.send_all()
    for number in range(2, 61):
        spool.append_log("INFO", f"line {number}")
    uploader.send_all()
    spool.append_log("INFO", "line 61")
    uploader.send_all()
    assert len(job.lines) == 61 - spool.counts()["left_out"]
    sent = [len(call.body["lines"]) for call in server.calls("/logs/batch")]
    assert sum(sent) == len(job.lines), "nothing is sent twice"


def test_a_line_too_slow_for_a_whole_body_gets_smaller_ones(server, job, spool, uploader):
    for number in range(1_000):
        spool.append_log("INFO", f"{number}" + "x" * 400)
    server.swallow.extend(["/logs/batch"] * 2)
    for _ in range(2):
        with pytest.raises(Retryable):
            uploader.send_all()
    uploader.send_all()
    sizes = [len(str(call.body["lines"])) for call in server.calls("/logs/batch")]
    assert sizes[1] < sizes[0] / 3
    assert sizes[2] < sizes[1] / 3
    assert max(sizes[3:]) > sizes[2] * 2
    assert len(job.lines) == 1_000


def test_progress_is_sent_when_it_changed_and_not_otherwise(server, job, spool, uploader):
    spool.put_progress(phase="training", epoch=1.0, step=5, total_steps=9, eta_seconds=None)
    uploader.send_all()
    uploader.send_all()
    assert job.progress == [{"attempt": 1, "phase": "training", "epoch": 1.0, "step": 5, "total_steps": 9}]


def test_a_cancel_rides_on_the_answer_to_log_lines(server, job, spool, uploader):
    job.cancel_requested = True
    spool.append_log("INFO", "line")
    uploader.send_all()
    assert uploader._lease.cancel_requested.is_set()


def test_the_spool_counts_what_is_left(spool):
    spool.append_log("INFO", "a")
    spool.append_metrics(epoch=1, step=1, split="train", values={"loss": 1.0})
    spool.append_event("resumed", step=1)
    assert spool.pending_count() == 3
    spool.accept_logs(2)
    assert spool.pending_count() == 2


@pytest.mark.parametrize(("given", "kept"), [("a\x00b", "a�b"), ("a\ud800b", "a?b"), ("x" * 9000, "x" * 8000)])
def test_a_line_is_kept_as_every_database_can_store_it(spool, given, kept):
    spool.append_log("info", given)
    assert spool.next_logs()[0]["message"] == kept
