"""What can go wrong on the worker, and the one map from an HTTP status to a class."""

from enum import IntEnum, StrEnum
from typing import Any


class FailureReason(StrEnum):
    """Why an attempt ended without a model. The words are the server's (CONTRACT section 4)."""

    INVALID_DATA = "invalid_data"
    OUT_OF_MEMORY = "out_of_memory"
    BASE_MODEL_UNAVAILABLE = "base_model_unavailable"
    DATASET_MISMATCH = "dataset_mismatch"
    DISK_FULL = "disk_full"
    NAN_LOSS = "nan_loss"
    KILLED = "killed"
    INTERNAL_ERROR = "internal_error"


RETRYABLE_REASONS = frozenset({FailureReason.KILLED, FailureReason.DISK_FULL, FailureReason.BASE_MODEL_UNAVAILABLE})


class ChildExit(IntEnum):
    """Exit codes of the training child; a signal shows as a negative code and means `killed`."""

    COMPLETED = 0
    STOPPED = 20
    INVALID_DATA = 21
    OUT_OF_MEMORY = 22
    BASE_MODEL_UNAVAILABLE = 23
    DATASET_MISMATCH = 24
    DISK_FULL = 25
    NAN_LOSS = 26
    INTERNAL_ERROR = 27

    @classmethod
    def of(cls, reason: FailureReason) -> "ChildExit":
        """The exit code that tells the parent this reason, when the child ends by itself."""
        return cls[reason.name]


class WorkerError(Exception):
    """Base of every error that the worker reports in words."""


class TrainingFailed(WorkerError):
    """An attempt cannot produce a model. `message` is for the person who reads the run page."""

    def __init__(self, reason: FailureReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class OutOfMemory(TrainingFailed):
    """The device's memory is not enough.

    facts: `during` (loading, training, evaluation), and where they are known `device_batch_size` and a reduced
    `eval_batch_size`.
    """

    def __init__(self, message: str, facts: dict[str, Any]) -> None:
        super().__init__(FailureReason.OUT_OF_MEMORY, message)
        self.facts = facts


class Stopped(WorkerError):
    """The attempt was asked to stop and did, with a checkpoint where one was possible. args[0]: the reason."""


class TokenInUse(WorkerError):
    """Another process works with this worker's token at this moment."""


class ApiError(WorkerError):
    """The server answered with an error, or (status 0) did not answer."""

    def __init__(self, status: int, code: str, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{status} {code}: {detail}" if status else detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s


class Retryable(ApiError):
    """The server is away, busy or restarting: the same request may succeed later (status 0: no answer)."""


class Unauthorized(ApiError):
    """401 or 403: the token is missing, unknown, revoked, or of the wrong kind."""


class LeaseLost(ApiError):
    """409 `lease_lost`: this attempt no longer holds the job."""


class Busy(ApiError):
    """409 `busy`: the server believes that this worker holds another live job."""


class Rejected(ApiError):
    """Any other refusal: sending the same request again would be refused again."""


# 507: the server's disk is full. 520 to 527: a content network says that the server behind it is away.
RETRYABLE_STATUS = frozenset({0, 408, 425, 429, 500, 502, 503, 504, 507, *range(520, 528)})


def error_for(status: int, code: str, detail: str, retry_after_s: float | None = None) -> ApiError:
    """The class that a status and a code mean; the only place that decides."""
    if status in RETRYABLE_STATUS:
        return Retryable(status, code, detail, retry_after_s)
    if status in (401, 403):
        return Unauthorized(status, code, detail)
    if status == 409 and code == "lease_lost":
        return LeaseLost(status, code, detail)
    if status == 409 and code == "busy":
        return Busy(status, code, detail)
    return Rejected(status, code, detail)
