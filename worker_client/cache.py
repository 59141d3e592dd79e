"""What an attempt needs before the child starts: the sheet by its sha256, the base model by its revision."""

import hashlib
import logging
import re
import shutil
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

from worker_client.api import DOWNLOAD_S
from worker_client.attempt import Attempt
from worker_client.backoff import Outage
from worker_client.child import ChildProcess
from worker_client.errors import ApiError, ChildExit, FailureReason, LeaseLost, Retryable, TrainingFailed, Unauthorized
from worker_client.protocol import BUILTIN_TINY_BERT, DatasetSpec
from worker_client.settings import WorkerSettings
from worker_client.workspace import flush_to_disk

log = logging.getLogger("worker_client.cache")

# A server that was away for a lease refuses the sheet until the next heartbeat; it may be away again and again.
DOWNLOAD_TRIES = {"bytes": 3, "refusal": 10}
SLOWEST_BYTES_PER_S = 8_000
HUB_COMMAND = (sys.executable, "-m", "worker_client.hub")
MODEL_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
REVISION = re.compile(r"[A-Za-z0-9][\w.-]*")


def fetch_dataset(dataset: DatasetSpec, *, attempt: Attempt, folder: Path) -> Path:
    """The sheet on this disk, proved by size and sha256.

    Waits while the server is away. Raises TrainingFailed(dataset_mismatch) when what arrives is not what the
    job names, Stopped when the attempt must stop meanwhile.
    """
    path = folder / f"{dataset.sha256}.xlsx"
    if path.is_file() and _sha256_of(path) == dataset.sha256:
        return path
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    outage, tries = Outage(), Counter[str]()
    while True:
        attempt.check()
        kind = "bytes"
        try:
            wrong = _download(dataset, attempt=attempt, path=path)
        except Retryable as error:
            attempt.wait_out(error, outage)
            continue
        except ApiError as error:
            kind, wrong = "refusal", f"the server does not give it out ({error})"
            _ask_whether_held(error, attempt, outage)
        if not wrong:
            log.info("Sheet %s is here: %d bytes, sha256 checked.", dataset.filename, dataset.size_bytes)
            return path
        tries[kind] += 1
        log.warning("Sheet %s: %s.", dataset.filename, wrong)
        if tries[kind] == DOWNLOAD_TRIES[kind]:
            raise TrainingFailed(
                FailureReason.DATASET_MISMATCH,
                f"The sheet {dataset.filename} could not be fetched in {tries.total()} tries: {wrong}. "
                "Check the file on the server and what lies between it and this worker, then start the run again.",
            )
        attempt.pause(min(float(tries[kind]), 2.0))


def _download(dataset: DatasetSpec, *, attempt: Attempt, path: Path) -> str:
    """Fetch once; an empty string, or what is wrong with the bytes. Nothing wrong stays on the disk."""
    beside = path.with_suffix(".part")
    digest, size = hashlib.sha256(), 0
    try:
        seconds = DOWNLOAD_S + dataset.size_bytes / SLOWEST_BYTES_PER_S
        with attempt.api.download_dataset(dataset.id, seconds=seconds) as chunks, beside.open("wb") as file:
            for chunk in chunks:
                attempt.check()
                digest.update(chunk)
                size += file.write(chunk)
                if size > dataset.size_bytes:
                    break
        if size != dataset.size_bytes:
            return f"{size} bytes or more arrived instead of {dataset.size_bytes}"
        if digest.hexdigest() != dataset.sha256:
            return f"its sha256 is {digest.hexdigest()} instead of {dataset.sha256}"
        beside.replace(path)
        return ""
    finally:
        beside.unlink(missing_ok=True)


