"""The claim in SQL: one statement on PostgreSQL, the same parts one after the other on SQLite.

Through the ORM a claim was fifteen statements, and to build some of them took longer than the database needs for all
(`benchmarks/results/claims.md`). The rules are one text for both databases; SQLite knows no INSERT within WITH.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, cast
from uuid import UUID

from django.db import connection, transaction

from runs_app.choices import MACHINE_REASONS
from runs_app.models import Attempt, Job
from runs_app.services.capability import beyond
from runs_app.services.transitions import worker_actor
from workers_app.models import Worker

# One job's attempts are few, and most jobs that wait have none: that is looked at first. OFFSET 0 keeps PostgreSQL from
# joining all attempts, which it sometimes thinks is cheaper.
FAILED_HERE = f"""(job.attempt > 0 AND EXISTS (
    SELECT 1 FROM bert_attempts AS past
     WHERE past.job_id = job.id AND past.worker_id = %(worker)s
       AND past.reason IN ({", ".join(f"'{reason}'" for reason in MACHINE_REASONS)}) LIMIT 1 OFFSET 0))"""  # noqa: S608

# The first job of a turn: by priority, then by age. One that `claim_id` was ever answered with is left out, so that a
# late repeat of an old request never yields it again.
FIRST = """(
    SELECT job.id FROM bert_jobs AS job JOIN bert_runs AS run ON run.id = job.run_id
     WHERE job.status = 'pending' AND {turn} AND NOT ({impossible})
       AND (job.not_before IS NULL OR job.not_before <= %(now)s)
       AND (job.worker_id = %(worker)s OR job.reserved_until IS NULL OR job.reserved_until <= %(now)s)
       AND (job.attempt = 0 OR NOT EXISTS (
           SELECT 1 FROM bert_attempts AS past
            WHERE past.job_id = job.id AND past.claim_id = %(claim_id)s LIMIT 1 OFFSET 0))
     ORDER BY job.priority DESC, job.id LIMIT 1 {lock})"""

# The turns: what the worker held last; what never failed for something that its machine lacks; what is left.
HELD_LAST = f"job.worker_id = %(worker)s AND NOT {FAILED_HERE}"
NOT_FAILED_HERE = f"NOT {FAILED_HERE}"
LEFT = "1 = 1"

# Nothing is taken while the worker holds a job, or before an expired lease is seen to: `min` is the first entry of
# ix_bert_jobs_lease, whatever PostgreSQL believes of the jobs that run. A checkpoint lies on the disk of the worker
# that held the job last, and on no other.
TAKE = """
UPDATE bert_jobs
   SET status = 'running', attempt = attempt + 1, worker_id = %(worker)s, lease_expires_at = %(lease_end)s,
       checkpoint_step = CASE WHEN worker_id = %(worker)s THEN checkpoint_step END,
       phase = '', progress_message = '', not_before = NULL, reserved_until = NULL
 WHERE status = 'pending' AND id = {next}
   AND NOT EXISTS (SELECT 1 FROM bert_attempts WHERE worker_id = %(worker)s AND ended_at IS NULL)
   AND ((SELECT min(lease_expires_at) FROM bert_jobs WHERE lease_expires_at IS NOT NULL) <= %(now)s) IS NOT TRUE
