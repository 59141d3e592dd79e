"""From any exception to a reason and a sentence that a person can act on."""

import errno
import sqlite3

from worker_client.errors import FailureReason, TrainingFailed

CPU_MEMORY = ("DefaultCPUAllocator", "not enough memory", "can't allocate memory")
GPU_MEMORY = ("CUDA out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
FULL_DISK = (
    "No space left on device",
    "database or disk is full",
    "PytorchStreamWriter failed writing file",
    "unexpected pos",
)


def explain(problem: BaseException, *, batch: str = "") -> TrainingFailed:
    """The failure that `problem` means. batch: how rows were batched, for the advice on memory."""
    if isinstance(problem, TrainingFailed):
        return problem
    if _is_memory(problem):
        return TrainingFailed(
            FailureReason.OUT_OF_MEMORY,
            f"The memory was not enough{f' for {batch}' if batch else ''}. "
            "Lower max_length, switch gradient_checkpointing on, or take a smaller base model.",
        )
    if _is_full_disk(problem):
        return TrainingFailed(
            FailureReason.DISK_FULL,
            "The worker's disk is full. Free space there (old models, ended jobs) and queue the run again.",
        )
    return TrainingFailed(
        FailureReason.INTERNAL_ERROR,
        f"The training ended with an unexpected error ({type(problem).__name__}). "
        "The traceback is kept with the run: send it to whoever maintains the worker.",
    )


def _is_memory(problem: BaseException) -> bool:
    if isinstance(problem, MemoryError) or type(problem).__name__ == "OutOfMemoryError":
        return True
    return isinstance(problem, RuntimeError) and any(mark in str(problem) for mark in CPU_MEMORY + GPU_MEMORY)


def _is_full_disk(problem: BaseException) -> bool:
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    told = isinstance(problem, OSError | RuntimeError | sqlite3.Error) or "Safetensor" in type(problem).__name__
    return told and any(mark in str(problem) for mark in FULL_DISK)
