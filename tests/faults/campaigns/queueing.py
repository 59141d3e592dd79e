"""Calls that come twice, in any order, or all at once. Clients are light: the worker's own ApiClient, no processes."""

import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from random import Random
from typing import Any

from tests.end_to_end.site import ROOT
from tests.faults.arena import Arena, fault
from tests.faults.cluster import RigWorker
from tests.faults.model import Model
from tests.faults.proxy import Weather
from worker_client.errors import LeaseLost, Retryable

ATTEMPTS = 3
CLIENTS = 16
JOBS_PER_FAULT = 20  # with N=50, the 1,000 jobs of the fault table
LOST_ANSWERS = 0.2
SLOWEST_CLAIM_S = 1.0
ENOUGH_TO_MEASURE = 20
RESULT = {"metrics": {"f1": 0.9}, "best_epoch": 1, "model_path": "m", "model_sha256": "0" * 64, "report": {}}


@contextmanager
def _alone(arena: Arena, prefix: str, clients: int) -> Iterator[list[RigWorker]]:
    """The workers' processes stand down; that many names with links remain to speak for themselves."""
    arena.trains_for_real = True  # nobody trains at all: there is no chain of hashes to compare with
    workers = [worker for worker in arena.cluster.workers if worker.wanted]
    for worker in workers:
        worker.stand_down()
    time.sleep(1)  # a claim that was under way may still be answered
    try:
        yield [arena.cluster.client(f"{prefix}{number}") for number in range(clients)]
    finally:
        for worker in workers:
            worker.start()


@fault("F7", "duplicates", "each call of three attempts is sent 1 to 5 times, shuffled; answers as a reference model's")
def duplicates(arena: Arena, n: int) -> None:
    """One job per trace; every answer and the final rows are compared."""
    arena.waived.add("I6")  # lines that come before their attempt are refused, so there are gaps
    with _alone(arena, "trace", 1) as [client]:
        for number in range(n):
            _trace(arena, client, arena.dice(number))


def _trace(arena: Arena, client: RigWorker, dice: Random) -> None:
    run = arena.queue()
    job, model = arena.runs[run], Model()
    arena.expect(run, "pending", "completed", "failed", "cancelled")
    calls = [call for call in _calls(dice, job) for _ in range(dice.randint(1, 5))]
    dice.shuffle(calls)
    for call, body in calls:
        wanted, found = model.answer(call, body), _status(client, job, call, body)
        if wanted != found:
            arena.blame(f"{call} {body.get('attempt', '')} was answered {found}, the model says {wanted}", job)
    _same_rows(arena, run, model)
    arena.cluster._http.post(f"{arena.cluster.address}/bert-training/api/runs/{run}/cancel", timeout=20)
    if model.live:
        _status(client, job, "release", {"attempt": model.live, "reason": "cancelled"})
    arena.count("calls", len(calls))


def _calls(dice: Random, job: int) -> Iterator[tuple[str, dict[str, Any]]]:
    for attempt in range(1, ATTEMPTS + 1):
        yield "claim", {"claim_id": str(uuid.UUID(int=dice.getrandbits(128), version=4)), "wait_seconds": 0}
        yield "heartbeat", {"job": job, "attempt": attempt, "state": "busy"}
        yield "progress", {"attempt": attempt, "phase": "training", "step": attempt}
        for first in (1, 4):
            lines = [{"seq": first + i, "timestamp": _now(), "level": "INFO", "message": "line"} for i in range(3)]
            yield "logs", {"job": job, "attempt": attempt, "lines": lines}
        steps = [{"epoch": 1, "step": attempt + i, "split": "train", "values": {"loss": 0.5}} for i in range(3)]
        yield "metrics", {"job": job, "attempt": attempt, "metrics": steps}
        yield _ending(attempt, dice)


