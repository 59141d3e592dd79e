"""What migrations make of the rows that are there."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from runs_app.models import Run
from runs_app.services import queue
from tests.factories import make_run, make_running_job

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("media")]


def migrate(name: str) -> None:
    MigrationExecutor(connection).migrate([("runs_app", name)])


@pytest.fixture
def newest() -> Iterator[str]:
    """The name of the last migration, which is there again afterwards."""
    (name,) = (name for app, name in MigrationExecutor(connection).loader.graph.leaf_nodes("runs_app"))
    yield name
    migrate(name)


def completed(f1: Any) -> Run:
    job = make_running_job()
    result = queue.Result(model_path="/models/1", metrics={"f1": f1})
    return queue.complete_job(job_id=job.pk, attempt=1, worker=job.worker, result=result, now=timezone.now()).run


def test_the_f1_of_the_runs_that_are_over_is_copied_to_its_column(newest: str) -> None:
    runs = [completed(f1) for f1 in (0.5, 1, "high", None, True)] + [make_run()]
    migrate("0008_notifications")
    migrate(newest)
    found = dict(Run.objects.values_list("pk", "f1"))
    assert [found[run.pk] for run in runs] == [0.5, 1.0, None, None, None, None]
