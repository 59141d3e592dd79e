"""What this machine is: the facts of a registration, learned without importing torch."""

import os
import platform
import re
import socket
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

from worker_client import __version__
from worker_client.protocol import PROTOCOL
from worker_client.settings import WorkerSettings

OWNERS_ORDER = {"CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"}  # with one of them CUDA counts otherwise than the driver
CUDA_BUILD = re.compile(r"\+cu(\d+?)(\d)$")


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU as the driver names it."""

    name: str
    memory_bytes: int
    memory_used_bytes: int
    utilization: float  # percent


def gpus() -> list[Gpu]:
    """The NVIDIA GPUs, or none where there is no driver: then the worker trains on the CPU."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # an absent package, an absent library and an absent driver each raise their own
        return []
    try:
        return [_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _gpu(pynvml: Any, index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    name = pynvml.nvmlDeviceGetName(handle)
    try:
        busy = float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except pynvml.NVMLError:  # a GPU cut into MIG slices has no figure of its own
        busy = 0.0
    return Gpu(str(name), int(memory.total), int(memory.used), busy)


def gpus_for(settings: WorkerSettings) -> list[Gpu]:
    """Those that its training may use: none with `--device cpu`, one with `cuda:N`.

    All where several processes share a run, or where CUDA itself chooses, by rules that the driver does not tell.
    """
    if settings.device == "cpu":
        return []
    present, number = gpus(), settings.device.removeprefix("cuda:")
    if settings.processes > 1 or not number.isdecimal() or OWNERS_ORDER & os.environ.keys():
        return present
    return present[int(number) :][:1]


def memory_kills() -> int:
    """How many processes this system has killed for want of memory since it started; 0 where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def installed_version(package: str) -> str:
    """The version from the package's metadata, or an empty string."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def cuda_version() -> str:
    """The CUDA release that the installed torch was built for, or an empty string for a CPU build."""
    torch = installed_version("torch")
    if build := CUDA_BUILD.search(torch):
        return f"{build[1]}.{build[2]}"
    if not torch or "+" in torch:
        return ""
    # The wheels of PyPI carry no suffix; on Linux they bring the runtime as a package beside.
    names = {str(dist.metadata["Name"]).lower(): dist.version for dist in distributions() if dist.metadata["Name"]}
    runtime = next((names[name] for name in sorted(names) if name.startswith("nvidia-cuda-runtime")), "")
    return ".".join(runtime.split(".")[:2])


def facts(settings: WorkerSettings, base_models: list[str]) -> dict[str, Any]:
    """The body of POST /workers/register. Of a shared GPU only the part that may be used is told."""
    share = settings.gpu_memory_fraction or 1.0
    return {
        "hostname": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": installed_version("torch"),
        "transformers": installed_version("transformers"),
        "cuda": cuda_version(),
        "gpus": [{"name": gpu.name, "memory_bytes": int(gpu.memory_bytes * share)} for gpu in gpus_for(settings)],
        "client_version": __version__,
        "base_models": base_models,
        "offline": settings.offline,
        "protocol": PROTOCOL,
    }
