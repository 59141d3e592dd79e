"""Disks that are full or lie."""

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.faults.arena import A_TRAINING_S, Arena, fault
from tests.faults.cluster import RigWorker
from tests.faults.stub_trainer import WEIGHTS

DISK = "24m"  # a few times the worker's own reserve


@fault(
    "F14",
    "disk full",
    "the worker's disk (a tmpfs of 24 MiB) is filled in mid-run and freed a second later",
    storage=False,
)
def disk_full(arena: Arena, n: int) -> None:
    """Spool, checkpoints and model lie on it. Nothing crashes, and all is well when there is room again."""
    workers = [worker for worker in arena.cluster.workers if _move_to_small_disk(worker)]
    if not workers:
        arena.count("not run: mounting a tmpfs is not allowed here")
        return
    try:
        arena.each(n, lambda worker, number, dice: _fill(arena, worker, dice), workers=workers)
        arena.drain()
    finally:
        for worker in workers:
            worker.kill()
            subprocess.run(["umount", worker.models_dir], check=True)
            worker.start()


def _move_to_small_disk(worker: RigWorker) -> bool:
    worker.kill()
    worker.models_dir.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", worker.models_dir]
    mounted = os.geteuid() == 0 and subprocess.run(command, check=False, capture_output=True).returncode == 0
    worker.start()
    return mounted


def _fill(arena: Arena, worker: RigWorker, dice: Random) -> None:
    arena.next_claim(worker)
    time.sleep(dice.uniform(0, A_TRAINING_S))
    ballast = worker.models_dir / "ballast"
    with suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(b"0" * 4096)
            file.flush()
    time.sleep(dice.uniform(0.2, 1.5))
    ballast.unlink()
    arena.count("filled")


@fault(
    "F16",
    "damaged checkpoint",
    "after a kill the newest checkpoint is truncated, flipped, or misses a file",
    small_n=1,
    storage=False,
)
def damaged_checkpoint(arena: Arena, n: int) -> None:
    """It is told from a good one, and the training goes on from the one before, or from the start."""

    def act(worker: RigWorker, number: int, dice: Random) -> None:
        claim = arena.next_claim(worker)
        mark = arena.cluster.history.records.index(claim)
        arena.damaged.add(claim["job"])
        worker.next_event("sealed", after=mark, job=claim["job"], step=dice.choice((10, 20, 30, 40)))
        worker.kill()
        newest = max(_checkpoints(worker, claim["job"]), key=_step, default=None)
        if newest:
            name = list(DAMAGES)[number % len(DAMAGES)]
            DAMAGES[name](newest, dice)
            arena.count(name)
        worker.start()

    arena.each(n, act)


def _checkpoints(worker: RigWorker, job: int) -> list[Path]:
    return list((worker.work_dir / "jobs" / str(job) / "checkpoints").glob("checkpoint-*"))


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("checkpoint-"))


def _truncate(folder: Path, dice: Random) -> None:
    file = dice.choice(sorted(folder.iterdir()))
    os.truncate(file, dice.randrange(file.stat().st_size))


def _flip(folder: Path, dice: Random) -> None:
    file = folder / WEIGHTS
    data = bytearray(file.read_bytes())
    data[dice.randrange(64)] ^= 1
    file.write_bytes(data)


def _remove_a_file(folder: Path, dice: Random) -> None:
    dice.choice(sorted(folder.iterdir())).unlink()


def _swap(folder: Path, dice: Random) -> None:
    (folder / WEIGHTS).write_text("f" * 64 + "." * 20_000, encoding="utf-8")


DAMAGES = {"truncated": _truncate, "one bit flipped": _flip, "a file missing": _remove_a_file, "other weights": _swap}
