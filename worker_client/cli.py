"""The command line: `run` (the default), `predict` and `doctor`; logging and exit codes."""

import argparse
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from worker_client import __version__
from worker_client.settings import (
    NOT_A_WORKERS_TOKEN,
    PERSONAL_TOKEN,
    BadSetting,
    WorkerSettings,
    add_connection_flags,
    add_run_flags,
    child_environment,
    process_environment,
    settings_from,
)

PROGRAM = "python -m worker_client"
SHORTEST_SECRET = 8  # a shorter "token" is a typing mistake, and starring it out would eat whole words
log = logging.getLogger("worker_client")


def main(argv: Sequence[str] | None = None, *, command: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit code. `command` starts the training child, the workspace appended."""
    args = list(sys.argv[1:] if argv is None else argv)
    subcommand = args.pop(0) if args and args[0] in ("run", "predict", "doctor") else "run"
    try:
        if subcommand == "predict":
            return _predict(args)
        return _doctor(args) if subcommand == "doctor" else _run(args, command)
    except ModuleNotFoundError as error:
        print(f"{PROGRAM}: the package {error.name} is missing: pip install 'bert-training[worker]'.", file=sys.stderr)
        return 2


def _run(args: list[str], command: Sequence[str] | None) -> int:
    env = process_environment()
    parser = _parser("run", "Poll the server, train on this machine, keep the models here.")
    parser.epilog = f"Other commands: {PROGRAM} predict --help, {PROGRAM} doctor --help."
    add_connection_flags(parser, env)
    add_run_flags(parser, env)
    try:
        settings = settings_from(parser.parse_args(args), env)
        _make_folders(settings)
        return _work(settings, command)
    except BadSetting as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def _work(settings: WorkerSettings, command: Sequence[str] | None) -> int:
    # Here and not above: `predict` needs no HTTP, and a mistyped flag should be answered at once.
    from worker_client.api import ApiClient
    from worker_client.child import TRAINING_COMMAND
    from worker_client.lock import WorkDirLock
    from worker_client.poller import ExitCode, Poller
    from worker_client.signals import StopRequests

    configure_logging(settings)
    if settings.token.startswith(PERSONAL_TOKEN):
        log.error(NOT_A_WORKERS_TOKEN)
        return ExitCode.TOKEN_REFUSED
    lock = WorkDirLock(settings.work_dir)
    lock.acquire()
    stop = StopRequests()
    stop.install(settings.work_dir / "stop")
    try:
        api = ApiClient(settings.api_url, settings.token)
        return Poller(settings, api, stop=stop, command=command or TRAINING_COMMAND).run()
    finally:
        lock.release()


def _predict(args: list[str]) -> int:
    """Predict in a child, so that this process never loads torch; flags, output and exit code are passed through."""
    command = [sys.executable, "-m", "worker_client.training.prediction", *args]
    environment = child_environment(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    try:
        code = subprocess.run(command, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 130
    return code if code >= 0 else 128 - code


def _doctor(args: list[str]) -> int:
    from worker_client import doctor

    env = process_environment()
    parser = _parser("doctor", "Check whether this machine could do a job; one line per check.")
    add_connection_flags(parser, env)
    options = parser.parse_args(args)
    if not options.models_dir:
        options.models_dir = Path.cwd()
    try:
        return doctor.run(settings_from(options, env))
    except BadSetting as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def _parser(subcommand: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} {subcommand}", description=description, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=__version__)
    return parser


def _make_folders(settings: WorkerSettings) -> None:
    for flag, folder in (("--models-dir", settings.models_dir), ("--work-dir", settings.work_dir)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise BadSetting(f"{flag} {folder} cannot be written: {error.strerror or error}.") from error
    if settings.base_models_dir and not settings.base_models_dir.is_dir():
        raise BadSetting(f"--base-models-dir {settings.base_models_dir} is not a folder.")


class RedactingFormatter(logging.Formatter):
    """No line shows the token, whatever a library puts into an error."""

    def __init__(self, token: str) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")
        self._token = token

    def format(self, record: logging.LogRecord) -> str:
        """The line with the token starred out."""
        line = super().format(record)
        return line.replace(self._token, "***") if len(self._token) >= SHORTEST_SECRET else line


def configure_logging(settings: WorkerSettings) -> None:
    """Lines on stderr, from this package only."""
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter(settings.token))
    log.handlers[:] = [handler]
    log.setLevel(settings.log_level)
    log.propagate = False
    # urllib3 warns of each of its own retries; what a person needs to know of an outage is said once, by us.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
