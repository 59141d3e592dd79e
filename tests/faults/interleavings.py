"""All interleavings of two calls on one job: the first stops before each of its SQL statements in turn, the second
runs, the first goes on. Run as a program with the server's settings; prints one `job` line per interleaving.

On SQLite a transaction keeps the second call waiting until the first one ends; then only the stops before and after
a transaction are interleavings, and the others show that waiting is all that happens.
"""

import itertools
import random
import sys
import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django

django.setup()

from django.db import connection, connections  # noqa: E402  after setup
from django.utils import timezone  # noqa: E402

from datasets_app.models import Dataset  # noqa: E402
from runs_app.choices import FailureReason, ReleaseReason, Status  # noqa: E402
from runs_app.models import BUILTIN_TINY_BERT, Job  # noqa: E402
from runs_app.services import queue, runs  # noqa: E402
from runs_app.services.errors import StateError  # noqa: E402
from workers_app.models import Worker  # noqa: E402

MOST_STATEMENTS = 30
SECOND_WAITS_S = 0.15
ONGOING = ("running", "pending", "cancelled", "completed", "failed", "paused")

Call = Callable[[Job, Any], Any]


def _ended(job: Job, late: Any) -> dict[str, Any]:
    return {"job_id": job.pk, "attempt": 1, "worker": job.worker, "now": timezone.now()}


def _claim(job: Job, late: Any) -> Any:
    return queue.claim_job(worker=Worker.objects.get(name="racer1"), claim_id=uuid.uuid4(), now=late)


CALLS: dict[str, Call] = {
    "complete": lambda job, late: queue.complete_job(**_ended(job, late), result=queue.Result(model_path="m")),
    "fail": lambda job, late: queue.fail_job(**_ended(job, late), reason=FailureReason.KILLED, message=""),
    "release": lambda job, late: queue.release_job(**_ended(job, late), reason=ReleaseReason.SHUTDOWN),
    "heartbeat": lambda job, late: queue.renew_lease(job_id=job.pk, attempt=1, worker=job.worker, now=late),
    "expire": lambda job, late: queue.requeue_expired(now=late),
    "cancel": lambda job, late: runs.request_cancel(run=job.run, user=None, now=timezone.now()),
    "claim": _claim,
}
PAIRS = [
    pair for pair in itertools.permutations(CALLS, 2) if "expire" in pair or "cancel" in pair or "complete" in pair
]


class Stopper:
    """Stops the thread that uses its connection before its `at`-th statement, until it is told to go on."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.count = 0
        self.stopped = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.count += 1
        if self.count == self.at:
            self.stopped.set()
            self.go_on.wait(10)
        return execute(sql, params, many, context)


def interleave(first: str, second: str, at: int, job: Job) -> bool:
    """Run both; False when the first has fewer statements than `at`."""
    stopper, late = Stopper(at), job.lease_expires_at + timedelta(seconds=1)
    one = threading.Thread(target=_run, args=(CALLS[first], job, late, stopper))
    two = threading.Thread(target=_run, args=(CALLS[second], job, late, None))
    one.start()
    while not stopper.stopped.wait(0.005) and one.is_alive():
        pass
    two.start()
    two.join(SECOND_WAITS_S)
    stopper.go_on.set()
    one.join()
    two.join()
    return stopper.stopped.is_set()


def _run(call: Call, job: Job, late: Any, stopper: Stopper | None) -> None:
    try:
        if stopper is None:
            call(job, late)
            return
        connection.ensure_connection()
        with connection.execute_wrapper(stopper):
            call(job, late)
    except StateError:
        pass  # the loser is told
    finally:
        connections.close_all()


def main(dataset_id: int, pair_count: int, seed: str) -> None:
    """`pair_count` pairs drawn by the seed, at most all; every statement of each."""
    dataset, holder = Dataset.objects.get(pk=dataset_id), Worker.objects.get(name="racer0")
    for first, second in random.Random(seed).sample(PAIRS, min(pair_count, len(PAIRS))):
        for at in range(1, MOST_STATEMENTS):
            job = _running_job(dataset, holder)
            reached = interleave(first, second, at, job)
            print("job", job.pk, job.run_id, *ONGOING)
            _put_away(job)
            if not reached:
                break
            print("count interleavings")


def _running_job(dataset: Dataset, holder: Worker) -> Job:
    run = runs.create_run(dataset=dataset, base_model=BUILTIN_TINY_BERT, given={}, now=timezone.now())
    job = queue.claim_job(worker=holder, claim_id=uuid.uuid4(), now=timezone.now())
    assert job is not None
    assert job.run_id == run.pk
    return Job.objects.select_related("run", "worker").get(pk=job.pk)


def _put_away(job: Job) -> None:
    """So that the next interleaving finds its worker free and its job alone in the queue."""
    job.refresh_from_db()
    if job.status == Status.RUNNING:
        ended = {"job_id": job.pk, "attempt": job.attempt, "worker": job.worker, "now": timezone.now()}
        queue.renew_lease(**ended)
        queue.release_job(**ended, reason=ReleaseReason.SHUTDOWN)
        job.refresh_from_db()
    if job.status in (Status.PENDING, Status.PAUSED):
        runs.request_cancel(run=job.run, user=None, now=timezone.now())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
