"""Processes that die or stand still."""

import sqlite3
import time
from random import Random
from urllib.parse import urlsplit

from tests.faults.arena import A_TRAINING_S, Arena, fault
from tests.faults.cluster import LEASE_S, RigWorker

PROTOCOL_POINTS = [
    ("claim", "answer"),
    ("download", "answer"),
    ("metrics", "request"),
    ("logs", "answer"),
    ("complete", "request"),
    ("complete", "answer"),
]


@fault("F1", "worker killed", "SIGKILL to the whole worker tree at a random point, started again at once")
def kill_worker(arena: Arena, n: int) -> None:
    """Half of the kills at a random time, half exactly between a request and its effect or its answer."""

    def act(worker: RigWorker, number: int, dice: Random) -> None:
        mark = arena.cluster.history.mark()
        if dice.random() < 0.5:
            rule = worker.link.on(*dice.choice(PROTOCOL_POINTS), "hold")
            arena.queue()
            rule.reached.wait(20)
        else:
            arena.next_claim(worker)
            time.sleep(dice.uniform(0, A_TRAINING_S))
        worker.kill()
        worker.link.heal()
        worker.start()
        worker.next_call("register", after=mark)

    arena.each(n, act)


@fault("F2", "server killed", "SIGKILL to the server at a random point under load, started again", small_n=1)
def kill_server(arena: Arena, n: int) -> None:
    """One server, so one act after the other, with every worker at work."""
    for number in range(n):
        dice = arena.dice(number)
        for _ in arena.cluster.workers:
            arena.queue()
        time.sleep(dice.uniform(0, A_TRAINING_S))
        assert arena.cluster.server is not None
        arena.cluster.server.kill()
        time.sleep(dice.uniform(0, 0.5))
        arena.cluster.restart_server()


@fault("F9", "zombie", "SIGSTOP to the whole worker tree until another worker has the job, then SIGCONT", small_n=1)
def zombie(arena: Arena, n: int) -> None:
    """Half of the workers sleep in turn; the others take their jobs."""
    sleepers = arena.cluster.workers[: max(1, len(arena.cluster.workers) // 2)]

    def act(worker: RigWorker, number: int, dice: Random) -> None:
        claim = arena.next_claim(worker)
        job, attempt = claim["job"], claim["attempt"]
        time.sleep(dice.uniform(0, A_TRAINING_S * 0.7))
        mark = arena.cluster.history.mark()
        worker.freeze()
        taken = arena.cluster.history.wait_for(
            lambda r: r.get("call") == "claim" and r["job"] == job and r.get("attempt") == attempt + 1,
            after=mark,
            seconds=4 * LEASE_S,
        )
        arena.count("taken over" if taken else "over before it slept")
        worker.thaw()

    arena.each(n, act, workers=sleepers)


@fault("F10", "sleep of all", "SIGSTOP to every worker for more than a lease; nobody else can take the jobs", small_n=1)
def all_asleep(arena: Arena, n: int) -> None:
    """Each goes on as the same attempt of the same process, and repeats nothing."""
    workers = arena.cluster.workers
    for number in range(-(-n // len(workers))):
        _sleep_together(arena, arena.dice(number))


def _sleep_together(arena: Arena, dice: Random) -> None:
    workers = arena.cluster.workers
    mark = arena.cluster.history.mark()
    for _ in workers:
        arena.queue(steps=200)
    claims = [worker.next_event("step", after=mark) for worker in workers]
    time.sleep(dice.uniform(0, 0.5))
    for worker in workers:
        worker.freeze()
    time.sleep(LEASE_S + 0.5)
    arena.cluster.get("/queue/status")  # the server sees that the leases have run out
    for worker in workers:
        worker.thaw()
    for claim in claims:
        if claim:
            _went_on(arena, claim)


def _went_on(arena: Arena, before: dict[str, int]) -> None:
    run = next(run for run, job in arena.runs.items() if job == before["job"])
    arena.wait_over(run)
    starts = [r for r in arena.evidence().told("start") if r["job"] == before["job"]]
    if [start["pid"] for start in starts] != [before["pid"]]:
        arena.blame(f"started {len(starts)} times instead of going on", before["job"])


@fault(
    "F15",
    "database away",
    "PostgreSQL restarts (fast, immediate) or SQLite is locked for up to 3 s",
    small_n=1,
)
def database_away(arena: Arena, n: int) -> None:
    """Nobody acts: server and workers find their way back."""
    for number in range(n):
        dice = arena.dice(number)
        for _ in arena.cluster.workers:
            arena.queue()
        time.sleep(dice.uniform(0, A_TRAINING_S))
        if arena.cluster.postgres:
            mode = dice.choice(("fast", "immediate"))
            arena.cluster.postgres.restart(mode)
            arena.count(f"{mode} restarts")
        else:
            _lock(arena.cluster.database_url, dice.uniform(0.5, LEASE_S))
            arena.count("locked")


def _lock(database_url: str, seconds: float) -> None:
    with sqlite3.connect(urlsplit(database_url).path, timeout=20, isolation_level=None) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")


@fault(
    "F24",
    "restored backup",
    "a backup taken in mid-run replaces the database a few seconds later",
    small_n=1,
)
def restored(arena: Arena, n: int) -> None:
    """What was done since is forgotten by the server and known to the workers; all jobs end all the same."""
    arena.restored = True
    for number in range(n):
        dice = arena.dice(number)
        for _ in arena.cluster.workers:
            arena.queue()
        time.sleep(dice.uniform(0.2, A_TRAINING_S))
        backup = arena.cluster.backup()
        time.sleep(dice.uniform(0.2, 2 * A_TRAINING_S))
        arena.cluster.restore(backup)
