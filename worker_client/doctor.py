"""`doctor`: could this machine do a job? One line per check, and an exit code."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal

import psutil  # type: ignore[import-untyped]
from packaging.specifiers import SpecifierSet

from worker_client import hardware
from worker_client.api import ApiClient
from worker_client.cache import BaseModels
from worker_client.errors import ApiError, Unauthorized
from worker_client.settings import NOT_A_WORKERS_TOKEN, PERSONAL_TOKEN, WorkerSettings, child_environment

# The ranges of the `worker` extra in pyproject.toml; a test holds them together.
LIBRARIES = {
    "accelerate": ">=1.15,<2",
    "nvidia-ml-py": ">=13",
    "numpy": ">=2.2",
    "openpyxl": ">=3.1.5,<3.2",
    "packaging": ">=24",
    "psutil": ">=7",
    "requests": ">=2.34,<3",
    "safetensors": ">=0.8",
    "scikit-learn": ">=1.7,<2",
    "tokenizers": ">=0.22",
    "torch": ">=2.10",
    "transformers": ">=5.17,<6",
    "urllib3": ">=2.8,<3",
}
INSTALL = "pip install --upgrade 'bert-training[worker]'"
NEEDED_BYTES = 3 * 10**9  # a base model, two checkpoints of it with optimizer state, the finished model
COMFORTABLE_BYTES = 20 * 10**9
MAX_SKEW_S = 60.0
# As psutil names them. The spool's SQLite locks its file and maps memory, which no share does reliably: sqlite.org/wal.
NETWORK_FILE_SYSTEMS = {"9p", "afpfs", "ceph", "cifs", "davfs", "fuse.sshfs", "nfs", "nfs4", "smb3", "smbfs"}
TORCH_TIMEOUT_S = 120
TORCH_PROBE = "import torch; print(torch.__version__, torch.version.cuda, torch.cuda.is_available())"


@dataclass(frozen=True)
class Finding:
    """One line: `fail` means that a job could not run, `note` that a person may want to know."""

    level: Literal["ok", "note", "fail"]
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.level:<5} {self.subject:<12} {self.text}"


def run(settings: WorkerSettings) -> int:
    """Print the findings as they come; 0 when a job could run, else 1."""
    failed = False
    checks: tuple[Callable[[WorkerSettings], Iterator[Finding]], ...] = (
        check_server,
        check_disk,
        check_libraries,
        check_gpu,
        check_base_models,
    )
    for check in checks:
        for finding in check(settings):
            print(finding, flush=True)
            failed = failed or finding.level == "fail"
    return int(failed)


def check_server(settings: WorkerSettings) -> Iterator[Finding]:
    """Reachability, token and clock, by the two calls that a worker makes first."""
    if settings.token.startswith(PERSONAL_TOKEN):
        yield Finding("fail", "token", NOT_A_WORKERS_TOKEN)
        return
    api = ApiClient(settings.api_url, settings.token)
    try:
        me = api.register(hardware.facts(settings, BaseModels.of(settings).names()))
        yield Finding("ok", "server", f"{settings.api_url} answers")
        yield Finding("ok", "token", f"accepted; this worker is {me.name}")
        yield _clock(api.heartbeat().server_time)
    except Unauthorized as error:
        yield Finding("ok", "server", f"{settings.api_url} answers")
        yield Finding("fail", "token", f"refused ({error}). Is it the worker's present one, and is the worker enabled?")
    except ApiError as error:
        text = f"{settings.api_url}: {error}. Is --api-url right, does the server run, does the network let it through?"
        yield Finding("fail", "server", text)


def _clock(server_time: str) -> Finding:
    try:
        skew_s = (datetime.now(UTC) - datetime.fromisoformat(server_time)).total_seconds()
    except (ValueError, TypeError):
        return Finding("note", "clock", "the server does not tell its time")
    if abs(skew_s) > MAX_SKEW_S:
        return Finding(
            "note", "clock", f"differs from the server's by {skew_s:.0f} s; log lines will look out of place"
        )
    return Finding("ok", "clock", f"within {abs(skew_s):.0f} s of the server's")


def check_disk(settings: WorkerSettings) -> Iterator[Finding]:
    """Whether models and work can be written where they are to lie, and the free space there."""
    for subject, folder in (("models-dir", settings.models_dir), ("work-dir", settings.work_dir)):
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        try:
            with TemporaryFile(dir=existing):
                yield _space(subject, folder, shutil.disk_usage(existing).free)
        except OSError as error:
            text = f"{folder}: {existing} cannot be written ({error.strerror}); name another folder by --{subject}"
            yield Finding("fail", subject, text)
    if share := network_share(settings.work_dir):
        text = f"{settings.work_dir} is on a network share ({share}), where the metrics of a run may be lost"
        yield Finding("note", "work-dir", f"{text}; name a folder on a local disk by --work-dir")


def network_share(folder: Path) -> str:
    """The file system that a folder lies on where that is another machine's, else nothing."""
    whole = folder.resolve()
    if whole.drive.startswith("\\\\"):
        return whole.drive
    mounts = [each for each in psutil.disk_partitions(all=True) if whole.is_relative_to(each.mountpoint)]
    nearest = max(mounts, key=lambda mount: len(mount.mountpoint), default=None)
    if nearest is None or not (nearest.fstype in NETWORK_FILE_SYSTEMS or "remote" in nearest.opts.split(",")):
        return ""
    return nearest.fstype or nearest.device


