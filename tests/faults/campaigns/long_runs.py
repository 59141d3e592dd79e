"""Faults that need a while, another version, or the real training."""

import io
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import psutil

from tests.end_to_end.site import ROOT, SAMPLES
from tests.faults.arena import A_TRAINING_S, Arena, fault
from tests.faults.cluster import LEASE_S, RigWorker
from tests.faults.proxy import Weather

KILLED_PER_SEED = 10
BURNERS = 8
PREVIOUS_RELEASE = "46ca0f9"
SOAK_S = float(os.environ.get("MINUTES", "5")) * 60
NEMESIS_EVERY_S = 2.0
GROWTH = 1.10  # of the server's memory, from its first tenth to the end
LAST_STEP = 39  # of the real training
REAL = {"epochs": 3, "early_stopping_patience": 0, "max_length": 64, "save_every_minutes": 0.01}


@fault(
    "F17",
    "resume equality",
    "a real tiny BERT with dropout is killed in mid-epoch; its weights equal the undisturbed run's",
    small_n=0,  # tests/worker_client/test_training_resume.py does the same
)
def resume_equality(arena: Arena, n: int) -> None:
    """Each is killed at a point of its own; ten are compared with one undisturbed run of the same seed."""
    arena.trains_for_real = True
    stub, worker = arena.cluster.workers, arena.cluster.real_worker()
    for other in stub:
        other.stand_down()
    worker.start()
    arena.cluster.dataset, sheet = arena.cluster.second_dataset(SAMPLES / "sample_ner.xlsx"), arena.cluster.dataset
    try:
        for seed in range(0, n, KILLED_PER_SEED):
            undisturbed = arena.queue(seed=seed, hyperparameters=REAL)
            arena.wait_over(undisturbed, 180)
            for number in range(seed, min(n, seed + KILLED_PER_SEED)):
                _killed_equals(arena, worker, undisturbed, seed, arena.dice(number))
    finally:
        arena.drain()
        arena.cluster.dataset = sheet
        worker.stand_down()
        for other in stub:
            other.start()


def _killed_equals(arena: Arena, worker: RigWorker, undisturbed: int, seed: int, dice: Random) -> None:
    killed = arena.queue(seed=seed, hyperparameters=REAL)
    step = dice.randint(3, LAST_STEP - 3)
    arena.cluster.wait_until(lambda: _steps(arena, killed) >= step, "it trains", 120)
    worker.kill()
    worker.start()
    arena.wait_over(killed, 180)
    first, second = (_weights(arena, run) for run in (undisturbed, killed))
    arena.count("equal" if first == second else "different")
    if first != second:
        arena.blame(f"weights {second[:12]}, undisturbed {first[:12]}", arena.runs[killed])


def _steps(arena: Arena, run: int) -> int:
    return int(arena.cluster.get(f"/runs/{run}")["job"]["progress"]["step"] or 0)


def _weights(arena: Arena, run: int) -> str:
    return str(dict(arena.cluster.rows("SELECT run_id, sha256 FROM bert_trained_models")).get(run))


@fault(
    "F21",
    "starved",
    "eight busy processes, and trainers that spin without rest, on this machine's cores",
    storage=False,
)
def starved(arena: Arena, n: int) -> None:
    """The worker's heartbeats come from a process of their own: no lease may be lost."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BURNERS)]
    try:
        for _ in range(n):
            arena.queue(steps=25, words="spin=1")
        arena.drain(60 + 6 * n)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    for event in arena.evidence().events:
        if event.reason == "lease_expired":
            arena.blame(f"attempt {event.attempt} lost its lease", event.job)


@fault(
    "F22",
    "previous release",
    f"workers of revision {PREVIOUS_RELEASE} and of today at one server; half are killed",
    storage=False,
)
def previous_release(arena: Arena, n: int) -> None:
    """The old worker's calls are all taken, and a job may pass from one version to the other."""
    old = _old_source(arena.cluster.folder)
    if old is None:
        arena.count("not run: the history of the repository is not here")
        return
    veterans = arena.cluster.workers[::2]
    try:
        for worker in veterans:
            worker.kill()
            worker.environment["PYTHONPATH"] = str(old)
            worker.start()
        arena.each(n, lambda worker, number, dice: _maybe_kill(arena, worker, dice))
        arena.drain()
    finally:
        for worker in veterans:
            worker.kill()
            worker.environment.pop("PYTHONPATH")
            worker.start()


