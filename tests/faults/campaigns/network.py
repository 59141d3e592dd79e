"""Connections that break, hang, crawl or lose an answer."""

import time
from itertools import pairwise
from random import Random

import psutil

from tests.faults.arena import A_TRAINING_S, Arena, fault
from tests.faults.cluster import HEARTBEAT_S, LEASE_S, RigWorker
from tests.faults.proxy import Weather
from tests.faults.wire import Message

LENGTHS = (0.1, 0.5, LEASE_S - 1, LEASE_S + 1, 2.5 * LEASE_S)
CALLS = ("register", "heartbeat", "claim", "download", "progress", "metrics", "logs", "complete", "release", "fail")
WEATHERS = {
    "latency of 50 ms +-25": Weather(delay_s=(0.025, 0.075)),
    "20 kB/s": Weather(bytes_per_s=20_000),
    "slices of one byte": Weather(slice_bytes=1),
    "one message in 20 is reset": Weather(reset_share=0.05),
}
THREADS_MORE = 4  # a worker at work may have these more than one that waits


@fault("F3", "link cut", "the cable is pulled for 0.1 s to two and a half leases, connections break")
def link_cut(arena: Arena, n: int) -> None:
    """At a random point of a training."""

    def act(worker: RigWorker, number: int, dice: Random) -> None:
        arena.next_claim(worker)
        time.sleep(dice.uniform(0, A_TRAINING_S))
        worker.link.cut()
        time.sleep(dice.choice(LENGTHS))

    arena.each(n, act)


@fault("F6", "answer dropped", "the answer of each kind of call is lost after the server has committed")
def answer_dropped(arena: Arena, n: int) -> None:
    """Each act drops the next answer of one call; the calls take turns."""

    def act(worker: RigWorker, number: int, dice: Random) -> None:
        call = CALLS[number % len(CALLS)]
        rule = worker.link.on(call, "answer", "drop", times=dice.choice((1, 1, 2)))
        arena.next_claim(worker, words="fail_at=20" if call == "fail" else "")
        if call in ("register", "release"):
            time.sleep(dice.uniform(0, A_TRAINING_S * 0.5))
            worker.kill()
            worker.start()
        if not rule.reached.wait(20):
            arena.count(f"no {call} to drop")

    arena.each(n, act)


@fault(
    "F4", "half-open", "a black hole in one or both directions, or one log upload that hangs", small_n=1, storage=False
)
def half_open(arena: Arena, n: int) -> None:
    """Also: heartbeats go on while an upload hangs, and no thread is left behind."""
    threads = {worker.name: _threads(worker) for worker in arena.cluster.workers}

    def act(worker: RigWorker, number: int, dice: Random) -> None:
        claim = arena.next_claim(worker, steps=100)
        time.sleep(dice.uniform(0, A_TRAINING_S))
        if number % 3 == 0:
            _hang_one_upload(arena, worker, claim["job"], dice)
            return
        up, down = dice.choice(((True, True), (True, False), (False, True)))
        worker.link.black_hole(up=up, down=down)
        time.sleep(dice.choice(LENGTHS))

    arena.each(n, act)
    arena.drain()
    for worker in arena.cluster.workers:
        if _threads(worker) > threads[worker.name] + THREADS_MORE:
            arena.blame(f"{worker.name} has {_threads(worker)} threads, it began with {threads[worker.name]}")


def _threads(worker: RigWorker) -> int:
    return psutil.Process(worker.process.pid).num_threads() if worker.process else 0


def _hang_one_upload(arena: Arena, worker: RigWorker, job: int, dice: Random) -> None:
    mark = arena.cluster.history.mark()
    if not worker.link.on("logs", "request", "hold").reached.wait(5):
        return
    time.sleep(dice.uniform(1, LEASE_S))
    # Another worker, whose line is dead, may still take the job for its own.
    beats = [
        record["at"]
        for record in arena.cluster.history.records[mark:]
        if record.get("call") == "heartbeat" and (record["job"], record["worker"]) == (job, worker.name)
    ]
    gaps = [later - sooner for sooner, later in pairwise(beats)]
    arena.count("uploads hung")
    if max(gaps, default=0.0) > max(2 * HEARTBEAT_S, LEASE_S / 2):
        arena.blame(f"heartbeats paused for {max(gaps):.1f} s while an upload hung", job)


@fault(
    "F5", "bad link", "latency, 20 kB/s, one-byte slices, resets of one message in 20, for a whole run", storage=False
)
def bad_link(arena: Arena, n: int) -> None:
    """Slower and correct: no lease may be lost."""

    def act(worker: RigWorker, number: int, dice: Random) -> None:
        name = list(WEATHERS)[number % len(WEATHERS)]
        worker.link.weather = WEATHERS[name]
        mark = arena.cluster.history.mark()
        arena.next_claim(worker, steps=25)
        worker.next_call("complete", after=mark)
        arena.count(name)

    arena.each(n, act)
    arena.drain()
    for event in arena.evidence().events:
        if event.reason == "lease_expired":
            arena.blame(f"attempt {event.attempt} lost its lease", event.job)


def _flipped(answer: Message) -> Message:
    middle = len(answer.body) // 2
    return Message(answer.head, answer.body[:middle] + bytes([answer.body[middle] ^ 1]) + answer.body[middle + 1 :])


def _cut(answer: Message) -> Message:
    return Message(answer.head, answer.body[: len(answer.body) // 3])


def _empty(answer: Message) -> Message:
    head, length = answer.head, str(len(answer.body)).encode()
    return Message(head.replace(b": " + length, b": 0"), b"")


DAMAGES = {"one bit flipped": _flipped, "cut in the middle": _cut, "no bytes": _empty}


@fault("F18", "damaged download", "the sheet arrives with a flipped bit, cut in its middle, or empty", storage=False)
def damaged_download(arena: Arena, n: int) -> None:
    """The stub's model depends on every byte of the sheet: a training on a damaged one shows."""

    def act(worker: RigWorker, number: int, dice: Random) -> None:
        name = list(DAMAGES)[number % len(DAMAGES)]
        rule = worker.link.on("download", "answer", "change", change=DAMAGES[name], times=dice.choice((1, 2)))
        mark = arena.cluster.history.mark()
        arena.next_claim(worker, steps=10)
        worker.next_call("complete", after=mark)
        arena.count(name if rule.reached.is_set() else "no download")

    arena.each(n, act)