def _space(subject: str, folder: Path, free: int) -> Finding:
    text = f"{folder}: {free / 1e9:.0f} GB free (a large model needs about 20)"
    if free < NEEDED_BYTES:
        return Finding("fail", subject, f"{text}; free at least 3 GB, or name a folder on another disk")
    return Finding("note" if free < COMFORTABLE_BYTES else "ok", subject, text)


def check_libraries(settings: WorkerSettings) -> Iterator[Finding]:
    """Versions from the packages' metadata, against what the worker is tested with."""
    for name, wanted in LIBRARIES.items():
        present = hardware.installed_version(name)
        if not present:
            yield Finding("fail", name, f"is not installed (wanted {wanted}): {INSTALL}")
        elif not SpecifierSet(wanted).contains(present, prereleases=True):
            yield Finding("fail", name, f"{present} is not in the range {wanted}: {INSTALL}")
        else:
            yield Finding("ok", name, present)


def check_gpu(settings: WorkerSettings) -> Iterator[Finding]:
    """The driver's view, then torch's own, asked in a child so that this process stays light."""
    present = hardware.gpus()
    for gpu in present:
        yield Finding("ok", "gpu", f"{gpu.name}, {gpu.memory_bytes / 1e9:.0f} GB")
    if not present:
        yield Finding("note", "gpu", "no NVIDIA GPU or driver found: training runs on the CPU, slowly")
    yield _torch(settings.device, has_gpu=bool(present))


def _torch(device: str, *, has_gpu: bool) -> Finding:
    try:
        probe = subprocess.run(
            [sys.executable, "-c", TORCH_PROBE],
            capture_output=True,
            text=True,
            timeout=TORCH_TIMEOUT_S,
            env=child_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding("fail", "torch", f"did not load within {TORCH_TIMEOUT_S} s; install it again: {INSTALL}")
    if probe.returncode != 0:
        last_line = (probe.stderr.strip().splitlines() or ["no reason"])[-1]
        return Finding("fail", "torch", f"cannot be loaded: {last_line}. Install it again: {INSTALL}")
    version, cuda, usable = probe.stdout.split()
    if usable == "True":
        return Finding("ok", "torch", f"{version} uses the GPU (CUDA {cuda})")
    if device.startswith("cuda"):
        text = f"{version} (CUDA {cuda}) sees no GPU: install its CUDA build and the driver, or drop --device {device}"
        return Finding("fail", "torch", text)
    if has_gpu:
        return Finding("note", "torch", f"{version} (CUDA {cuda}) does not see the GPU: install a CUDA build of torch")
    return Finding("ok", "torch", f"{version} on the CPU")


def check_base_models(settings: WorkerSettings) -> Iterator[Finding]:
    """What a job could start from without the hub."""
    if settings.base_models_dir and not Path(settings.base_models_dir).is_dir():
        yield Finding(
            "fail",
            "base models",
            f"--base-models-dir {settings.base_models_dir} is not a folder; create it or drop the flag",
        )
    names = ", ".join(BaseModels.of(settings).names())
    rest = "no others: --offline" if settings.offline else "others come from the hub when a job needs them"
    yield Finding("ok", "base models", f"here: {names}; {rest}")
