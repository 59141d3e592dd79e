"""Several processes, one run: torchrun starts them, each trains its share of every batch, and the first speaks for all.

What is said among them here goes by the processors (gloo), also where gradients go from GPU to GPU: to ask the GPUs
would be to wait for them. Started alone, a process is the first of one, and every function returns at once.
"""

import os
from functools import cache
from typing import Any


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
    from torch import distributed

    by_rank: list[Any] = [None] * count()
    distributed.all_gather_object(by_rank, share, group=_group())
    if None in by_rank:
        return None
    whole: list[Any] = [None] * sum(map(len, by_rank))
    for at, part in enumerate(by_rank):
        whole[at :: count()] = part
    return whole


def wait() -> None:
    """Until all are here."""
    agreed(None)


@cache
def _group() -> Any:
    from torch import distributed

    return distributed.new_group(backend="gloo")
