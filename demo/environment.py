"""Where the demo lies and the settings that its server runs with."""

import os
import secrets
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
SAMPLE = ROOT / "datasets_app" / "samples" / "andamentos_train.xlsx"


class DemoFailed(Exception):
    """The demo cannot go on; the message says what happened and what to do."""


@dataclass(frozen=True)
class Place:
    """The folder of one demo: database, sheets, models and logs together."""

    root: Path

    @property
    def models_dir(self) -> Path:
        """Where the worker puts finished models."""
        return self.root / "models"

    @property
    def work_dir(self) -> Path:
        """Where the worker works."""
        return self.models_dir / ".worker"

    def log_of(self, name: str) -> Path:
        """What a child process prints."""
        return self.root / f"{name}.log"


def fresh_place(folder: Path) -> Place:
    """An empty folder; what an earlier demo left there is kept once, beside it, as `<folder>-before`."""
    before = folder.with_name(folder.name + "-before")
    if folder.exists():
        shutil.rmtree(before, ignore_errors=True)
        folder.rename(before)
        print(f"The earlier demo is kept in {before} until the next one.", flush=True)
    folder.mkdir(parents=True, mode=0o700)
    return Place(folder)


def server_environment(place: Place) -> dict[str, str]:
    """Production settings on plain http and loopback. They win over a `.env` that lies in the project."""
    return {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "DEBUG": "0",
        "ALLOWED_HOSTS": f"{HOST},localhost",
        "DATABASE_URL": f"sqlite:///{place.root / 'db.sqlite3'}",
        "MEDIA_ROOT": str(place.root / "media"),
        "SECURE_SSL_REDIRECT": "0",
        "SESSION_COOKIE_SECURE": "0",
        "CSRF_COOKIE_SECURE": "0",
        "SECURE_HSTS_SECONDS": "0",
        "BEHIND_TLS_PROXY": "0",
        "LOG_LEVEL": "INFO",
    }


def use(environment: dict[str, str]) -> None:
    """Become, with all children to come, a process with these settings."""
    os.environ.update(environment)
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"


def check_port(port: int) -> None:
    """Raises DemoFailed when nothing can be served there."""
    if not 1 <= port <= 65535:
        raise DemoFailed(f"PORT={port} is no port. Choose one from 1024 to 65535, for example: make demo PORT=8001")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: a port just left is free
        try:
            probe.bind((HOST, port))
        except OSError as error:
            reason = error.strerror or str(error)
            raise DemoFailed(f"port {port} cannot be used ({reason}). Choose another: make demo PORT={port + 1}") from (
                error
            )