def _maybe_kill(arena: Arena, worker: RigWorker, dice: Random) -> None:
    arena.next_claim(worker)
    if dice.random() < 0.5:
        time.sleep(dice.uniform(0, A_TRAINING_S))
        worker.kill()
        worker.start()


def _old_source(folder: Path) -> Path | None:
    """worker_client as it was, unpacked; None without git or its history (a downloaded archive)."""
    command = ["git", "archive", PREVIOUS_RELEASE, "worker_client"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        return None
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder / "old", filter="data")
    return folder / "old"


# F23


@fault("F23", "soak", f"a random fault every {NEMESIS_EVERY_S:g} s for {SOAK_S / 60:g} minutes (MINUTES=)", small_n=3)
def soak(arena: Arena, n: int) -> None:
    """In `make test` only n faults."""
    until = time.monotonic() + (SOAK_S if n >= 10 else n * NEMESIS_EVERY_S)
    number, memory = 0, [_memory(arena)]
    while time.monotonic() < until:
        dice = arena.dice(number)
        for _ in arena.cluster.workers:
            arena.queue()
        worker, name = dice.choice(arena.cluster.workers), dice.choice(list(NEMESES))
        arena.count(name)
        NEMESES[name](arena, worker, dice)
        time.sleep(NEMESIS_EVERY_S)
        number += 1
        memory.append(_memory(arena))
    arena.heal()
    arena.drain(60 + len(arena.runs))
    settled = memory[len(memory) // 10 + 1 :]
    if settled and n >= 10:
        arena.count(f"MiB of server memory (began with {settled[0] // 2**20})", settled[-1] // 2**20)


def _memory(arena: Arena) -> int:
    return int(psutil.Process(arena.cluster.server.pid).memory_info().rss) if arena.cluster.server else 0


def _kill(arena: Arena, worker: RigWorker, dice: Random) -> None:
    worker.kill()
    worker.start()


def _kill_parent(arena: Arena, worker: RigWorker, dice: Random) -> None:
    worker.kill_parent()
    worker.start()


def _sleep(arena: Arena, worker: RigWorker, dice: Random) -> None:
    worker.freeze()
    time.sleep(dice.uniform(0.1, 2 * LEASE_S))
    worker.thaw()


def _bad_weather(arena: Arena, worker: RigWorker, dice: Random) -> None:
    holes = [Weather(swallow_up=True), Weather(swallow_down=True), Weather(swallow_up=True, swallow_down=True)]
    worker.link.weather = dice.choice([*holes, Weather(reset_share=0.2), Weather(lost_answers=0.3)])
    time.sleep(dice.uniform(0.5, LEASE_S + 1))
    worker.link.heal()


def _pull_the_cable(arena: Arena, worker: RigWorker, dice: Random) -> None:
    worker.link.cut()
    time.sleep(dice.uniform(0.1, 2 * LEASE_S))
    worker.link.heal()


def _kill_server(arena: Arena, worker: RigWorker, dice: Random) -> None:
    if arena.cluster.server:
        arena.cluster.server.kill()
    arena.cluster.restart_server()


def _cancel(arena: Arena, worker: RigWorker, dice: Random) -> None:
    held = arena.held_by(worker)
    if held and held[0] in arena.runs:
        arena.expect(held[0], "cancelled", "completed")
        arena.cluster._http.post(f"{arena.cluster.address}/bert-training/api/runs/{held[0]}/cancel", timeout=20)


NEMESES: dict[str, Callable[[Arena, RigWorker, Random], None]] = {
    "worker killed": _kill,
    "parent killed": _kill_parent,
    "slept": _sleep,
    "bad weather": _bad_weather,
    "cable pulled": _pull_the_cable,
    "server killed": _kill_server,
    "cancelled": _cancel,
}
