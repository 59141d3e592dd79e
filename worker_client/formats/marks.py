"""64-bit marks of contents, the same on every machine: equal marks are taken as equal contents.

Two contents of one mark among a million rows are less likely than a disk error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Marks = NDArray[np.uint64]
MARK_BYTES = 8
# The finaliser of SplitMix64 (Steele, Lea, Flood 2014): one to one, each bit of the result hangs on all of the input.
STEPS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
LAST_SHIFT = np.uint64(31)


def mark_of(content: str) -> int:
    """The first 8 bytes of SHA-256."""
    return int.from_bytes(_digest(content)[:MARK_BYTES], "little")


def marks_of(contents: Iterable[str]) -> Marks:
    """mark_of each."""
    digests = np.frombuffer(b"".join(map(_digest, contents)), "<u8")
    return digests[:: hashlib.sha256().digest_size // MARK_BYTES].astype(np.uint64)


def _digest(content: str) -> bytes:
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).digest()


def mixed(values: Marks) -> Marks:
    """Other marks in place of these, one for one, in an order that has nothing to do with theirs."""
    for shift, factor in STEPS:
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    return values ^ (values >> LAST_SHIFT)
