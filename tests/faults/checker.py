"""The checker: replays a history and the final database against the invariants, in the words of CONTRACT section 4.

It believes nobody: every rule is derived from rows and records alone, and `test_checker.py` plants a violation of each.

    I1  at most one live attempt per job and per worker
    I2  only the transitions of ARCHITECTURE's table; job and run agree
    I3  completed, failed and cancelled absorb; completed exactly once
    I4  attempt numbers grow by one with each claim; one claim_id per attempt
    I5  every metric point of a completed run exactly once, with its value
    I6  every log line of an attempt that was told exactly once and without a gap
    I7  what was acknowledged is in the database; a completed run has the one right model
    I8  after a fence no write of the old attempt is accepted
    I9  every transition has its event, in an unbroken chain
    I10 no job is left running or waiting
    I11 a training goes on from its last sealed checkpoint
"""

import json
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.faults.evidence import Attempt, Event, Evidence, Job
from tests.faults.history import Record
from tests.faults.stub_trainer import final_weights

TERMINAL = {"completed", "failed", "cancelled"}
ALLOWED = {
    ("", "pending"),
    ("pending", "running"),
    ("pending", "paused"),
    ("pending", "cancelled"),
    ("paused", "pending"),
    ("paused", "cancelled"),
    ("running", "pending"),
    ("running", "paused"),
    ("running", "completed"),
    ("running", "failed"),
    ("running", "cancelled"),
}
ENDINGS = {"complete": "completed", "fail": "failed", "release": "released"}
FENCED = {"heartbeat", "progress", "metrics", *ENDINGS}
TOLD = {"completed", "failed", "released"}  # attempts whose worker said how they ended


class Violation(NamedTuple):
    """Which invariant, of which job, how."""

    invariant: str
    job: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.invariant} job {self.job}: {self.message}"


Findings = Iterator[Violation]


def check(evidence: Evidence) -> list[Violation]:
    """Every violation; empty when all invariants hold."""
    return [violation for rule in RULES for violation in rule(evidence)]


# I1


def one_live_attempt(evidence: Evidence) -> Findings:
    """Replays claims and ends in the order of the events: per job and per worker at most one is open."""
    holder: dict[int, str] = {}
    for event in _changes(evidence):
        if event.after != "running":
            holder.pop(event.job, None)
            continue
        worker = event.actor
        if event.job in holder:
            yield Violation("I1", event.job, f"claimed by {worker} while {holder[event.job]} held it")
        for other in [job for job, name in holder.items() if name == worker]:
            yield Violation("I1", event.job, f"{worker} held job {other} at the same time")
        holder[event.job] = worker


def live_rows_match(evidence: Evidence) -> Findings:
    """An open attempt row for each running job, and for no other."""
    live = Counter(attempt.job for attempt in evidence.attempts if attempt.ended_at is None)
    for job in evidence.jobs:
        if live[job.id] != (job.status == "running"):
            yield Violation("I1", job.id, f"{live[job.id]} live attempts of a {job.status} job")


# I2, I3, I9


def transitions_are_allowed(evidence: Evidence) -> Findings:
    """Also I3: nothing leaves a final state, for no pair of ALLOWED begins with one."""
    for event in _changes(evidence):
        if (event.before, event.after) not in ALLOWED:
            invariant = "I3" if event.before in TERMINAL else "I2"
            yield Violation(invariant, event.job, f"{event.before} -> {event.after} by {event.actor}")


def job_and_run_agree(evidence: Evidence) -> Findings:
    """Status of both; a lease only while running; an end only at the end."""
    for job in evidence.jobs:
        if job.status != job.run_status:
            yield Violation("I2", job.id, f"job {job.status}, run {job.run_status}")
        if (job.lease_expires_at is not None) != (job.status == "running"):
            yield Violation("I2", job.id, f"lease until {job.lease_expires_at} of a {job.status} job")
        if (job.finished_at is not None) != (job.status in TERMINAL):
            yield Violation("I2", job.id, f"finished at {job.finished_at} and {job.status}")


