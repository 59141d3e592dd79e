"""A whole installation for one test: a database of its own, the server and workers as real processes, real HTTP."""

import json
import os
import secrets
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import requests

from demo.children import Child

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLES = ROOT / "datasets_app" / "samples"
TINY = "builtin/tiny-bert"
READY_WITHIN_S = 60
# Short paces, so that a test sees in seconds what takes minutes in an office.
PACES = {"JOB_POLL_SECONDS": "0.3", "JOB_HEARTBEAT_SECONDS": "1", "JOB_UPLOAD_SECONDS": "0.3"}
PERSON_ENVIRONMENT = {"DJANGO_SUPERUSER_PASSWORD": "only-for-tests"}


class Site:
    """`folder` holds everything: sheets, models, logs."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.database_url = database_url
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "SECRET_KEY": secrets.token_urlsafe(50),
            "DEBUG": "0",
            "ALLOWED_HOSTS": "127.0.0.1",
            "DATABASE_URL": database_url,
            "MEDIA_ROOT": str(folder / "media"),
            "SECURE_SSL_REDIRECT": "0",
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "OMP_NUM_THREADS": "1",
            **PACES,
        }
        self._children: list[Child] = []
        self._http = requests.Session()
        self.server: Child | None = None

    # Server

    def prepare(self) -> None:
        """Tables, a person who may do everything, and that person's token."""
        self.manage("migrate", "--noinput", "--verbosity", "0")
        self.manage("createsuperuser", "--noinput", "--username", "ana", "--email", "ana@example.org")
        token = self.manage("create_api_token", "ana").strip()
        self._http.headers["Authorization"] = f"Bearer {token}"

    def manage(self, *arguments: str) -> str:
        """What a management command prints on stdout; its stderr is shown when it fails."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment, **PERSON_ENVIRONMENT},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start_server(self, **environment: str) -> Child:
        """uvicorn on this site's port; returns when it is ready to work."""
        command = ["-m", "uvicorn", "config.asgi:application", "--host", "127.0.0.1", "--port", str(self.port)]
        self.server = self._start("server", command, environment)
        self.wait_until(self._is_ready, "the server is ready", seconds=READY_WITHIN_S)
        return self.server

    def _is_ready(self) -> bool:
        try:
            return requests.get(f"{self.address}/readyz", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    # Workers

    def start_worker(self, name: str, *flags: str) -> Child:
        """A registered worker with a folder of its own."""
        token = self.post("/workers/register", {"name": name}).json()["token"]
        command = ["-m", "worker_client", "--api-url", self.address, "--models-dir", str(self.models_dir(name)), *flags]
        return self._start(name, command, {"BERT_WORKER_TOKEN": token})

    def models_dir(self, worker: str) -> Path:
        """Where that worker keeps its models."""
        return self.folder / worker / "models"

    def _start(self, name: str, arguments: list[str], environment: dict[str, str]) -> Child:
        child = Child(
            name,
            [sys.executable, *arguments],
            log_path=self.folder / f"{name}.log",
            environment={**self.environment, "PYTHONPATH": str(ROOT), **environment},
        )
        self._children.append(child)
        return child

    def log_of(self, child: Child) -> str:
        """All that a process printed."""
        return child.log_path.read_text(encoding="utf-8")

    def stop(self) -> None:
        """End every process, workers first."""
        for child in reversed(self._children):
            child.kill()

    # People

    def get(self, path: str, **query: Any) -> Any:
        """The JSON answer."""
        answer = self._http.get(f"{self.address}/bert-training/api{path}", params=query, timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: dict[str, Any]) -> requests.Response:
        """The answer, which must be a 2xx."""
        answer = self._http.post(f"{self.address}/bert-training/api{path}", json=body, timeout=20)
        assert answer.ok, answer.text
        return answer

    def upload(self, path: Path) -> dict[str, Any]:
        """The stored dataset."""
        with path.open("rb") as content:
            answer = self._http.post(
                f"{self.address}/bert-training/api/datasets/upload",
                data={"name": path.stem},
                files={"file": (path.name, content)},
                timeout=60,
            )
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def queue_run(self, dataset: dict[str, Any], *, seed: int = 42, **hyperparameters: Any) -> int:
        """The id of a new run of tiny-bert."""
        body = {"dataset": dataset["id"], "base_model": TINY, "seed": seed, "hyperparameters": hyperparameters}
        return int(self.post("/runs", body).json()["id"])

    def wait_for_runs(self, runs: Iterable[int], *, seconds: float) -> list[dict[str, Any]]:
        """The runs, once all are over."""
        wanted = list(runs)
        over = ("completed", "failed", "cancelled")
        self.wait_until(
            lambda: all(self.get(f"/runs/{run}")["status"] in over for run in wanted), "every run is over", seconds
        )
        return [self.get(f"/runs/{run}") for run in wanted]

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        """Fails with the tail of every log when `condition` does not become true in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}\n{self._tails()}"
            time.sleep(0.2)

    def _tails(self) -> str:
        return "\n".join(f"--- {child.name}\n{child.tail()}" for child in self._children)

    # Behind the scenes

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Straight from the database: what the API does not show, such as a line's number."""
        if self.database_url.startswith("sqlite"):
            path = urlsplit(self.database_url).path.removeprefix("/")
            with sqlite3.connect(f"/{path}", timeout=20) as connection:
                return connection.execute(query).fetchall()
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def loaded_modules(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after `statement`."""
    program = (
        f"{statement}\nimport json, sys; print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))
