"""All that the checker looks at: the final database, the history, and what was ordered."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.faults.history import Record


class Job(NamedTuple):
    """A job with its run's status and model."""

    id: int
    run: int
    status: str
    attempt: int
    loss_count: int
    lease_expires_at: Any
    worker: str | None
    run_status: str
    seed: int
    steps: int
    finished_at: Any
    model_sha256: str | None


class Attempt(NamedTuple):
    """One claim."""

    job: int
    number: int
    worker: str
    claim_id: str
    ended_at: Any
    outcome: str
    reason: str
    counts: Any  # what its worker said that it sent; a JSON object, or its text on SQLite


class Event(NamedTuple):
    """One line of a job's story."""

    id: int
    job: int
    actor: str
    before: str
    after: str
    attempt: int
    reason: str


class Point(NamedTuple):
    """One figure of a run."""

    run: int
    split: str
    step: int
    attempt: int
    values: Any


class Line(NamedTuple):
    """One log line."""

    job: int
    attempt: int
    seq: int
    message: str


QUERIES: dict[str, tuple[type, str]] = {
    "jobs": (
        Job,
        "SELECT j.id, j.run_id, j.status, j.attempt, j.loss_count, j.lease_expires_at, w.name, r.status, r.seed,"
        " r.epochs, r.finished_at, m.sha256 FROM bert_jobs j JOIN bert_runs r ON r.id = j.run_id"
        " LEFT JOIN bert_workers w ON w.id = j.worker_id LEFT JOIN bert_trained_models m ON m.run_id = r.id"
        " WHERE j.id IN ({jobs}) ORDER BY j.id",
    ),
    "attempts": (
        Attempt,
        "SELECT a.job_id, a.number, w.name, a.claim_id, a.ended_at, a.outcome, a.reason, a.counts FROM bert_attempts a"
        " JOIN bert_workers w ON w.id = a.worker_id WHERE a.job_id IN ({jobs}) ORDER BY a.job_id, a.number",
    ),
    "events": (
        Event,
        "SELECT id, job_id, actor, from_status, to_status, attempt, reason FROM bert_job_events"
        " WHERE job_id IN ({jobs}) ORDER BY id",
    ),
    "points": (
        Point,
        'SELECT p.run_id, p.split, p.step, p.attempt, p."values" FROM bert_metrics p JOIN bert_jobs j'
        " ON j.run_id = p.run_id WHERE j.id IN ({jobs}) ORDER BY p.run_id, p.step",
    ),
    "lines": (
        Line,
        "SELECT job_id, attempt, seq, message FROM bert_logs WHERE job_id IN ({jobs}) ORDER BY job_id, attempt, seq",
    ),
}


@dataclass
class Evidence:
    """Of some jobs. `expected` are the statuses that a job may end with; `damaged` jobs had checkpoints spoiled."""

    jobs: list[Job]
    attempts: list[Attempt]
    events: list[Event]
    points: list[Point]
    lines: list[Line]
    history: list[Record] = field(default_factory=list)
    sheet_sha256: str = ""
    expected: dict[int, set[str]] = field(default_factory=dict)
    damaged: set[int] = field(default_factory=set)
    restored: bool = False  # the database was put back in between: what it had acknowledged may be gone
    trains_for_real: bool = False  # no stub: there is no chain of hashes to compare with

    def calls(self) -> Iterable[Record]:
        """What the proxy saw about these jobs, in order of arrival."""
        mine = {job.id for job in self.jobs}
        return sorted((r for r in self.history if r["kind"] == "call" and r["job"] in mine), key=lambda r: r["at"])

    def told(self, event: str) -> Iterable[Record]:
        """What the trainers told about these jobs."""
        mine = {job.id for job in self.jobs}
        return [r for r in self.history if r["kind"] == "trainer" and r["event"] == event and r["job"] in mine]


def collect(rows: Any, jobs: Iterable[int], **more: Any) -> Evidence:
    """Read the database. rows: a function from SQL to tuples."""
    numbers = ", ".join(str(job) for job in jobs) or "0"
    tables = {name: [kind(*row) for row in rows(query.format(jobs=numbers))] for name, (kind, query) in QUERIES.items()}
    return Evidence(**tables, **more)
