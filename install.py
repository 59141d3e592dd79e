#!/usr/bin/env python3
"""Builds `.venv` beside this file and installs the pinned dependencies.

    python3 install.py [server] [worker] [dev] [e2e]

Needs Python 3.11 or newer and nothing else. Without arguments all four parts are installed, which is what
`make setup` does; a PC that only trains needs `python3 install.py worker`. pip's own configuration and its
PIP_* variables (index, proxy, certificates) are respected.
"""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
STAMP = VENV / "installed"  # the Makefile compares its time with that of pyproject.toml and constraints.txt
PARTS = ("server", "worker", "dev", "e2e")
PIP = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]


class SetupFailed(Exception):
    """The message says what did not work, why, and what to do."""


def main(arguments: list[str]) -> int:
    """0 when everything is installed; 1 with a readable reason otherwise."""
    try:
        parts = _parts(arguments)
        _check_python()
        began = time.monotonic()
        _make_venv()
        if "worker" in parts:
            _install("torch (the largest part)", _torch_pin())
        _install(f"the {', '.join(parts)} dependencies", "-e", f".[{','.join(parts)}]")
        if parts == PARTS:
            STAMP.touch()
    except SetupFailed as problem:
        print(f"setup: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; run it again to go on.", file=sys.stderr)
        return 130
    print(f"setup: ready in {time.monotonic() - began:.0f} s ({VENV.name})", flush=True)
    return 0


def _parts(arguments: list[str]) -> tuple[str, ...]:
    unknown = [argument for argument in arguments if argument not in PARTS]
    if unknown:
        raise SetupFailed(f"there is no part {unknown[0]!r}. Choose among: {', '.join(PARTS)}.")
    return tuple(part for part in PARTS if part in arguments) or PARTS


def _check_python() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036  (this file is run by whatever Python is there)
        raise SetupFailed(f"Python 3.11 or newer is needed; {sys.executable} is {sys.version.split()[0]}.")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        raise SetupFailed(
            f"{sys.executable} cannot build virtual environments ({error}). "
            "On Debian and Ubuntu: sudo apt install python3-venv."
        ) from error


def _make_venv() -> None:
    import venv

    if _has_pip():
        return
    print(f"setup: building {VENV.name} with Python {sys.version.split()[0]}", flush=True)
    try:
        venv.create(VENV, with_pip=True, clear=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupFailed(f"{VENV} cannot be built: {error}.") from error


def _has_pip() -> bool:
    """Whether the environment is there and works; one that an interruption left half-built is built anew."""
    try:
        return subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _torch_pin() -> str:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith("torch=="))


def _install(what: str, *requirements: str) -> None:
    print(f"setup: installing {what}", flush=True)
    command = [str(PYTHON), *PIP, "-c", "constraints.txt", *requirements]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        raise SetupFailed(
            f"{what} could not be installed; pip's lines above say why. Often the network or a proxy is the cause "
            "(pip reads HTTPS_PROXY and its own configuration file), or a full disk (about 3 GB are needed, "
            "with a CUDA build of torch about 8). Run it again to go on from there."
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
