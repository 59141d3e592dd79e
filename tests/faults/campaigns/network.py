"""Connections that break, hang, crawl or lose an answer."""

import time
from random import Random

from tests.faults.arena import Arena, fault
from tests.faults.cluster import LEASE_S, RigWorker

A_TRAINING_S = 1.8
LENGTHS = (0.1, 0.5, LEASE_S - 1, LEASE_S + 1, 2.5 * LEASE_S)
WRITES = ("register", "heartbeat", "claim", "download", "progress", "metrics", "logs", "complete", "release")


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
        call = WRITES[number % len(WRITES)]
        rule = worker.link.on(call, "answer", "drop", times=dice.choice((1, 1, 2)))
        arena.next_claim(worker)
        if call in ("register", "release"):
            time.sleep(dice.uniform(0, A_TRAINING_S * 0.5))
            worker.kill()
            worker.start()
        if not rule.reached.wait(20):
            arena.count(f"no {call} to drop")

    arena.each(n, act)
