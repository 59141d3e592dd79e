"""One small cluster for all campaigns of a test process, on the database that `--database=` names."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.site import SAMPLES
from tests.faults.cluster import Cluster
from tests.faults.postgres import Postgres

WORKERS = 2
SEED = 1


@pytest.fixture(scope="session")
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a database that campaigns may restart; the name tells `tests.only_database` that it matters here."""
    if request.config.getoption("--database") == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('faults') / 'db.sqlite3'}"
        return
    postgres = Postgres()
    yield postgres.create()
    postgres.stop()


@pytest.fixture(scope="session")
def cluster(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server and two workers; no process of them survives the session."""
    folder: Path = tmp_path_factory.mktemp("cluster")
    cluster = Cluster(folder, database_url, seed=SEED, postgres=Postgres.of.get(database_url))
    try:
        cluster.open(SAMPLES / "andamentos_train.xlsx", WORKERS)
        yield cluster
    finally:
        cluster.close()
