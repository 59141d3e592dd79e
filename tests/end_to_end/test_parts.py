"""What each part needs, and what it must not need."""

import importlib.metadata
import os
import re
import secrets
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.end_to_end.site import ROOT, Site, loaded_modules
from tests.sheet_factories import TEXT_ROWS, text_sheet

BLOCKER = """
import sys

BLOCKED = {blocked!r}


class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {{name!r}}: not in the server extra", name=name)


sys.meta_path.insert(0, Blocker())
"""


def test_importing_the_worker_loads_neither_django_nor_torch_nor_requests() -> None:
    loaded = loaded_modules("import worker_client")
    assert "worker_client" in loaded
    assert not loaded & {"django", "rest_framework", "torch", "transformers", "requests", "pandas", "numpy"}


@pytest.mark.slow
def test_a_server_with_its_own_extra_alone_serves_everything_but_training(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every package that the `server` extra does not bring is hidden from the real server process."""
    blocked = sorted(modules_beyond("server"))
    assert {"torch", "transformers", "pandas", "requests", "psutil"} <= set(blocked)
    (tmp_path / "blocker").mkdir()
    (tmp_path / "blocker" / "sitecustomize.py").write_text(BLOCKER.format(blocked=blocked))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "blocker"))
    site = Site(tmp_path, database_url)
    try:
        site.prepare()
        site.start_server(PYTHONPATH=os.pathsep.join([str(tmp_path / "blocker"), str(ROOT)]))
        dataset = site.upload(text_sheet(tmp_path / "pedidos.xlsx", TEXT_ROWS * 4))
        run = site.queue_run(dataset)
        assert site.post("/workers/register", {"name": "gpu-1"}).json()["token"].startswith("btw_")
        for path in ("/datasets", f"/runs/{run}", "/queue/status", "/workers", f"/runs/{run}/metrics"):
            assert site.get(path)
        assert site.get("/schema", format="json")["openapi"].startswith("3.")
        assert "Traceback" not in site.log_of(site.server) if site.server else False
    finally:
        site.stop()


def test_the_deployment_check_is_silent_with_production_settings() -> None:
    environment = {
        **os.environ,
        "SECRET_KEY": secrets.token_urlsafe(50),
        "DEBUG": "0",
        "DATABASE_URL": "sqlite://:memory:",
    }
    environment.pop("SECURE_SSL_REDIRECT", None)
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env={**environment, "DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_the_server_refuses_to_start_without_a_secret_key_and_says_why() -> None:
    environment = {**os.environ, "DEBUG": "0", "SECRET_KEY": "", "DJANGO_SETTINGS_MODULE": "config.settings"}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "SECRET_KEY is not set" in done.stderr


def modules_beyond(extra: str) -> set[str]:
    """Top-level modules of all installed packages that `bert-training[extra]` would not have brought."""
    wanted = _closure(extra)
    return {
        module
        for module, packages in importlib.metadata.packages_distributions().items()
        if not {_normal(package) for package in packages} & wanted
    } - {"config", "datasets_app", "runs_app", "workers_app", "worker_client", "pip", "_distutils_hack"}


def _closure(extra: str) -> set[str]:
    """The packages of an extra of pyproject.toml, with all that they require in this environment."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting = [Requirement(line) for line in project["optional-dependencies"][extra]]
    seen = set()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) not in seen:
            seen.add(str(requirement))
            waiting += _required_by(requirement)
    return {_normal(Requirement(line).name) for line in seen}


def _required_by(requirement: Requirement) -> list[Requirement]:
    lines = importlib.metadata.requires(requirement.name) or []
    extras = requirement.extras or {""}
    wanted = [Requirement(line) for line in lines]
    return [one for one in wanted if not one.marker or any(one.marker.evaluate({"extra": name}) for name in extras)]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
