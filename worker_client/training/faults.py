"""From any exception to a reason and a sentence that a person can act on."""

import errno

from worker_client.errors import FailureReason, TrainingFailed
from worker_client.reserve import is_full_disk

CPU_MEMORY = ("DefaultCPUAllocator", "not enough memory", "can't allocate memory", "Cannot allocate memory")
NO_PAGING_FILE = 1455  # Windows: ERROR_COMMITMENT_LIMIT
# The first is what allocator, runtime, driver and NCCL say. cuBLAS that is "not initialized" is left out: it may be
# want of memory, and other things as often.
GPU_MEMORY = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
FULL_DISK = (
    "No space left on device",
    "PytorchStreamWriter failed writing file",
    "unexpected pos",
)


def explain(problem: BaseException) -> TrainingFailed:
    """The failure that `problem` means. Where the run's numbers are known, memory.Memory says more."""
    if isinstance(problem, TrainingFailed):
        return problem
    if is_memory(problem):
        return TrainingFailed(
            FailureReason.OUT_OF_MEMORY,
            "The memory was not enough. "
            "Lower max_length, switch gradient_checkpointing on, or take a smaller base model.",
        )
    if _is_full_disk(problem):
        return TrainingFailed(
            FailureReason.DISK_FULL,
            "The worker's disk is full. Free some space there (old models, ended jobs).",
        )
    return TrainingFailed(
        FailureReason.INTERNAL_ERROR,
        f"The training ended with an unexpected error ({type(problem).__name__}). "
        "The traceback is kept with the run: send it to whoever maintains the worker.",
    )


def not_a_number(what: str, step: int) -> TrainingFailed:
    """what: whose loss it is, in the words of a sentence."""
    return TrainingFailed(
        FailureReason.NAN_LOSS,
        f"The {what} loss is no longer a number at step {step}. "
        "Lower the learning rate, raise warmup_ratio, or use precision fp32.",
    )


def is_memory(problem: BaseException) -> bool:
    """Whether the device or the machine had no memory left."""
    if isinstance(problem, MemoryError) or type(problem).__name__ == "OutOfMemoryError":
        return True
    if isinstance(problem, OSError):
        return problem.errno == errno.ENOMEM or getattr(problem, "winerror", None) == NO_PAGING_FILE
    return isinstance(problem, RuntimeError) and any(mark in str(problem) for mark in CPU_MEMORY + GPU_MEMORY)


def _is_full_disk(problem: BaseException) -> bool:
    if is_full_disk(problem):
        return True
    told = isinstance(problem, OSError | RuntimeError) or "Safetensor" in type(problem).__name__
    return told and any(mark in str(problem) for mark in FULL_DISK)
