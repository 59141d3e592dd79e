"""From any exception to a reason and a sentence that a person can act on."""

from worker_client.errors import FailureReason, TrainingFailed
from worker_client.reserve import is_full_disk

CPU_MEMORY = ("DefaultCPUAllocator", "not enough memory", "can't allocate memory")
GPU_MEMORY = ("CUDA out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
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
            "The worker's disk is full. Free space there (old models, ended jobs) and queue the run again.",
        )
    return TrainingFailed(
        FailureReason.INTERNAL_ERROR,
        f"The training ended with an unexpected error ({type(problem).__name__}). "
        "The traceback is kept with the run: send it to whoever maintains the worker.",
    )


def is_memory(problem: BaseException) -> bool:
    """Whether the device or the machine had no memory left."""
    if isinstance(problem, MemoryError) or type(problem).__name__ == "OutOfMemoryError":
        return True
    return isinstance(problem, RuntimeError) and any(mark in str(problem) for mark in CPU_MEMORY + GPU_MEMORY)


def _is_full_disk(problem: BaseException) -> bool:
    if is_full_disk(problem):
        return True
    told = isinstance(problem, OSError | RuntimeError) or "Safetensor" in type(problem).__name__
    return told and any(mark in str(problem) for mark in FULL_DISK)