def completed_once(evidence: Evidence) -> Findings:
    """One event, one attempt, one model for a completed job; none for any other."""
    events = Counter(event.job for event in _changes(evidence) if event.after == "completed")
    attempts = Counter(attempt.job for attempt in evidence.attempts if attempt.outcome == "completed")
    for job in evidence.jobs:
        found = (events[job.id], attempts[job.id], int(job.model_sha256 is not None))
        wanted = (1, 1, 1) if job.status == "completed" else (0, 0, 0)
        if found != wanted:
            yield Violation("I3", job.id, f"{job.status}, but (events, attempts, models) = {found}")


def events_are_a_chain(evidence: Evidence) -> Findings:
    """Each transition begins where the last one ended, and the last one is the job's status."""
    last: dict[int, str] = defaultdict(str)
    for event in _changes(evidence):
        if event.before != last[event.job]:
            yield Violation("I9", event.job, f"{event.before} -> {event.after} after {last[event.job] or 'nothing'}")
        last[event.job] = event.after
    for job in evidence.jobs:
        if last[job.id] != job.status:
            yield Violation("I9", job.id, f"{job.status}, but its last event says {last[job.id] or 'nothing'}")


# I4


def attempts_grow(evidence: Evidence) -> Findings:
    """Claims carry 1, 2, 3 …; rows too; the job's number is the last one."""
    claims: dict[int, list[int]] = defaultdict(list)
    for event in _changes(evidence):
        if event.after == "running" and event.reason != "reattached":
            claims[event.job].append(event.attempt)
    rows: dict[int, list[int]] = defaultdict(list)
    for attempt in evidence.attempts:
        rows[attempt.job].append(attempt.number)
    for job in evidence.jobs:
        wanted = list(range(1, job.attempt + 1))
        if claims[job.id] != wanted or rows[job.id] != wanted:
            yield Violation("I4", job.id, f"attempt {job.attempt}, claimed as {claims[job.id]}, rows {rows[job.id]}")


def claims_are_unique(evidence: Evidence) -> Findings:
    """Two answers with the same attempt went to the same claim of the same worker."""
    given: dict[tuple[int, int], tuple[str, str]] = {}
    for call in () if evidence.restored else _accepted(evidence, "claim"):
        key, claim = (call["job"], call["attempt"]), (call["worker"], call["claim_id"])
        if given.setdefault(key, claim) != claim:
            yield Violation("I4", call["job"], f"attempt {call['attempt']} given to {given[key]} and to {claim}")


# I5, I6


def metrics_are_whole(evidence: Evidence) -> Findings:
    """Of a completed run: one point per step, no step missing, each with the value of its step."""
    points: dict[int, dict[int, list[object]]] = defaultdict(lambda: defaultdict(list))
    for point in evidence.points:
        if point.split == "train":
            points[point.run][point.step].append(point.values)
    for job in _completed_by_stub(evidence):
        found = points[job.run]
        missing = [step for step in range(1, job.steps + 1) if not found[step]]
        doubled = [step for step, values in found.items() if len(values) > 1]
        wrong = [step for step, values in found.items() if values and _loss(values[0]) != 1 / step]
        if missing or doubled or wrong or max(found) > job.steps:
            yield Violation("I5", job.id, f"points missing {missing}, doubled {doubled}, wrong {wrong}")


def lines_have_no_gap(evidence: Evidence) -> Findings:
    """The numbers of every attempt are 1, 2, 3 …; of a lost attempt the end may be missing, nothing before it.

    A restored backup may be of a moment when an earlier gap was being filled, and of an attempt whose worker is done
    with it: of such ones nobody can send the rest, and only those whose end is stored are whole.
    """
    numbers: dict[tuple[int, int], list[int]] = defaultdict(list)
    for line in evidence.lines:
        numbers[line.job, line.attempt].append(line.seq)
    excused = _declared_gaps(evidence)
    if evidence.restored:
        excused |= {(a.job, a.number) for a in evidence.attempts if a.outcome not in TOLD}
    for (job, attempt), found in numbers.items():
        if (job, attempt) not in excused and found != list(range(1, len(found) + 1)):
            missing, doubled = sorted(set(range(1, max(found) + 1)) - set(found)), len(found) - len(set(found))
            yield Violation("I6", job, f"attempt {attempt}: lines missing {missing}, {doubled} doubled")


