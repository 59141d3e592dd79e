"""What travels: server to worker (`JobSpec`), parent to child (`TrainingSpec`) and back (`Outcome`)."""

import math
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

TaskType = Literal["text_classification", "token_classification"]
PROTOCOL = 1  # what a worker and a server must agree on; additions that either may ignore do not count
BUILTIN_TINY_BERT = "builtin/tiny-bert"
SHA256 = re.compile(r"[0-9a-f]{64}")
LONGEST_PACE_S = 86_400.0


@dataclass(frozen=True)
class DatasetSpec:
    """The sheet of a job: how to fetch it, prove it and read it."""

    id: int
    sha256: str
    size_bytes: int
    filename: str
    sheet: str
    columns: dict[str, str]  # role -> header, for example {"text": "Ementa", "label": "Classe"}
    labels: list[str]  # label strings, or the tag strings of a token task, in the server's order
    num_rows: int
    download_url: str
    repair_bio: bool = False

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> Self:
        """Build from the `dataset` part of a claim answer; unknown keys are ignored (a newer server).

        Raises ValueError for an id or a hash that is none: both name files on this disk.
        """
        _number(data["id"])
        if not SHA256.fullmatch(data["sha256"]):
            raise ValueError("sha256 is not 64 hexadecimal digits")
        labels = [item["name"] if isinstance(item, dict) else item for item in data["labels"]]
        known = {key: data[key] for key in cls.__dataclass_fields__ if key in data}
        return cls(**{**known, "labels": labels})


@dataclass(frozen=True)
class JobSpec:
    """One claimed attempt, as the server handed it out."""

    job_id: int
    attempt: int
    lease_seconds: float
    heartbeat_seconds: float
    run_id: int
    run_name: str
    task_type: TaskType
    base_model: str
    base_model_revision: str
    seed: int
    hyperparameters: dict[str, Any]
    dataset: DatasetSpec
    same_worker: bool = False
    previous_attempts: int = 0

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> Self:
        """Build from a claim answer `{job, run, dataset, resume}`.

        Raises KeyError when a field is missing, ValueError or TypeError when one is not what it says. The numbers
        become names of folders, so a server gone bad must not send paths in their place.
        """
        job, run, resume = data["job"], data["run"], data.get("resume") or {}
        return cls(
            job_id=_number(job["id"]),
            attempt=_number(job["attempt"]),
            lease_seconds=_seconds(job["lease_seconds"]),
            heartbeat_seconds=_seconds(job["heartbeat_seconds"]),
            run_id=_number(run["id"]),
            run_name=run["name"],
            task_type=run["task_type"],
            base_model=run["base_model"],
            base_model_revision=run.get("base_model_revision") or "",
            seed=run["seed"],
            hyperparameters=dict(run["hyperparameters"]),
            dataset=DatasetSpec.from_wire(data["dataset"]),
            same_worker=bool(resume.get("same_worker")),
            previous_attempts=int(resume.get("previous_attempts", 0)),
        )


@dataclass(frozen=True)
class Registration:
    """The server's answer to a registration: who we are, at which paces (seconds), and what it thinks we hold."""

    id: int
    name: str
    poll_seconds: float = 30.0
    heartbeat_seconds: float = 30.0
    lease_seconds: float = 600.0
    upload_seconds: float = 5.0
    held_job: int | None = None
    held_attempt: int | None = None
    held_until: str = ""  # when its lease runs out, as it was renewed last; empty from an older server

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> Self:
        """Build from the answer; a missing pace keeps its default. Raises ValueError, TypeError as JobSpec does."""
        held = data.get("held_job") or {}
        paces = ("poll_seconds", "heartbeat_seconds", "lease_seconds", "upload_seconds")
        return cls(
            id=data.get("id", 0),
            name=str(data.get("name", "")),
            held_job=_number(held["job"]) if held else None,
            held_attempt=_number(held["attempt"]) if held else None,
            held_until=str(data.get("held_until") or ""),
            **{key: _seconds(data[key]) for key in paces if data.get(key)},
        )

    @property
    def held(self) -> tuple[int | None, int | None, str]:
        """The attempt that the server thinks we hold, and until when; it changes where somebody works on it."""
        return self.held_job, self.held_attempt, self.held_until


