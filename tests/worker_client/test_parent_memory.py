"""The worker's parent stays light beside its training child: a machine's memory is for training."""

import time
from contextlib import suppress

import psutil

MOST_BYTES = 80 * 2**20
TOO_LATE_S = 60


def peak_of(worker):
    """The largest resident size in bytes until the worker ends, of the parent alone."""
    process, peak, deadline = psutil.Process(worker.pid), 0, time.monotonic() + TOO_LATE_S
    while worker.poll() is None and time.monotonic() < deadline:
        with suppress(psutil.Error):  # it ends between two looks
            peak = max(peak, process.memory_info().rss)
        time.sleep(0.02)
    return peak


def test_the_parent_takes_less_than_80_mib_while_it_sends_thousands_of_lines(server, start_worker):
    job = server.add_job(steps=5_000, step_s=0.0)
    worker = start_worker("--once")
    peak = peak_of(worker)
    assert (worker.wait(TOO_LATE_S), job.status) == (0, "completed")
    assert len(job.lines) >= 5_000
    assert 2**20 < peak < MOST_BYTES, f"{peak / 2**20:.0f} MiB"
