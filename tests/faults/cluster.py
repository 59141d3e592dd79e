"""One installation for many campaigns: server, workers behind links, their history, one database."""

import os
import shutil
import signal
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
import requests

from demo.children import Child
from tests.end_to_end.site import ROOT, Site
from tests.faults.history import History, Record
from tests.faults.postgres import Postgres
from tests.faults.proxy import Link, Proxy
from tests.faults.wire import API
from worker_client.api import ApiClient

LEASE_S = 3.0
HEARTBEAT_S = 0.5
SCALED = {
    "JOB_LEASE_SECONDS": str(LEASE_S),
    "JOB_HEARTBEAT_SECONDS": str(HEARTBEAT_S),
    "JOB_UPLOAD_SECONDS": "0.3",
    "JOB_POLL_SECONDS": "0.3",
    "WORKER_OFFLINE_SECONDS": "5",
    "JOB_MAX_ATTEMPTS": "1000",  # the budget has tests of its own; here a run may be hit as often as chance wants
    "LOG_LEVEL": "ERROR",
}
MAIN = Path(__file__).with_name("worker_main.py")


class Cluster(Site):
    """A site whose time is scaled and whose workers can be hurt one by one."""

    def __init__(self, folder: Path, database_url: str, *, seed: int, postgres: Postgres | None = None) -> None:
        super().__init__(folder, database_url)
        self.environment |= SCALED
        self.postgres = postgres
        self.history = History()
        self.proxy = Proxy(self.history, seed)
        self.workers: list[RigWorker] = []
        self._clients: dict[str, RigWorker] = {}
        self.dataset: dict[str, Any] = {}

    @property
    def database(self) -> str:
        """`sqlite` or `postgresql`."""
        return urlsplit(self.database_url).scheme

    def open(self, sheet: Path, workers: int) -> None:
        """Tables, server, a dataset and running workers."""
        self.prepare()
        self.start_server()
        self.dataset = self.upload(sheet)
        for number in range(1, workers + 1):
            self.add_worker(f"w{number}").start()

    def add_worker(self, name: str) -> "RigWorker":
        """Registered, behind a link of its own, not started."""
        token = self.post("/workers/register", {"name": name}).json()["token"]
        worker = RigWorker(self, name, token, self.proxy.link(name, self.port))
        self.workers.append(worker)
        return worker

    def real_worker(self) -> "RigWorker":
        """One that trains for real, without the stub and in unscaled time; not started."""
        worker = self.client("real")
        worker.program = ["-m", "worker_client"]
        return worker

    def second_dataset(self, sheet: Path) -> dict[str, Any]:
        """Uploaded once."""
        known = [each for each in self.get("/datasets")["results"] if each["name"] == sheet.stem]
        return dict(known[0]) if known else self.upload(sheet)

    def client(self, name: str) -> "RigWorker":
        """A name with a token and a link that no process uses: a campaign speaks for it."""
        if name not in self._clients:
            self._clients[name] = self.add_worker(name)
            self.workers.remove(self._clients[name])
        return self._clients[name]

    def full_environment(self) -> dict[str, str]:
        """For a program that works on this site's database."""
        return {**os.environ, **self.environment, "PYTHONPATH": str(ROOT)}

    def backup(self) -> Path:
        """The database as it is now, taken while the server works."""
        path = self.folder / f"backup-{time.time_ns()}"
        if self.postgres:
            return self.postgres.dump(self.database_url, path)
        with sqlite3.connect(self._sqlite_path) as live, sqlite3.connect(path) as copy:
            live.backup(copy)
        return path

    def restore(self, backup: Path) -> None:
        """As an administrator does: stop the server, put the backup in place, start it."""
        assert self.server is not None
        self.server.kill()
        if self.postgres:
            self.postgres.load(self.database_url, backup)
        else:
            for suffix in ("", "-wal", "-shm"):
                Path(self._sqlite_path + suffix).unlink(missing_ok=True)
            shutil.copy(backup, self._sqlite_path)
        self.restart_server()

    @property
    def _sqlite_path(self) -> str:
        return urlsplit(self.database_url).path.removeprefix("/")

    def restart_server(self, **environment: str) -> None:
        """After it was killed; returns when it is ready."""
        if self.server:
            self.server.kill()
            self._children.remove(self.server)
        self.start_server(**environment)

    def close(self) -> None:
        """End all processes."""
        for worker in self.workers:
            worker.thaw()
            worker.link.heal()
        self.stop()
        self.proxy.stop()
        self.history.close()

    def spawn(self, name: str, arguments: list[str], environment: dict[str, str]) -> Child:
        """A process of this site, ended with it."""
        return self._start(name, arguments, environment)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """As Site's; again where the database is just being restarted or is locked."""

        def ask() -> bool:
            with suppress(psycopg.OperationalError, psycopg.errors.AdminShutdown):
                answers.append(super(Cluster, self).rows(query))
            return bool(answers)

        answers: list[list[tuple[Any, ...]]] = []
        self.wait_until(ask, "the database answers", seconds=60)
        return answers[0]

    def get(self, path: str, **query: Any) -> Any:
        """As Site's; again while the server is away."""

        def ask() -> bool:
            with suppress(requests.ConnectionError, AssertionError):
                answers.append(super(Cluster, self).get(path, **query))
            return bool(answers)

        answers: list[Any] = []
        self.wait_until(ask, f"the server answers {path}", seconds=60)
        return answers[0]

    def trainers(self) -> list[psutil.Process]:
        """The stub children of this site that run at the moment."""
        return [process for process in psutil.process_iter(["cmdline"]) if self._is_trainer(process)]

    def _is_trainer(self, process: psutil.Process) -> bool:
        words = process.info["cmdline"] or []
        return self.history.address in words and any("stub_trainer" in word for word in words)


