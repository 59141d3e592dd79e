"""What a campaign is written with. A campaign is one function per fault:

    @fault("F3", "the cable is pulled", "for a moment, for most of a lease, for three leases")
    def link_cut(arena: Arena, n: int) -> None:
        def act(worker: RigWorker, number: int, dice: Random) -> None:
            arena.next_claim(worker)                   # queues a run and waits until this worker has one
            time.sleep(dice.uniform(0, 1.5))           # a random point of its life
            worker.link.cut()
            time.sleep(dice.choice(LENGTHS))
            worker.link.heal()

        arena.each(n, act)                             # n acts, shared by the workers, one thread per worker

When the function returns, every worker is healed, the queue is drained, and the checker judges all runs that were
queued. `arena.expect(run, "failed")` says how a run may end where that is not "completed"; `arena.count("reattached")`
adds to the outcome counts of the report; `arena.blame("...")` adds a violation of the fault's own. All chance comes
from `dice`, which is seeded by (seed, fault, number of the act).
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import psutil
import requests

from tests.faults.checker import TERMINAL, Violation, check
from tests.faults.cluster import Cluster, RigWorker
from tests.faults.evidence import Evidence, collect
from tests.faults.history import Record

STEPS = 50
A_TRAINING_S = 1.8  # of the stub with these steps, from the claim to the completion
CLAIM_WITHIN_S = 60.0
QUEUE_AGAIN_S = 1.5  # another worker may have been faster
DRAIN_WITHIN_S = 120.0

Act = Callable[[RigWorker, int, Random], None]
Campaign = Callable[["Arena", int], None]


@dataclass(frozen=True)
class Fault:
    """One row of the fault table."""

    name: str
    title: str
    what: str
    campaign: Campaign
    databases: tuple[str, ...] = ("sqlite", "postgresql")
    small_n: int = 2  # in `make test`
    storage: bool = True  # whether the kind of database matters; if not, `make test` does it on SQLite only
    known: str = ""  # a fault of the product that is not mended yet; `make test` expects it, the report shows it


FAULTS: dict[str, Fault] = {}


def fault(name: str, title: str, what: str, **more: Any) -> Callable[[Campaign], Campaign]:
    """Register a campaign."""

    def register(campaign: Campaign) -> Campaign:
        FAULTS[name] = Fault(name, title, what, campaign, **more)
        return campaign

    return register


@dataclass
class Verdict:
    """What came of one campaign."""

    fault: Fault
    database: str
    n: int
    seed: int
    outcomes: Counter[str]
    violations: list[Violation]
    seconds: float
    first_record: int = 0

    @property
    def passed(self) -> bool:
        """Whether all invariants held."""
        return not self.violations


@dataclass
class Arena:
    """One campaign's view of a cluster."""

    cluster: Cluster
    name: str
    seed: int
    outcomes: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    runs: dict[int, int] = field(default_factory=dict)  # run -> job
    expected: dict[int, set[str]] = field(default_factory=dict)  # by job
    damaged: set[int] = field(default_factory=set)
    restored: bool = False
    trains_for_real: bool = False
    waived: set[str] = field(default_factory=set)  # invariants that this fault breaks by itself
    _lock: threading.Lock = field(default_factory=threading.Lock)

    # Runs

    def queue(self, *, steps: int = STEPS, words: str = "", **run: Any) -> int:
        """Queue a run; `words` go into its name, where the stub reads its plan. Asks again while the server is away."""
        wishes = {"epochs": steps, "early_stopping_patience": 0, **run.pop("hyperparameters", {})}
        with self._lock:
            number = len(self.runs) + 1
        name = f"{self.name} {self.seed} {number}.{time.time_ns()} {words}"
        body = {"name": name, "dataset": self.cluster.dataset["id"], "base_model": "builtin/tiny-bert", **run}
        answer = self._post("/runs", {"seed": number, **body, "hyperparameters": wishes}, name)
        with self._lock:
            self.runs[answer["id"]] = answer["job"]["id"]
        return int(answer["id"])

    def _post(self, path: str, body: dict[str, Any], name: str) -> dict[str, Any]:
        while True:
            with suppress(requests.RequestException, AssertionError):
                return dict(self.cluster.post(path, body).json())
            time.sleep(0.2)
            if known := [row for row in self.cluster.rows("SELECT name, id FROM bert_runs") if row[0] == name]:
                return dict(self.cluster.get(f"/runs/{known[0][1]}"))  # it was queued, only the answer is lost

    def expect(self, run: int, *statuses: str) -> None:
        """How this run may end."""
        self.expected[self.runs[run]] = set(statuses)

    def next_claim(self, worker: RigWorker, **run: Any) -> Record:
        """Queue a run and wait until this worker has claimed one, perhaps another. Only claims from now on count."""
        mark, deadline = self.cluster.history.mark(), time.monotonic() + CLAIM_WITHIN_S
        while time.monotonic() < deadline:
            self.queue(**run)
            if claim := worker.next_call("claim", after=mark, seconds=QUEUE_AGAIN_S):
                return claim
        raise AssertionError(f"{worker.name} claims nothing\n{self.cluster._tails()}")

    def held_by(self, worker: RigWorker) -> tuple[int, int, int] | None:
        """Run, job and attempt that this worker holds at the moment, by the database."""
        live = self.cluster.rows(
            "SELECT j.run_id, j.id, a.number, w.name FROM bert_attempts a JOIN bert_jobs j ON j.id = a.job_id"
            " JOIN bert_workers w ON w.id = a.worker_id WHERE a.ended_at IS NULL"
        )
        return next(((run, job, number) for run, job, number, name in live if name == worker.name), None)

    def status_of(self, run: int) -> str:
        """By the database."""
        return str(dict(self.cluster.rows("SELECT id, status FROM bert_runs"))[run])

    def wait_over(self, run: int, seconds: float = 60.0) -> float:
        """Seconds until the run is over; blames it where it is not in time."""
        began = time.monotonic()
        while self.status_of(run) not in TERMINAL:
            if time.monotonic() - began > seconds:
                self.blame(f"not over after {seconds:.0f} s", self.runs[run])
                break
            time.sleep(0.05)
        return time.monotonic() - began

    # Acts

    def each(self, n: int, act: Act, *, workers: list[RigWorker] | None = None) -> None:
        """Do `act` n times, shared by the workers; one thread per worker."""
        lanes = workers or self.cluster.workers

        def lane(index: int) -> None:
            for number in range(index, n, len(lanes)):
                act(lanes[index], number, self.dice(number))
                lanes[index].link.heal()

        with ThreadPoolExecutor(len(lanes)) as pool:
            list(pool.map(lane, range(len(lanes))))

    def dice(self, number: int) -> Random:
        """Chance, the same for the same seed, fault and act."""
        return Random(f"{self.seed} {self.name} {number}")

    def count(self, outcome: str, by: int = 1) -> None:
        """Add to the outcome counts."""
        with self._lock:
            self.outcomes[outcome] += by

    def blame(self, message: str, job: int | None = None) -> None:
        """A violation that only this fault knows of."""
        with self._lock:
            self.violations.append(Violation(self.name, job, message))

    # The end

    def heal(self) -> None:
        """Fair weather, every worker awake and running, the server up."""
        if self.cluster.server is None or self.cluster.server.exit_code is not None:
            self.cluster.restart_server()
        for worker in self.cluster.workers:
            worker.link.heal()
            worker.thaw()
            if worker.wanted and not worker.runs:
                worker.kill()
                worker.start()

    def drain(self, seconds: float = DRAIN_WITHIN_S) -> None:
        """Wait until every run of this campaign is where it should be, or for `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._open_runs():
            time.sleep(0.3)

    def _open_runs(self) -> list[int]:
        status = dict(self.cluster.rows("SELECT id, status FROM bert_jobs"))
        jobs = set(self.runs.values()) & status.keys()
        return [job for job in jobs if status[job] not in (TERMINAL | self.expected.get(job, set()))]

    def evidence(self, since: int = 0) -> Evidence:
        """Everything about this campaign's runs."""
        return collect(
            self.cluster.rows,
            self.runs.values(),
            # Jobs that a restored backup does not know leave their numbers to others: nothing told before counts.
            history=[] if self.restored else self.cluster.history.records[since:],
            sheet_sha256=self.cluster.dataset["sha256"],
            expected=self.expected,
            damaged=self.damaged,
            restored=self.restored,
            trains_for_real=self.trains_for_real,
        )

    def judge(self, since: int) -> list[Violation]:
        """The checker's word, and what only this fault knows."""
        evidence = self.evidence(since)
        self.outcomes.update(job.status for job in evidence.jobs)
        self.outcomes.update(event.reason for event in evidence.events if event.reason in NOTED)
        found = [violation for violation in check(evidence) if violation.invariant not in self.waived]
        return [*found, *self._vanished(evidence), *self.violations, *self._orphans()]

    def _vanished(self, evidence: Evidence) -> list[Violation]:
        """A run that a person was told of is there, unless an old backup was put in place."""
        gone = set() if self.restored else set(self.runs.values()) - {job.id for job in evidence.jobs}
        return [Violation("I7", job, "the job is gone") for job in gone]

    def _orphans(self) -> list[Violation]:
        """No training process may live on when its job is over."""
        psutil.wait_procs(self.cluster.trainers(), timeout=10)
        return [Violation("I10", None, f"process {left.pid} still trains") for left in self.cluster.trainers()]


NOTED = {"reattached", "lease_expired", "crashed", "shutdown", "cancel_too_late", "killed", "disk_full"}


def run_campaign(cluster: Cluster, fault: Fault, *, n: int, seed: int) -> Verdict:
    """Hurt, heal, drain, judge."""
    began, since = time.monotonic(), cluster.history.mark()
    arena = Arena(cluster, fault.name, seed)
    arena.heal()
    try:
        fault.campaign(arena, n)
    except Exception as error:  # one broken campaign does not end the others
        arena.blame(f"the campaign broke off: {type(error).__name__}: {str(error)[:300]}")
    arena.heal()
    arena.drain()
    violations = arena.judge(since)
    return Verdict(
        fault, cluster.database, n, seed, arena.outcomes, violations, time.monotonic() - began, first_record=since
    )