RETURNING {columns}"""

START_RUN = """
UPDATE bert_runs SET status = 'running', started_at = COALESCE(started_at, %(now)s)
 WHERE id = (SELECT run_id FROM taken)"""

OPEN_ATTEMPT = """
INSERT INTO bert_attempts (job_id, number, worker_id, claim_id, started_at, outcome, reason, status_after, counts)
SELECT id, attempt, %(worker)s, %(claim_id)s, %(now)s, '', '', '', '{}' FROM taken"""

NOTE_EVENT = """
INSERT INTO bert_job_events (job_id, at, actor, from_status, to_status, attempt, reason, details)
SELECT id, %(now)s, %(actor)s, 'pending', 'running', attempt, 'claimed', '{}' FROM taken"""

COLUMNS = ", ".join(str(field.column) for field in Job._meta.concrete_fields)


def take_next(*, worker: Worker, claim_id: UUID, lease_end: datetime, now: datetime, wait: bool = False) -> Job | None:
    """Move the next job for `worker` to running, with its run, its attempt and its event; None where there is none.

    Takes nothing either while the worker holds a job or a lease has run out. With `wait`, what another claim is about
    to take is not passed over before that claim is through. Raises IntegrityError where another request of the same
    worker was faster.
    """
    impossible, limits = beyond(worker)
    values = {
        "worker": worker.pk,
        "claim_id": Attempt._meta.get_field("claim_id").get_db_prep_value(claim_id, connection),
        "lease_end": connection.ops.adapt_datetimefield_value(lease_end),
        "now": connection.ops.adapt_datetimefield_value(now),
        "actor": worker_actor(worker),
        **limits,
    }
    if connection.vendor == "postgresql":
        job = _in_one_statement(_waiting(impossible) if wait else _passing(impossible), values)
    else:
        job = _in_one_transaction(impossible, values)
    if job is not None:
        job.worker = worker
    return job


def _next(impossible: str, wait: str = "", pass_over: str = "") -> str:
    turns = {HELD_LAST: wait, NOT_FAILED_HERE: pass_over, LEFT: pass_over}
    firsts = [FIRST.format(turn=turn, impossible=impossible, lock=lock) for turn, lock in turns.items()]
    return f"COALESCE({', '.join(firsts)})"


# PostgreSQL

# What another claim has locked is passed over. Not so the job that the worker held: its own heartbeat may have it.
WAIT = "FOR NO KEY UPDATE OF job"
PASS_OVER = f"{WAIT} SKIP LOCKED"
HELD_NONE = "NOT EXISTS (SELECT 1 FROM bert_jobs WHERE status = 'pending' AND worker_id = %(worker)s)"


def _in_one_statement(statements: list[str], values: dict[str, Any]) -> Job | None:
    with _preparing_cursor() as cursor:
        for statement in statements:
            cursor.execute(statement, values)
            row = cursor.fetchone()
            if row is not None:
                return _job(row)
    return None


@cache
def _waiting(impossible: str) -> list[str]:
    return [_one_statement(_next(impossible, WAIT, WAIT))]


@cache
def _passing(impossible: str) -> list[str]:
    # The second turn alone is the usual case and a third of the work. It says nothing of the others, so they follow it.
    usual = FIRST.format(turn=NOT_FAILED_HERE, impossible=impossible, lock=PASS_OVER)
    return [_one_statement(f"{usual} AND {HELD_NONE}"), _one_statement(_next(impossible, WAIT, PASS_OVER))]


def _one_statement(following: str) -> str:
    take = TAKE.format(next=following, columns="*")
    parts = f"WITH taken AS ({take}), run AS ({START_RUN}), attempt AS ({OPEN_ATTEMPT}), event AS ({NOTE_EVENT})"
    text = f"{parts} SELECT {COLUMNS} FROM taken"  # noqa: S608
    return " ".join(text.split())  # psycopg remembers what it parsed up to 4 KiB


def _preparing_cursor() -> Any:
    """One whose statements the server plans once per connection: to plan a claim takes longer than to make it."""
    from django.db.backends.postgresql.base import ServerBindingCursor  # needs psycopg

    postgresql, cursor_class = cast(Any, connection), cast(Any, ServerBindingCursor)  # beyond what the stubs know
    postgresql.ensure_connection()
    return postgresql._prepare_cursor(cursor_class(postgresql.connection))


# SQLite

TAKEN = "WITH taken (id, run_id, attempt) AS (SELECT %(job)s, %(run)s, %(attempt)s)"


def _in_one_transaction(impossible: str, values: dict[str, Any]) -> Job | None:
    following = _next(impossible)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {following}", values)
        if cursor.fetchone() == (None,):  # an idle worker only looks, and is never the one writer
            return None
        with transaction.atomic():
            cursor.execute(TAKE.format(next=following, columns=COLUMNS), values)
            row = cursor.fetchone()
            if row is None:
                return None
            job = _job(row)
            taken = {**values, "job": job.pk, "run": job.run_id, "attempt": job.attempt}
            for statement in (START_RUN, OPEN_ATTEMPT, NOTE_EVENT):
                cursor.execute(TAKEN + statement, taken)
    return job


# Both


def _job(row: Sequence[Any]) -> Job:
    """From COLUMNS as the database gave them."""
    compiler, converters = _conversion()
    [values] = compiler.apply_converters([row], converters)
    return Job.from_db(connection.alias, [field.attname for field in Job._meta.concrete_fields], values)


@cache
def _conversion() -> tuple[Any, Any]:
    compiler = Job.objects.all().query.get_compiler(connection=connection)
    return compiler, compiler.get_converters([field.get_col(Job._meta.db_table) for field in Job._meta.concrete_fields])
