"""The real worker program in scaled time, with the stub in the place of the training child.

    python worker_main.py HISTORY_SOCKET WORKER [the worker's own flags]

An office's minutes are seconds here: leases are 3 s, so a request that gets no answer is given up after 1.5 s instead
of 30, and waits grow to 1 s instead of 60. Nothing else of the worker is touched.
"""

import importlib
import sys
from contextlib import suppress
from pathlib import Path

from worker_client import api, backoff, delivery, lease, poller, runner, signals, uploader
from worker_client.cli import main

READ_TIMEOUT_S = 1.5
LONGEST_WAIT_S = 1.0


def scale_time() -> None:
    """Before anything is built: the values stand in modules and in the defaults of keyword arguments."""
    lease.HEARTBEAT_TIMEOUT_S = READ_TIMEOUT_S
    lease.RETRY_CAP_S = uploader.RETRY_CAP_S = LONGEST_WAIT_S
    runner.STOP_GRACE_S = runner.CANCEL_GRACE_S = runner.LOST_GRACE_S = 3.0
    delivery.PAUSE_AFTER_REATTACH_S = 0.1
    poller.CLAIM_WAIT_S = 0.5  # less than a request may take
    api.DOWNLOAD_READ_TIMEOUT_S = READ_TIMEOUT_S
    signals.LOOK_EVERY_S = 0.2
    with suppress(ImportError):  # the previous release (F22) has none
        importlib.import_module("worker_client.reserve").RETAKE_EVERY_S = 0.5
    for function, defaults in (
        (api.ApiClient.__init__, {"read_timeout_s": READ_TIMEOUT_S}),
        (api.ApiClient.twin, {"read_timeout_s": READ_TIMEOUT_S}),
        (backoff.Backoff.__init__, {"start_s": 0.1, "cap_s": LONGEST_WAIT_S}),
        (backoff.Outage.__init__, {"cap_s": LONGEST_WAIT_S}),
    ):
        assert defaults.keys() <= (function.__kwdefaults__ or {}).keys(), function
        function.__kwdefaults__.update(defaults)


if __name__ == "__main__":
    scale_time()
    history, worker, *flags = sys.argv[1:]
    trainer = str(Path(__file__).with_name("stub_trainer.py"))
    sys.exit(main(flags, command=(sys.executable, trainer, history, worker)))
