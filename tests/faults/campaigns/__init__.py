"""One function per fault; importing this package registers them all in `arena.FAULTS`."""

from tests.faults.campaigns import crashes, disks, endings, long_runs, network, queueing

__all__ = ["crashes", "disks", "endings", "long_runs", "network", "queueing"]
