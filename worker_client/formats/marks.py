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
    return int(marks_of([encoded(content)])[0])


def marks_of(contents: Iterable[bytes]) -> Marks:
    """mark_of each, which are given encoded."""
    digests = np.frombuffer(b"".join([hashlib.sha256(content).digest() for content in contents]), "<u8")
    return digests[:: hashlib.sha256().digest_size // MARK_BYTES].astype(np.uint64)


def encoded(content: str) -> bytes:
    """Latin-1, which a batch is brought into at once, else UTF-8 with an ending that no content has."""
    try:
        return content.encode("latin-1")
    except UnicodeEncodeError:
        return content.encode("utf-8", "surrogatepass") + b"\0"


def mixed(values: Marks) -> Marks:
    """Other marks in place of these, one for one, in an order that has nothing to do with theirs."""
    for shift, factor in STEPS:
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    return values ^ (values >> LAST_SHIFT)