def lines_arrived(evidence: Evidence) -> Findings:
    """Every step that a trainer wrote down is one line of its attempt, if the attempt's end was told."""
    told = {(attempt.job, attempt.number) for attempt in evidence.attempts if attempt.outcome in TOLD}
    lines = Counter((line.job, line.attempt, line.message) for line in evidence.lines)
    steps, declared = {job.id: job.steps for job in evidence.jobs}, _declared_gaps(evidence)
    for step in evidence.told("step"):
        key = (step["job"], step["attempt"])
        if key in declared or not step["line"]:  # a full disk: see gaps_are_declared
            continue
        found = lines[*key, f"step {step['step']} of {steps[step['job']]} (process {step['pid']})"]
        if found > 1 or (key in told and found != 1):
            yield Violation("I6", step["job"], f"attempt {step['attempt']}: step {step['step']} has {found} lines")


def lines_add_up(evidence: Evidence) -> Findings:
    """As many lines as the worker says that it sent, less those that it says that it dropped on a full disk.

    There may be more: a worker that was killed after its completion was taken adds how it came back.
    """
    stored = Counter((line.job, line.attempt) for line in evidence.lines)
    for attempt in evidence.attempts:
        counts, found = _counts(attempt), stored[attempt.job, attempt.number]
        if counts and found < counts["log_lines"] - counts["left_out"]:
            yield Violation("I6", attempt.job, f"attempt {attempt.number}: {found} lines, its worker says {counts}")


def gaps_are_declared(evidence: Evidence) -> Findings:
    """Lines for which a full disk had no room are counted by the worker, so that the run's page can say so."""
    refused = Counter((step["job"], step["attempt"]) for step in evidence.told("step") if not step["line"])
    for attempt in evidence.attempts:
        lines, declared = refused[attempt.job, attempt.number], _counts(attempt).get("left_out", 0)
        if attempt.outcome in TOLD and lines > declared:
            yield Violation("I6", attempt.job, f"attempt {attempt.number}: {lines} lines left out, {declared} declared")


def _declared_gaps(evidence: Evidence) -> set[tuple[int, int]]:
    return {(a.job, a.number) for a in evidence.attempts if _counts(a).get("left_out")}


def _counts(attempt: Attempt) -> dict[str, int]:
    return dict(json.loads(attempt.counts) if isinstance(attempt.counts, str) else attempt.counts)


# I7


def acknowledged_is_stored(evidence: Evidence) -> Findings:
    """Whatever the server answered with 200 is there."""
    if evidence.restored:
        return
    lines = {(line.job, line.attempt, line.seq) for line in evidence.lines}
    runs = {job.id: job.run for job in evidence.jobs}
    points = {(point.run, point.split, point.step) for point in evidence.points}
    for call in _accepted(evidence, "logs"):
        gone = [seq for seq in call.get("lines", []) if (call["job"], call["attempt"], seq) not in lines]
        if gone:
            yield Violation("I7", call["job"], f"attempt {call['attempt']}: acknowledged lines {gone} are gone")
    for call in _accepted(evidence, "metrics"):
        gone = [point for point in call.get("points", []) if (runs[call["job"]], *point) not in points]
        if gone:
            yield Violation("I7", call["job"], f"acknowledged points {gone} are gone")


def endings_are_stored(evidence: Evidence) -> Findings:
    """An acknowledged claim, completion, failure or release is the one that its attempt's row tells of."""
    if evidence.restored:
        return
    rows = {(attempt.job, attempt.number): attempt for attempt in evidence.attempts}
    for call in _accepted(evidence, "claim", *ENDINGS):
        row = rows.get((call["job"], call["attempt"]))
        if not _matches(call, row):
            yield Violation("I7", call["job"], f"{call['call']} of attempt {call['attempt']} accepted, stored: {row}")


