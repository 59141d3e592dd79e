"""The worker's configuration: flags, then `BERT_WORKER_<FLAG>`, then defaults, as one frozen object."""

import argparse
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from worker_client.protocol import FakeMemory

ENV_PREFIX = "BERT_WORKER_"
API_PATH = "/bert-training/api"
DEFAULT_POLL_S = 30.0
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
YES, NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
PERSONAL_TOKEN = "btp_"  # noqa: S105 (a prefix, not a token)
NOT_A_WORKERS_TOKEN = "This is a person's API token. A worker needs its own: manage.py register_worker NAME."  # noqa: S105


class BadSetting(ValueError):
    """A flag or variable cannot be used; the message is one line for the person who typed it."""


@dataclass(frozen=True)
class WorkerSettings:
    """What one worker process was told. The token stays out of every repr."""

    api_url: str
    token: str = field(repr=False)
    models_dir: Path
    work_dir: Path
    base_models_dir: Path | None = None
    offline: bool = False
    device: str = "auto"
    processes: int = 1
    once: bool = False
    drain_when_idle: bool = False
    poll_seconds: float | None = None  # None: the pace that the server asks for
    log_level: str = "INFO"
    keep_checkpoints: bool = False
    gpu_memory_fraction: float | None = None  # None: all of it
    fake_memory: FakeMemory | None = None  # tests only


def add_connection_flags(parser: argparse.ArgumentParser, env: Mapping[str, str]) -> None:
    """The flags that `run` and `doctor` share."""
    _add(parser, env, "--api-url", help="address of the server, for example https://treino.example.gov.br")
    # Never a default here: argparse would print it, and a stale variable would win over --token-file.
    parser.add_argument("--token", help="the worker's token; better in BERT_WORKER_TOKEN or --token-file")
    _add(parser, env, "--token-file", type=Path, help="file that holds the token, and nothing else")
    _add(parser, env, "--models-dir", type=Path, help="folder for finished models, as <DIR>/run-<id>")
    _add(parser, env, "--work-dir", type=Path, help="folder for work in progress; default <models-dir>/.worker")
    _add(parser, env, "--base-models-dir", type=Path, help="base models looked up first, as <DIR>/<org>/<name>")
    _add_switch(parser, env, "--offline", help="never ask the model hub")
    _add_switch(parser, env, "--allow-http", help="accept plain http beyond this machine: the token is readable")
    _add(parser, env, "--device", type=_device, default="auto", help="auto, cpu, cuda or cuda:N")
    _add(
        parser,
        env,
        "--gpu-memory-fraction",
        type=_share,
        help="share of the GPU's memory that training may use, for example 0.5 on a GPU that others use too",
    )
    _add(parser, env, "--log-level", type=_log_level, default="INFO", help="DEBUG, INFO, WARNING or ERROR")


def add_run_flags(parser: argparse.ArgumentParser, env: Mapping[str, str]) -> None:
    """The flags of `run` alone."""
    _add_switch(parser, env, "--once", help="take one job, then exit; exit code 5 when it failed")
    _add_switch(parser, env, "--drain-when-idle", help="exit 0 when the queue is empty")
    _add(
        parser,
        env,
        "--poll-seconds",
        type=_positive,
        help="seconds between looks at the queue; without it the server tells of a job at once",
    )
    _add_switch(parser, env, "--keep-checkpoints", help="leave the checkpoints of a finished run in the work folder")
    _add(parser, env, "--processes", type=_count, default=1, help="training processes, one per GPU")


def settings_from(args: argparse.Namespace, env: Mapping[str, str]) -> WorkerSettings:
    """Check what belongs together. Raises BadSetting."""
    if not args.models_dir:
        raise BadSetting("--models-dir is missing: the folder where finished models go (or BERT_WORKER_MODELS_DIR).")
    models_dir = args.models_dir.expanduser().absolute()
    work_dir = (args.work_dir or models_dir / ".worker").expanduser().absolute()
    return WorkerSettings(
        api_url=normal_api_url(args.api_url, allow_http=args.allow_http),
        token=token_from(args, env),
        models_dir=models_dir,
        work_dir=work_dir,
        base_models_dir=args.base_models_dir.expanduser().absolute() if args.base_models_dir else None,
        offline=args.offline,
        device=args.device,
        processes=getattr(args, "processes", 1),
        once=getattr(args, "once", False),
        drain_when_idle=getattr(args, "drain_when_idle", False),
        poll_seconds=getattr(args, "poll_seconds", None),
        log_level=args.log_level,
        keep_checkpoints=getattr(args, "keep_checkpoints", False),
        gpu_memory_fraction=args.gpu_memory_fraction,
        fake_memory=_fake_memory(env),
    )


def token_from(args: argparse.Namespace, env: Mapping[str, str]) -> str:
    """--token, else --token-file, else BERT_WORKER_TOKEN. Raises BadSetting when there is none."""
    token: str | None = args.token
    if token is None and args.token_file:
        try:
            token = args.token_file.expanduser().read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise BadSetting(f"The token file {args.token_file} cannot be read: {error}.") from error
    if token is None:
        token = env.get(ENV_PREFIX + "TOKEN")
    token = (token or "").strip()
    if not token:
        raise BadSetting("The token is missing: give --token, --token-file or BERT_WORKER_TOKEN.")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise BadSetting("The token holds characters that no token has: copy it again, alone.")
    return token


