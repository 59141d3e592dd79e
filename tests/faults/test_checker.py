"""The checker finds what it is there to find: each violation is planted in the evidence of two sound jobs."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.checker import check
from tests.faults.evidence import Attempt, Event, Evidence, Job, Line, Point
from tests.faults.stub_trainer import final_weights

SHEET = "ab" * 32
CLAIM = "00000000-0000-4000-8000-00000000000"
STEPS = 3


def sound() -> Evidence:
    """Job 1: lost by w1 after two steps, completed by w2. Job 2: completed by w1 at once."""
    evidence = Evidence([], [], [], [], [], sheet_sha256=SHEET)
    _add_job(evidence, 1, attempts=[("w1", "lost"), ("w2", "completed")])
    _add_job(evidence, 2, attempts=[("w1", "completed")])
    return evidence


def _add_job(evidence: Evidence, job: int, attempts: list[tuple[str, str]]) -> None:
    model = final_weights(job, SHEET, STEPS)
    evidence.jobs.append(
        Job(job, job, "completed", len(attempts), len(attempts) - 1, None, "w", "completed", job, STEPS, "today", model)
    )
    evidence.points += [Point(job, "train", step, 1, json.dumps({"loss": 1 / step})) for step in range(1, STEPS + 1)]
    _add_event(evidence, job, "user:ana", "", "pending", 0)
    for number, (worker, outcome) in enumerate(attempts, start=1):
        _add_attempt(evidence, job, number, worker, outcome)


def _add_event(evidence: Evidence, job: int, actor: str, before: str, after: str, attempt: int) -> None:
    evidence.events.append(Event(len(evidence.events) + 1, job, actor, before, after, attempt, ""))


def _add_attempt(evidence: Evidence, job: int, number: int, worker: str, outcome: str) -> None:
    claim = f"{CLAIM}{job * 3 + number}"
    evidence.attempts.append(Attempt(job, number, worker, claim, "today", outcome, "", "{}"))
    _add_event(evidence, job, f"worker:{worker}", "pending", "running", number)
    after = "completed" if outcome == "completed" else "pending"
    _add_event(evidence, job, f"worker:{worker}", "running", after, number)
    facts = {"worker": worker, "job": job, "attempt": number}
    _call(evidence, "claim", **facts, claim_id=claim)
    for step in range(1, STEPS + 1 if outcome == "completed" else STEPS):
        evidence.lines.append(Line(job, number, step, f"step {step} of {STEPS} (process 7)"))
        told = {"kind": "trainer", "event": "step", "at": _now(evidence), "step": step, "pid": 7, "line": step}
        evidence.history.append({**told, **facts})
    _call(evidence, "logs", **facts, lines=[1, 2])
    _call(evidence, "metrics", **facts, points=[["train", 1]])
    if outcome == "completed":
        _call(evidence, "complete", **facts)


def _call(evidence: Evidence, call: str, **facts: Any) -> None:
    at = _now(evidence)
    evidence.history.append({"kind": "call", "call": call, "at": at, "answered_at": at + 0.5, "status": 200, **facts})


def _now(evidence: Evidence) -> float:
    return float(len(evidence.history))


def test_sound_evidence_has_no_violation() -> None:
    assert check(sound()) == []


def two_live_attempts(evidence: Evidence) -> None:
    """w1's end of attempt 1 never happened: w2 claimed while w1 held the job."""
    evidence.events = [e for e in evidence.events if (e.job, e.attempt, e.after) != (1, 1, "pending")]


def a_worker_with_two_jobs(evidence: Evidence) -> None:
    """Job 2 is claimed by w1 while w1 holds job 1."""
    order = [event for event in evidence.events if (event.job, event.attempt, event.after) != (1, 1, "running")]
    claim = next(event for event in evidence.events if (event.job, event.attempt, event.after) == (1, 1, "running"))
    ends = [event for event in order if event.job == 1 and event.attempt]
    order = [event for event in order if event not in ends]
    evidence.events = [event._replace(id=n) for n, event in enumerate([order[0], claim, *order[1:], *ends])]


def an_open_attempt(evidence: Evidence) -> None:
    """The row of an attempt of a completed job was never closed."""
    evidence.attempts[1] = evidence.attempts[1]._replace(ended_at=None)