class RigWorker:
    """A real worker process that can be killed, frozen, cut off and started again."""

    def __init__(self, cluster: Cluster, name: str, token: str, link: Link) -> None:
        self.cluster = cluster
        self.name = name
        self.link = link
        self.token = token
        self.process: Child | None = None
        self.wanted = False  # whether it is to run: set by start
        self.program = [str(MAIN), cluster.history.address, name]
        self.flags: list[str] = []
        self.environment: dict[str, str] = {}

    @property
    def models_dir(self) -> Path:
        """Where it keeps its models; its work folder is `.worker` below."""
        return self.cluster.models_dir(self.name)

    @property
    def work_dir(self) -> Path:
        """Claims, spools, checkpoints."""
        return self.models_dir / ".worker"

    def start(self) -> None:
        """Start it, or start it again."""
        flags = ["--api-url", self.link.address, "--models-dir", str(self.models_dir), *self.flags]
        environment = {"BERT_WORKER_TOKEN": self.token, **self.environment}
        self.wanted = True
        self.process = self.cluster.spawn(self.name, [*self.program, *flags], environment)

    def stand_down(self) -> None:
        """End it for the rest of the campaign."""
        self.kill()
        self.wanted = False

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.exit_code is None

    def kill(self) -> None:
        """SIGKILL for the whole tree, as a power cut would."""
        if self.process:
            self.freeze()  # or it could start a child while the others are killed
            self.process.kill()
            self.cluster._children.remove(self.process)
            self.process = None

    def kill_parent(self) -> None:
        """SIGKILL for the worker alone: its training process lives on."""
        if self.process:
            self.process.signal(signal.SIGKILL)
            self.process.wait(10)
            self.cluster._children.remove(self.process)
            self.process = None

    def freeze(self) -> None:
        """SIGSTOP for the whole tree, as a sleeping laptop."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        if not self.runs or self.process is None:
            return
        with suppress(psutil.Error):
            parent = psutil.Process(self.process.pid)
            for process in (parent, *parent.children(recursive=True)):
                with suppress(ProcessLookupError):
                    os.kill(process.pid, number)

    def api(self, **options: Any) -> ApiClient:
        """The worker's own HTTP client, on this link."""
        return ApiClient(self.link.address + API, self.token, **options)

    def post(self, path: str, body: dict[str, Any]) -> requests.Response:
        """One bare call on this link."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return requests.post(self.link.address + API + path, json=body, headers=headers, timeout=20)

    def next_call(self, call: str, *, after: int, seconds: float = 30.0, status: int | None = 200) -> Record | None:
        """The first such call of this worker that was answered so since `after`; None when there is none in time."""
        return self.cluster.history.wait_for(
            lambda r: r["worker"] == self.name and r.get("call") == call and r.get("status") == status,
            after=after,
            seconds=seconds,
        )

    def next_event(self, event: str, *, after: int, seconds: float = 30.0, **facts: Any) -> Record | None:
        """The same for what its trainer does."""
        wanted = {"worker": self.name, "event": event, **facts}
        return self.cluster.history.wait_for(lambda r: wanted.items() <= r.items(), after=after, seconds=seconds)