def normal_api_url(given: str | None, *, allow_http: bool) -> str:
    """`https://host`, with or without a slash or the API's path, as `https://host/bert-training/api`.

    Plain http sends the token readable, so it is accepted only to this machine or with `allow_http`.
    """
    if not given:
        raise BadSetting("--api-url is missing: the address of the server (or BERT_WORKER_API_URL).")
    try:
        parts = urlsplit(given.strip())
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadSetting(f"--api-url {given} is not an address: {error}.") from error
    if parts.scheme not in ("http", "https") or not host:
        raise BadSetting(f"--api-url {given} is not an address like https://treino.example.gov.br.")
    if parts.username or parts.password:
        raise BadSetting("--api-url must not hold a user name or password: the token alone identifies the worker.")
    if parts.scheme == "http" and not allow_http and not is_loopback(host):
        raise BadSetting(
            f"--api-url {given} is plain http, which would send the token readable over the network: "
            "use https, or --allow-http (BERT_WORKER_ALLOW_HTTP=1) where that is accepted."
        )
    prefix = parts.path.rstrip("/").removesuffix("/api").removesuffix("/bert-training")
    return f"{parts.scheme}://{parts.netloc}{prefix}{API_PATH}"


def is_loopback(host: str) -> bool:
    """Whether the host is this very machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _add(parser: argparse.ArgumentParser, env: Mapping[str, str], flag: str, **options: object) -> None:
    """A flag whose default is its variable; argparse runs `type` over a string default too."""
    options["default"] = env.get(_variable(flag)) or options.get("default")
    parser.add_argument(flag, **options)  # type: ignore[arg-type]


def _add_switch(parser: argparse.ArgumentParser, env: Mapping[str, str], flag: str, *, help: str) -> None:
    value = env.get(_variable(flag), "").strip().lower()
    if value not in YES + NO:
        parser.error(f"{_variable(flag)} is {value!r}: write 1 or 0.")
    parser.add_argument(flag, action="store_true", default=value in YES, help=help)


def _variable(flag: str) -> str:
    return ENV_PREFIX + flag.removeprefix("--").replace("-", "_").upper()


def _device(value: str) -> str:
    if not DEVICE.fullmatch(value):
        raise argparse.ArgumentTypeError(f"{value!r} is none of auto, cpu, cuda, cuda:N")
    return value


def _log_level(value: str) -> str:
    if value.upper() not in LOG_LEVELS:
        raise argparse.ArgumentTypeError(f"{value!r} is none of {', '.join(LOG_LEVELS)}")
    return value.upper()


def _positive(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0
    if not 0 < number < 86_400:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number of seconds above 0 and below a day")
    return number


def _count(value: str) -> int:
    if not value.isdecimal() or not 1 <= int(value) <= 64:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number from 1 to 64")
    return int(value)


def _share(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{value!r} is not a share above 0 and up to 1")
    return number


def _fake_memory(env: Mapping[str, str]) -> FakeMemory | None:
    """A test hook: BERT_WORKER_TEST_MAX_BATCH, _TEST_MAX_EVAL_BATCH and _TEST_MAX_FROM_STEP. Raises BadSetting."""
    try:
        rows, eval_rows, step = (
            float(env[name]) if env.get(name := f"{ENV_PREFIX}TEST_MAX_{of}") else None
            for of in ("BATCH", "EVAL_BATCH", "FROM_STEP")
        )
    except ValueError as error:
        raise BadSetting(f"{ENV_PREFIX}TEST_MAX_...: {error}.") from error
    return FakeMemory(rows, eval_rows, int(step or 0)) if rows is not None or eval_rows is not None else None


def process_environment() -> Mapping[str, str]:
    """The environment of this process."""
    return os.environ


# glibc gives large pieces of memory back to the system at once and asks for them again, page by page: those of the
# gradients in each step. That was 7% of a step on a processor. It reads these names when a process starts; elsewhere
# they mean nothing.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}

# OpenMP's threads ask so many times for the next piece of work, then sleep. By default they ask for milliseconds, which
# on a busy machine robs the thread that has the work: an epoch took 7 times as long. Asleep at once, a step takes a
# tenth longer on a free one.
OPENMP_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "2000"}

# oneDNN, which computes bf16 on processors, keeps what it compiled for the last 1,024 shapes, and packed batches are
# seldom of one length: that was a fifth of the memory. Of 64, which are several steps, a run is as fast.
FEW_KERNELS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}

OF_CHILDREN = KEEP_MEMORY | OPENMP_WAITING | FEW_KERNELS


def child_environment(**changes: str) -> dict[str, str]:
    """The environment for a child: this one without any BERT_WORKER variable, so without the token.

    What this machine's owner has set goes before our choices about memory and threads.
    `worker_client` stays importable for the child wherever the parent was started from.
    """
    own = {key: value for key, value in os.environ.items() if not key.upper().startswith(ENV_PREFIX)}
    inherited = {**OF_CHILDREN, **own}
    source = Path(__file__).resolve().parent.parent
    if "site-packages" not in source.parts:
        inherited["PYTHONPATH"] = os.pathsep.join(filter(None, [str(source), inherited.get("PYTHONPATH", "")]))
    return {**inherited, "PYTHONUTF8": "1", "HF_HUB_DISABLE_TELEMETRY": "1", **changes}