def _ask_whether_held(error: ApiError, attempt: Attempt, outage: Outage) -> None:
    """A refused sheet mostly means that the job is no longer ours: the heartbeat knows. Raises Stopped then."""
    if isinstance(error, (Unauthorized, LeaseLost)):
        try:
            attempt.lease.survives()
        except Retryable as away:
            attempt.wait_out(away, outage)
    attempt.check()


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class BaseModels:
    """The base models of this machine: the operator's folder first, then what was fetched, then the hub."""

    def __init__(self, *, own_dir: Path | None, cache_dir: Path, offline: bool) -> None:
        self._own_dir = own_dir
        self._cache_dir = cache_dir
        self._offline = offline

    @classmethod
    def of(cls, settings: WorkerSettings) -> "BaseModels":
        """Those that a worker with these settings sees."""
        return cls(
            own_dir=settings.base_models_dir, cache_dir=settings.work_dir / "base-models", offline=settings.offline
        )

    def names(self) -> list[str]:
        """What this worker can start from without the hub."""
        found = {BUILTIN_TINY_BERT}
        if self._own_dir:
            configs = [*self._own_dir.glob("*/config.json"), *self._own_dir.glob("*/*/config.json")]
            found |= {config.parent.relative_to(self._own_dir).as_posix() for config in configs}
        for config in self._cache_dir.glob("**/config.json"):
            if not config.parent.name.endswith(".part"):
                found.add(config.parent.parent.relative_to(self._cache_dir).as_posix())
        return sorted(name for name in found if MODEL_NAME.fullmatch(name))

    def folder_of(self, name: str, revision: str, *, attempt: Attempt) -> Path | None:
        """The model's folder, fetched when needed; None for builtin/tiny-bert, which the child makes itself.

        Raises TrainingFailed(base_model_unavailable or disk_full), Stopped.
        """
        if name == BUILTIN_TINY_BERT:
            return None
        if not MODEL_NAME.fullmatch(name) or (revision and not REVISION.fullmatch(revision)):
            raise self._unavailable(name, "its name or revision is not one of the hub's")
        own = self._own_dir / name if self._own_dir else None
        if own and (own / "config.json").is_file():
            log.info("Base model %s from %s.", name, own)
            return own
        cached = self._cache_dir / name / (revision or "main")
        if not (cached / "config.json").is_file():
            self._fetch(name, revision, cached, attempt)
        log.info("Base model %s, revision %s, is here.", name, revision or "main")
        return cached

    def _fetch(self, name: str, revision: str, folder: Path, attempt: Attempt) -> None:
        if self._offline:
            raise self._unavailable(name, "this worker runs with --offline and has no copy")
        log.info("Fetching base model %s, revision %s, from the hub.", name, revision or "main")
        beside = folder.with_name(folder.name + ".part")
        beside.mkdir(parents=True, exist_ok=True)
        child = ChildProcess(
            [*HUB_COMMAND, name, revision, str(beside)], log_path=attempt.workspace.root / "download.log"
        )
        try:
            while (exit_code := child.wait(0.2)) is None:
                attempt.check()
        except BaseException:
            child.kill()
            raise
        if exit_code != 0:
            last_line = (child.tail().splitlines() or ["no reason given"])[-1]
            raise self._unavailable(name, last_line, disk_full=exit_code == ChildExit.DISK_FULL)
        shutil.rmtree(beside / ".cache", ignore_errors=True)
        for path in (path for path in beside.rglob("*") if path.is_file()):
            flush_to_disk(path)  # a copy that a power cut left damaged would never be fetched again
        beside.replace(folder)

    def _unavailable(self, name: str, why: str, *, disk_full: bool = False) -> TrainingFailed:
        reason = FailureReason.DISK_FULL if disk_full else FailureReason.BASE_MODEL_UNAVAILABLE
        place = f"{self._own_dir or '<base-models-dir>'}/{name}"
        return TrainingFailed(
            reason, f"Base model {name} cannot be had: {why}. A copy in {place} (--base-models-dir) is used first."
        )


def forget_datasets(folder: Path) -> None:
    """Remove the sheets: personal data stays on a worker only while a job needs it."""
    with suppress(OSError):
        shutil.rmtree(folder)
