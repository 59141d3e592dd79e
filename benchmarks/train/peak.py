"""What the machine's matrix products reach, asked in each round: `python -m benchmarks.train.peak cpu|cuda`."""

from __future__ import annotations

import sys
import time

import torch

from benchmarks.train.turns import Channel, Stopwatch

SIZE = {"cpu": 2048, "cuda": 8192}
SECONDS = 0.5


def rate(dtype: torch.dtype, device: str) -> float:
    """Floating-point operations per second of the fastest of some products of square matrices."""
    size = SIZE[device]
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    torch.mm(a, b)
    best = 0.0
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        stopwatch = Stopwatch()
        torch.mm(a, b)
        best = max(best, 2 * size**3 / stopwatch.look()["s"])
    return best


def main(device: str) -> None:
    """By turns, like the others."""
    channel = Channel()
    channel.tell(ready=True)
    while True:
        channel.wait()
        channel.tell(fp32=rate(torch.float32, device), bf16=rate(torch.bfloat16, device))


if __name__ == "__main__":
    main(sys.argv[1])
