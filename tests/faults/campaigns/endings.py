"""How attempts end when somebody wants it: cancel, out of memory, shutdown."""

import signal
import time
from collections.abc import Callable
from random import Random

from tests.faults.arena import A_TRAINING_S, Arena, fault
from tests.faults.cluster import RigWorker
from tests.faults.history import Record

STOPPED_WITHIN_S = 15.0
SLOW = "prepare_ms=400 save_ms=150 eval_ms=400"  # so that each phase can be hit


@fault("F12", "cancel in each phase", "a person cancels while pending, claimed … uploading, offline", small_n=4)
def cancel(arena: Arena, n: int) -> None:
    """Cancelled, or completed with an event that says that the cancel came too late."""

    def act(worker: RigWorker, number: int, dice: Random) -> None:
        name = list(PHASES)[number % len(PHASES)]
        run = PHASES[name](arena, worker, dice)
        if run is None:
            arena.count(f"never {name}")
            return
        arena.cluster._http.post(f"{arena.cluster.address}/bert-training/api/runs/{run}/cancel", timeout=20)
        arena.expect(run, "cancelled", "completed")
        if name == "offline":
            time.sleep(1)
        worker.link.heal()
        arena.wait_over(run, STOPPED_WITHIN_S)
        arena.count(f"{name}: {arena.status_of(run)}")

    arena.each(n, act)
    _late_ones_say_so(arena)


def _late_ones_say_so(arena: Arena) -> None:
    evidence = arena.evidence()
    wanted = {event.job for event in evidence.events if event.reason == "cancel_requested"}
    late = {event.job for event in evidence.events if event.reason == "cancel_too_late"}
    for job in evidence.jobs:
        if job.status == "completed" and job.id in wanted - late:
            arena.blame("completed after a cancel, and no event says so", job.id)


def _pending(arena: Arena, worker: RigWorker, dice: Random) -> int:
    return arena.queue()


def _held(call: str, where: str) -> Callable[[Arena, RigWorker, Random], int | None]:
    def phase(arena: Arena, worker: RigWorker, dice: Random) -> int | None:
        rule = worker.link.on(call, where, "hold")
        for _ in range(10):
            arena.queue(steps=10)
            if rule.reached.wait(1.5):
                break
        held = arena.held_by(worker)
        return held[0] if held else None

    return phase


def _phase(**facts: object) -> Callable[[Arena, RigWorker, Random], int | None]:
    def phase(arena: Arena, worker: RigWorker, dice: Random) -> int | None:
        claim = arena.next_claim(worker, words=SLOW)
        mark = arena.cluster.history.records.index(claim)
        found = worker.next_event(after=mark, seconds=10, job=claim["job"], **_at_some_step(facts, dice))
        return claim["run"] if found else None

    return phase


def _at_some_step(facts: dict[str, object], dice: Random) -> dict[str, object]:
    return {**facts, "step": dice.randint(1, 9)} if facts["event"] == "step" else facts


def _offline(arena: Arena, worker: RigWorker, dice: Random) -> int | None:
    claim = arena.next_claim(worker)
    time.sleep(dice.uniform(0, A_TRAINING_S / 2))
    worker.link.cut()
    return int(claim["run"])


PHASES: dict[str, Callable[[Arena, RigWorker, Random], int | None]] = {
    "pending": _pending,
    "claimed": _held("claim", "answer"),
    "download": _held("download", "answer"),
    "preparing": _phase(event="phase", phase="preparing"),
    "training": _phase(event="step"),
    "saving": _phase(event="phase", phase="saving"),
    "evaluating": _phase(event="phase", phase="evaluating"),
    "uploading": _held("complete", "request"),
    "offline": _offline,
}


@fault(
    "F19",
    "out of memory",
    "the device batch does not fit until it is 16, 8, 4, 2, 1, or never does",
    small_n=2,
    storage=False,
)
def out_of_memory(arena: Arena, n: int) -> None:
    """Halved each time, inside one attempt; what fits at no size fails with that reason."""
    fits = {arena.queue(steps=10, words=f"fits={size}", hyperparameters={"batch_size": 32}): size for size in _sizes(n)}
    for run, size in fits.items():
        arena.expect(run, "completed" if size else "failed")
    arena.drain()
    for run, size in fits.items():
        _went_down(arena, run, size)


def _sizes(n: int) -> list[int]:
    return [(16, 0, 8, 4, 2, 1)[number % 6] for number in range(n)]


def _went_down(arena: Arena, run: int, fits: int) -> None:
    job = arena.runs[run]
    starts: list[Record] = [r for r in arena.evidence().told("start") if r["job"] == job]
    sizes = [start["batch"] for start in starts if not start["checkpointing"]]
    wanted = [size for size in (32, 16, 8, 4, 2, 1) if size >= max(fits, 1)]
    if sizes != wanted or {start["attempt"] for start in starts} != {1}:
        arena.blame(f"batches {sizes}, wanted {wanted}", job)


@fault(
    "F20",
    "shutdown",
    "SIGTERM, a second one, SIGINT twice, or the stop file, in mid-training; started again",
    storage=False,
)
def shutdown(arena: Arena, n: int) -> None:
    """A checkpoint, a release that counts no loss, exit code 0; then it goes on at the saved step."""

    def act(worker: RigWorker, number: int, dice: Random) -> None:
        arena.next_claim(worker, steps=100)
        time.sleep(dice.uniform(0.2, A_TRAINING_S))
        name = list(SHUTDOWNS)[number % len(SHUTDOWNS)]
        SHUTDOWNS[name](worker)
        code = worker.process.wait(STOPPED_WITHIN_S) if worker.process else 0
        if code != 0:
            arena.blame(f"{worker.name} ended with {code} after {name}")
        arena.count(name)
        worker.kill()
        worker.start()

    arena.each(n, act)
    arena.drain()
    for job in arena.evidence().jobs:
        if job.loss_count:
            arena.blame(f"{job.loss_count} losses counted for a shutdown", job.id)


def _send(*numbers: int) -> Callable[[RigWorker], None]:
    def shut_down(worker: RigWorker) -> None:
        for number in numbers:
            if worker.process:
                worker.process.signal(number)
            time.sleep(0.1)

    return shut_down


SHUTDOWNS: dict[str, Callable[[RigWorker], None]] = {
    "SIGTERM": _send(signal.SIGTERM),
    "SIGTERM twice": _send(signal.SIGTERM, signal.SIGTERM),
    "SIGINT twice": _send(signal.SIGINT, signal.SIGINT),
    "stop file": lambda worker: (worker.work_dir / "stop").touch(),
}
