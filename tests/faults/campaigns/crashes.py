"""Processes that die or stand still."""

import time
from random import Random

from tests.faults.arena import Arena, fault
from tests.faults.cluster import LEASE_S, RigWorker

A_TRAINING_S = 1.8  # of the stub, from the claim to the completion
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


@fault("F2", "server killed", "SIGKILL to the server at a random point under load, started again")
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


@fault("F9", "zombie", "SIGSTOP to the whole worker tree until another worker has the job, then SIGCONT")
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
