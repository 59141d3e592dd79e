"""Every way to fail has a reason of the contract and a sentence; figures of epochs come from the history."""

import errno
import sqlite3
from pathlib import Path

import pytest
import torch

from worker_client.errors import FailureReason, TrainingFailed
from worker_client.training.callbacks import epoch_points
from worker_client.training.faults import explain

CPU_REFUSAL = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"


def no_paging_file():
    """As Windows refuses memory."""
    problem = OSError(errno.EINVAL, "The paging file is too small for this operation to complete")
    problem.winerror = 1455
    return problem


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory"),
        (RuntimeError("CUDA driver error: out of memory"), "out_of_memory"),
        (RuntimeError("NCCL error: unhandled cuda error. Last error: Cuda failure 2 'out of memory'"), "out_of_memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "out_of_memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "out_of_memory"),
        (RuntimeError(CPU_REFUSAL), "out_of_memory"),
        (RuntimeError("unable to mmap 436347736 bytes from file: Cannot allocate memory (12)"), "out_of_memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out_of_memory"),
        (no_paging_file(), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (sqlite3.OperationalError("database or disk is full"), "disk_full"),
        (RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"), "disk_full"),
        (OSError(errno.EACCES, "Permission denied"), "internal_error"),
        (RuntimeError("shape mismatch"), "internal_error"),
        (TrainingFailed(FailureReason.NAN_LOSS, "as it is"), "nan_loss"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_problem_has_its_reason(problem, reason):
    assert explain(problem).reason == reason


def test_a_real_refusal_of_the_cpu_allocator_is_out_of_memory():
    with pytest.raises(RuntimeError) as refused:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert explain(refused.value).reason == FailureReason.OUT_OF_MEMORY


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_checkpoint_that_finds_no_room_is_disk_full():
    with pytest.raises(RuntimeError) as refused:
        torch.save({"weights": torch.zeros(300_000)}, "/dev/full")
    assert explain(refused.value).reason == FailureReason.DISK_FULL


def test_a_failure_never_repeats_what_an_unexpected_error_says():
    assert "segredo" not in explain(ValueError("segredo do processo")).message


def test_the_train_loss_of_an_epoch_is_the_mean_over_its_steps_whenever_it_was_logged():
    history = [
        {"loss": 2.0, "learning_rate": 0.2, "epoch": 0.75, "step": 3},
        {"loss": 1.0, "learning_rate": 0.1, "epoch": 1.0, "step": 4},
        {"eval_loss": 0.9, "eval_f1": 0.5, "epoch": 1.0, "step": 4},
        {"loss": 0.5, "learning_rate": 0.0, "epoch": 2.0, "step": 8},
        {"eval_loss": 0.8, "eval_f1": 0.6, "epoch": 2.0, "step": 8},
        {"train_loss": 1.0, "epoch": 2.0, "step": 8},
    ]
    points = epoch_points(history)
    assert [(point["split"], point["step"]) for point in points] == [
        ("train", 4),
        ("validation", 4),
        ("train", 8),
        ("validation", 8),
    ]
    assert points[0]["values"]["loss"] == pytest.approx(1.75)
    assert points[3]["values"] == {"loss": 0.8, "f1": 0.6}