def a_job_that_left_its_end(evidence: Evidence) -> None:
    """Completed, and then cancelled."""
    _add_event(evidence, 2, "user:ana", "completed", "cancelled", 1)


def an_impossible_transition(evidence: Evidence) -> None:
    """From the queue to completed without a claim."""
    evidence.events = [event for event in evidence.events if (event.job, event.after) != (2, "running")]
    evidence.events[-1] = evidence.events[-1]._replace(before="pending")


def a_job_and_a_run_that_differ(evidence: Evidence) -> None:
    """The job is completed, its run is running."""
    evidence.jobs[0] = evidence.jobs[0]._replace(run_status="running")


def a_lease_after_the_end(evidence: Evidence) -> None:
    """A completed job still has a lease."""
    evidence.jobs[0] = evidence.jobs[0]._replace(lease_expires_at="tomorrow")


def a_doubled_completion(evidence: Evidence) -> None:
    """Attempt 1 completed as well."""
    evidence.attempts[0] = evidence.attempts[0]._replace(outcome="completed")


def a_transition_without_event(evidence: Evidence) -> None:
    """Nobody wrote down that job 2 completed."""
    evidence.events = [event for event in evidence.events if (event.job, event.after) != (2, "completed")]


def a_reused_attempt_number(evidence: Evidence) -> None:
    """The second claim carries the number of the first."""
    evidence.events = [e._replace(attempt=1) if e.job == 1 and e.after == "running" else e for e in evidence.events]


def one_attempt_for_two_claims(evidence: Evidence) -> None:
    """Two workers were answered with attempt 1 of job 2."""
    _call(evidence, "claim", worker="w2", job=2, attempt=1, claim_id=f"{CLAIM}9")


def a_lost_metric_point(evidence: Evidence) -> None:
    """Step 2 of run 1 is missing."""
    evidence.points = [point for point in evidence.points if (point.run, point.step) != (1, 2)]


def a_doubled_metric_point(evidence: Evidence) -> None:
    """Step 2 of run 1 stands there twice."""
    evidence.points.append(Point(1, "train", 2, 2, {"loss": 0.5}))


def a_wrong_metric_value(evidence: Evidence) -> None:
    """Step 1 has another step's loss."""
    evidence.points[0] = evidence.points[0]._replace(values={"loss": 0.25})


def a_lost_line(evidence: Evidence) -> None:
    """The last line of the completed attempt never arrived."""
    evidence.lines = [line for line in evidence.lines if (line.job, line.attempt, line.seq) != (1, 2, 3)]


def a_gap_in_the_lines(evidence: Evidence) -> None:
    """A lost attempt misses a line before its last one."""
    evidence.lines = [line for line in evidence.lines if (line.job, line.attempt, line.seq) != (1, 1, 1)]


def a_doubled_line(evidence: Evidence) -> None:
    """One step, two lines."""
    evidence.lines.append(evidence.lines[-1]._replace(seq=4))


def a_silent_gap(evidence: Evidence) -> None:
    """The trainer's disk had no room for a line, and the worker does not say so."""
    evidence.lines = [line for line in evidence.lines if (line.job, line.seq) != (2, 3)]
    next(r for r in evidence.history if r.get("event") == "step" and (r["job"], r["step"]) == (2, 3))["line"] = 0


def lines_that_do_not_add_up(evidence: Evidence) -> None:
    """The worker says that it sent five lines and dropped one; three are there."""
    evidence.attempts[2] = evidence.attempts[2]._replace(counts={"log_lines": 5, "left_out": 1})


def an_acknowledged_line_that_is_gone(evidence: Evidence) -> None:
    """The server said that it has line 9."""
    _call(evidence, "logs", worker="w2", job=1, attempt=2, lines=[9])
    evidence.history[-1]["at"] = evidence.history[0]["at"] - 1


def an_acknowledged_completion_that_is_gone(evidence: Evidence) -> None:
    """The server took the completion of an attempt that its row calls lost."""
    evidence.history.insert(0, {**evidence.history[-1], "job": 1, "attempt": 1, "worker": "w1"})