def _ending(attempt: int, dice: Random) -> tuple[str, dict[str, Any]]:
    if attempt == 1:
        failure = {"reason": "base_model_unavailable", "message": "away", "retryable": True}
        return dice.choice((("release", {"attempt": 1, "reason": "shutdown"}), ("fail", {"attempt": 1, **failure})))
    if attempt == 2:
        return "release", {"attempt": 2, "reason": "shutdown"}
    failure = {"reason": "invalid_data", "message": "no", "retryable": False}
    return dice.choice((("complete", {"attempt": 3, **RESULT}), ("fail", {"attempt": 3, **failure})))


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _status(client: RigWorker, job: int, call: str, body: dict[str, Any]) -> int:
    """The status code of one call, as it stands in the history."""
    paths = {"claim": "/jobs/claim", "heartbeat": "/workers/heartbeat", "logs": "/logs/batch", "metrics": "/metrics"}
    return client.post(paths.get(call, f"/jobs/{job}/{call}"), body).status_code


def _same_rows(arena: Arena, run: int, model: Model) -> None:
    evidence = arena.evidence()
    [job] = [job for job in evidence.jobs if job.run == run]
    found = (job.status, job.attempt)
    lines = {(line.attempt, line.seq) for line in evidence.lines if line.job == job.id}
    points = {(point.split, point.step): point.attempt for point in evidence.points if point.run == run}
    wanted = (model.status, len(model.claims))
    for what, mine, theirs in (
        ("status and attempt", found, wanted),
        ("lines", lines, model.lines),
        ("points", points, model.points),
    ):
        if mine != theirs:
            arena.blame(f"{what} {mine}, the model says {theirs}", job.id)


@fault("F8", "claim race", "16 clients take 20 x N jobs while 20 % of all answers are dropped", small_n=1)
def claim_race(arena: Arena, n: int) -> None:
    """Every job done once; the 99th percentile of a claim is reported, and on SQLite held under a second."""
    with _alone(arena, "client", CLIENTS) as clients:
        for _ in range(n * JOBS_PER_FAULT):
            arena.queue()
        mark = arena.cluster.history.mark()
        threads = [
            threading.Thread(target=_work_off, args=(client, Weather(lost_answers=LOST_ANSWERS))) for client in clients
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        _report_claims(arena, n, mark)


def _work_off(client: RigWorker, weather: Weather) -> None:
    """Claim and complete until nothing is left, each call until it is answered."""
    api = client.api(connection_retries=0)
    client.link.weather = weather
    while job := _until_answered(api.claim, str(uuid.uuid4())):
        with suppress(LeaseLost):  # so many dropped answers that the lease ran out: somebody else takes it
            _until_answered(api.complete, job_id=job.job_id, attempt=job.attempt, result=RESULT)
    client.link.heal()


def _until_answered(call: Any, *arguments: Any, **named: Any) -> Any:
    while True:
        try:
            return call(*arguments, **named)
        except Retryable:
            continue


def _report_claims(arena: Arena, n: int, mark: int) -> None:
    calls = [r for r in arena.cluster.history.records[mark:] if r.get("call") == "claim" and r["status"] == 200]
    times = sorted(call["answered_at"] - call["at"] for call in calls)
    slowest = times[int(len(times) * 0.99)]
    arena.count(f"claims, p99 {slowest * 1000:.0f} ms", len(times))
    if arena.cluster.database == "sqlite" and n >= ENOUGH_TO_MEASURE and slowest > SLOWEST_CLAIM_S:
        arena.blame(f"the 99th percentile of a claim is {slowest:.2f} s")


@fault("F11", "races", "two calls interleaved at each SQL statement: expiry, heartbeat, complete, cancel, claim …")
def races(arena: Arena, n: int) -> None:
    """In a process with Django, against the same database; see interleavings.py. N pairs of calls; there are 30."""
    with _alone(arena, "racer", 2):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.faults.interleavings",
                str(arena.cluster.dataset["id"]),
                str(n),
                str(arena.seed),
            ],
            cwd=ROOT,
            env=arena.cluster.full_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        arena.blame(done.stderr[-2000:])
    for line in done.stdout.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "job":
            job, run, *statuses = rest.split()
            arena.runs[int(run)] = int(job)
            arena.expect(int(run), *statuses)
        else:
            arena.count(rest)