def _matches(call: Record, row: Attempt | None) -> bool:
    if row is None or row.worker != call["worker"]:
        return False
    if call["call"] == "claim":
        return uuid.UUID(str(row.claim_id)) == uuid.UUID(call["claim_id"])
    return row.outcome == ENDINGS[call["call"]]


def models_are_right(evidence: Evidence) -> Findings:
    """The chain of hashes of an undisturbed training."""
    for job in _completed_by_stub(evidence):
        if job.model_sha256 != final_weights(job.seed, evidence.sheet_sha256, job.steps):
            yield Violation("I7", job.id, "the model is not the one of an undisturbed training")


# I8


def fences_hold(evidence: Evidence) -> Findings:
    """No call of an attempt that came in after a later claim, or after its own end, was accepted as a live one."""
    fences: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for call in _accepted(evidence, "claim"):
        fences[call["job"]].append((call["answered_at"], call["attempt"] - 1))
    ended = {(c["job"], c["attempt"]): c["answered_at"] for c in reversed(list(_accepted(evidence, *ENDINGS)))}
    for call in () if evidence.restored else _accepted(evidence, *FENCED):
        late = any(call["at"] > at and call["attempt"] <= number for at, number in fences[call["job"]])
        after_end = call["at"] > ended.get((call["job"], call["attempt"]), call["at"])
        if (late or after_end) and call["call"] not in ENDINGS:  # a repeated end is judged by endings_are_stored
            yield Violation("I8", call["job"], f"late {call['call']} of attempt {call['attempt']} was accepted")


# I10


def nothing_is_stuck(evidence: Evidence) -> Findings:
    """After the queue was drained every job is where it was expected to end."""
    for job in evidence.jobs:
        expected = evidence.expected.get(job.id, {"completed"})
        if job.status not in expected:
            invariant = "I3" if job.status in TERMINAL else "I10"
            yield Violation(invariant, job.id, f"{job.status}, expected {' or '.join(sorted(expected))}")


# I11


def resumes_where_it_was(evidence: Evidence) -> Findings:
    """A start on the worker that sealed a checkpoint begins there, so that less than one interval is repeated."""
    sealed: dict[tuple[str, int], int] = {}
    for record in sorted(evidence.history, key=lambda r: r["at"]):
        key = (record["worker"], record["job"])
        if record["kind"] == "trainer" and record["event"] == "sealed":
            sealed[key] = record["step"]
        is_start = record["kind"] == "trainer" and record["event"] == "start" and record["job"] not in evidence.damaged
        if is_start and record["step"] < sealed.get(key, 0) and record["job"] in {job.id for job in evidence.jobs}:
            yield Violation("I11", record["job"], f"began at step {record['step']}, step {sealed[key]} was sealed")


def _changes(evidence: Evidence) -> list[Event]:
    """Events that changed a status, oldest first."""
    return [event for event in sorted(evidence.events) if event.before != event.after]


def _completed_by_stub(evidence: Evidence) -> list[Job]:
    return [] if evidence.trains_for_real else [job for job in evidence.jobs if job.status == "completed"]


def _accepted(evidence: Evidence, *calls: str) -> Iterator[Record]:
    return (call for call in evidence.calls() if call["call"] in calls and call["status"] == 200)


def _loss(values: object) -> float:
    data = json.loads(values) if isinstance(values, str) else values
    return float(data["loss"]) if isinstance(data, dict) else -1.0


RULES: tuple[Callable[[Evidence], Findings], ...] = (
    one_live_attempt,
    live_rows_match,
    transitions_are_allowed,
    job_and_run_agree,
    completed_once,
    events_are_a_chain,
    attempts_grow,
    claims_are_unique,
    metrics_are_whole,
    lines_have_no_gap,
    lines_arrived,
    lines_add_up,
    gaps_are_declared,
    acknowledged_is_stored,
    endings_are_stored,
    models_are_right,
    fences_hold,
    nothing_is_stuck,
    resumes_where_it_was,
)