def another_model(evidence: Evidence) -> None:
    """Not what an undisturbed training ends with."""
    evidence.jobs[0] = evidence.jobs[0]._replace(model_sha256="0" * 64)


def a_late_write(evidence: Evidence) -> None:
    """Metrics of attempt 1 are accepted after attempt 2 was claimed."""
    _call(evidence, "metrics", worker="w1", job=1, attempt=1, points=[["train", 1]])


def a_write_after_the_end(evidence: Evidence) -> None:
    """Progress of an attempt is accepted after its completion was."""
    _call(evidence, "progress", worker="w2", job=1, attempt=2)


def a_stuck_job(evidence: Evidence) -> None:
    """Job 2 waits for ever."""
    evidence.jobs[1] = evidence.jobs[1]._replace(status="pending", run_status="pending", finished_at=None)


def a_restart_from_the_beginning(evidence: Evidence) -> None:
    """A checkpoint of step 2 was sealed, and the next start began at 0."""
    facts = {"kind": "trainer", "worker": "w1", "job": 1}
    evidence.history.append({**facts, "event": "sealed", "step": 2, "at": _now(evidence), "attempt": 1})
    evidence.history.append({**facts, "event": "start", "step": 0, "at": _now(evidence), "attempt": 2})


PLANTED: list[tuple[str, Callable[[Evidence], None]]] = [
    ("I1", two_live_attempts),
    ("I1", a_worker_with_two_jobs),
    ("I1", an_open_attempt),
    ("I3", a_job_that_left_its_end),
    ("I2", an_impossible_transition),
    ("I2", a_job_and_a_run_that_differ),
    ("I2", a_lease_after_the_end),
    ("I3", a_doubled_completion),
    ("I9", a_transition_without_event),
    ("I4", a_reused_attempt_number),
    ("I4", one_attempt_for_two_claims),
    ("I5", a_lost_metric_point),
    ("I5", a_doubled_metric_point),
    ("I5", a_wrong_metric_value),
    ("I6", a_lost_line),
    ("I6", a_gap_in_the_lines),
    ("I6", a_doubled_line),
    ("I6", lines_that_do_not_add_up),
    ("I6", a_silent_gap),
    ("I7", an_acknowledged_line_that_is_gone),
    ("I7", an_acknowledged_completion_that_is_gone),
    ("I7", another_model),
    ("I8", a_late_write),
    ("I8", a_write_after_the_end),
    ("I10", a_stuck_job),
    ("I11", a_restart_from_the_beginning),
]


@pytest.mark.parametrize(("invariant", "plant"), PLANTED, ids=[plant.__name__ for _, plant in PLANTED])
def test_a_planted_violation_is_found(invariant: str, plant: Callable[[Evidence], None]) -> None:
    evidence = sound()
    plant(evidence)
    assert invariant in {violation.invariant for violation in check(evidence)}


def test_lines_that_the_worker_declared_as_dropped_are_no_violation() -> None:
    evidence = sound()
    evidence.attempts[2] = evidence.attempts[2]._replace(counts={"log_lines": 3, "left_out": 1})
    evidence.lines = [line for line in evidence.lines if (line.job, line.seq) != (2, 2)]
    evidence.history = [record for record in evidence.history if record.get("call") != "logs"]
    assert check(evidence) == []


def test_a_repeated_ending_is_no_late_write() -> None:
    evidence = sound()
    _call(evidence, "complete", worker="w2", job=1, attempt=2)
    assert check(evidence) == []


def test_acknowledgements_are_not_believed_of_a_database_that_was_put_back() -> None:
    evidence = sound()
    an_acknowledged_line_that_is_gone(evidence)
    assert check(replace(evidence, restored=True)) == []


@pytest.mark.parametrize(("attempt", "found"), [(1, set()), (2, {"I6"})])
def test_of_a_database_that_was_put_back_only_the_attempts_with_an_end_are_whole(attempt: int, found: set[str]) -> None:
    evidence = sound()
    evidence.lines = [line for line in evidence.lines if (line.job, line.attempt, line.seq) != (1, attempt, 1)]
    assert {violation.invariant for violation in check(replace(evidence, restored=True))} == found
