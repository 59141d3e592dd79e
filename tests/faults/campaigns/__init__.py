"""One function per fault; importing this package registers them all in `arena.FAULTS`."""

from tests.faults.campaigns import crashes, network

__all__ = ["crashes", "network"]