@dataclass(frozen=True)
class Directives:
    """What the server wants, as it rides on every answer to a heartbeat or a progress."""

    server_time: str = ""
    cancel_requested: bool = False
    pause_requested: bool = False
    drain: bool = False

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> Self:
        """Build from the answer; a directive that is not named is not given."""
        return cls(
            server_time=str(data.get("server_time", "")),
            cancel_requested=bool(data.get("cancel_requested")),
            pause_requested=bool(data.get("pause_requested")),
            drain=bool(data.get("drain")),
        )


@dataclass(frozen=True)
class FakeMemory:
    """A limit in the place of the device's own, to test what happens beyond it without a GPU.

    rows, eval_rows: what fits at once; gradient checkpointing doubles `rows`. from_step: trained without a limit
    before this step.
    """

    rows: float | None = None
    eval_rows: float | None = None
    from_step: int = 0


@dataclass(frozen=True)
class TrainingSpec:
    """spec.json: everything that the training child needs, with local paths and no address or token."""

    job_id: int
    attempt: int
    run_id: int
    run_name: str
    task_type: TaskType
    base_model: str
    base_model_revision: str
    base_model_dir: str | None  # None for builtin/tiny-bert, which the child makes itself
    seed: int
    hyperparameters: dict[str, Any]
    dataset_path: str
    dataset_sha256: str
    dataset_filename: str
    sheet: str
    columns: dict[str, str]
    labels: list[str]
    repair_bio: bool
    model_dir: str  # <models-dir>/run-<id>, where the finished model appears whole
    checkpoints_dir: str  # shared by the attempts of one job on this worker
    device: str = "auto"
    processes: int = 1
    device_batch_size: int | None = None  # None: the child chooses; set by the parent after an out-of-memory
    eval_batch_size: int | None = None  # None: the child chooses; what fitted in an earlier attempt
    gradient_checkpointing: bool = False  # for want of memory, whatever the hyperparameter says
    gpu_memory_fraction: float | None = None  # share of the GPU that may be used; None: all
    fake_memory: FakeMemory | None = None  # tests only
    worker_name: str = ""
    worker_pid: int | None = None  # None: nobody, the child is started by hand
    worker_started: float = 0.0  # its start in seconds since 1970, which tells it from a later namesake

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Inverse of `to_json`."""
        fake = data.get("fake_memory")
        return cls(**{**data, "fake_memory": FakeMemory(**fake) if fake else None})

    def to_json(self) -> dict[str, Any]:
        """A dict for json.dump."""
        return asdict(self)


@dataclass(frozen=True)
class Outcome:
    """outcome.json: how the child ended. `status` is completed, failed or stopped."""

    status: Literal["completed", "failed", "stopped"]
    reason: str = ""  # a FailureReason when failed; cancelled, paused or shutdown when stopped
    message: str = ""
    traceback: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)  # final figures of the test part
    best_epoch: float | None = None
    model_path: str = ""
    model_sha256: str = ""
    report: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)  # out_of_memory: errors.OutOfMemory.facts

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Inverse of `to_json`."""
        return cls(**data)

    def to_json(self) -> dict[str, Any]:
        """A dict for json.dump."""
        return asdict(self)


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is not a number of a job, an attempt, a run or a dataset")
    return value


def _seconds(value: Any) -> float:
    if not float(value) > 0:
        raise ValueError(f"{value!r} is not a number of seconds above 0")
    return min(float(value), LONGEST_PACE_S)


def storable(text: str) -> str:
    """Text that SQLite, PostgreSQL and JSON all take: no half characters from a broken encoding, no NUL."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\N{REPLACEMENT CHARACTER}")


def sendable(value: Any) -> Any:
    """The same value as JSON can carry it: a figure that is not finite is null, every text is `storable`."""
    if isinstance(value, dict):
        return {storable(str(key)): sendable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [sendable(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return storable(value) if isinstance(value, str) else value
