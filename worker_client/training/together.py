"""Several processes, one run: torchrun starts them, each trains its share of every batch, and the first speaks for all.

What is said among them here goes by the processors (gloo), also where gradients go from GPU to GPU: to ask the GPUs
would be to wait for them. Started alone, a process is the first of one, and every function returns at once.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from worker_client.errors import TrainingFailed
from worker_client.training.faults import explain


def rank() -> int:
    """Which of the processes this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process writes: events, checkpoints, the model, the outcome."""
    return rank() == 0


def agreed(word: Any) -> Any:
    """What the first process says; the others' `word` is not heard. All must call it."""
    if count() == 1:
        return word
    from torch import distributed

    said = [word]
    distributed.broadcast_object_list(said, src=0, group=_group())
    return said[0]


def shared_out(items: list[Any]) -> list[Any]:
    """The share of this process."""
    return items[rank() :: count()]


def collected(share: list[Any] | None) -> list[Any] | None:
    """The inverse of `shared_out`, for a result of each item; None when one process has none. All must call it."""
    if count() == 1:
        return share
    by_rank = said_by_all(share)
    if None in by_rank:
        return None
    whole: list[Any] = [None] * sum(map(len, by_rank))
    for at, part in enumerate(by_rank):
        whole[at :: count()] = part
    return whole


@contextmanager
def alike() -> Iterator[None]:
    """What fails within it in one process fails in all: else the others would wait for one that never comes.

    At its end each waits for the others. The one that failed raises its own problem, the others TrainingFailed with
    the same reason. All must come by it.
    """
    failed: Exception | None = None
    try:
        yield
    except Exception as problem:
        failed = problem
    reasons = [reason for reason in said_by_all(failed and explain(failed).reason) if reason]
    if failed:
        raise failed
    if reasons:
        raise TrainingFailed(reasons[0], f"Another of the {count()} processes of this run failed ({reasons[0]}).")


def said_by_all(word: Any) -> list[Any]:
    """What each process says, in their order. All must call it."""
    if count() == 1:
        return [word]
    from torch import distributed

    words: list[Any] = [None] * count()
    distributed.all_gather_object(words, word, group=_group())
    return words


@cache
def _group() -> Any:
    from torch import distributed

    return distributed.new_group(backend="gloo")
