"""In a measured process: it trains one epoch per turn, says how long that took, and waits for the next turn.

A turn is given and reported as a line of JSON on stdin and stdout, so all variants are alive at once and only one of
them works at any time.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any


class Channel:
    """The two pipes to the driver. What libraries print goes to stderr, which is the log."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)

    def tell(self, **facts: Any) -> None:
        """One report."""
        self._out.write(json.dumps(facts) + "\n")

    def wait(self) -> None:
        """Until it is our turn; ends the process when the driver is gone."""
        if not sys.stdin.readline():
            os._exit(1)


class Meter:
    """Counts sub-tokens where every engine, padded or not, must pass: at the model's word embedding."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Count from zero."""
        self._counts: dict[bool, list[Any]] = {True: [0, 0], False: [0, 0]}

    def watch(self, model: Any) -> None:
        """model: of any family; the embedding with the most rows is that of the words."""
        from torch.nn import Embedding

        tables = [module for module in model.modules() if isinstance(module, Embedding)]
        max(tables, key=lambda table: table.num_embeddings).register_forward_pre_hook(self._count)

    def read(self, *, training: bool) -> dict[str, int]:
        """Sub-tokens of texts, and with padding."""
        real, computed = self._counts[training]
        return {"real": int(real), "computed": int(computed)}

    def _count(self, table: Any, inputs: tuple[Any, ...]) -> None:
        counts = self._counts[table.training]
        # Stays a tensor until the turn is over: a GPU must not wait for our counting.
        counts[0] = counts[0] + (inputs[0] != table.padding_idx).sum()
        counts[1] += inputs[0].numel()


class Stopwatch:
    """Seconds of the wall and of the processor since the last look."""

    def __init__(self) -> None:
        self.look()

    def look(self) -> dict[str, float]:
        """Waits for a GPU to have done what it was told."""
        import torch

        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        now = time.perf_counter(), time.process_time()
        before, self._at = getattr(self, "_at", now), now
        return {"s": now[0] - before[0], "cpu_s": now[1] - before[1]}


def peak_memory() -> dict[str, float]:
    """Highest resident size of this process (Linux: VmHWM, which a child does not inherit) and of its GPU tensors."""
    import torch

    status = Path("/proc/self/status")
    resident = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else 0
    return {"memory_mib": int(resident[1]) / 1024 if resident else 0.0, "gpu_mib": gpu / 2**20}


def take_part(channel: Channel) -> None:
    """Every Trainer of this process trains by turns from now on, whoever builds it."""
    from transformers import TrainerCallback, trainer

    class Turns(TrainerCallback):
        """The turn begins with an epoch and ends before the next: training and evaluation are timed apart."""

        def __init__(self) -> None:
            self.meter = Meter()
            self.report: dict[str, Any] = {"ready": True}

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.meter.watch(kwargs["model"])

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            channel.tell(**self.report)
            channel.wait()
            self.meter.restart()
            self.stopwatch = Stopwatch()

        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.report = {"train": {**self.stopwatch.look(), **self.meter.read(training=True)}}
            self.stopwatch.look()

        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.report["evaluate"] = {**self.stopwatch.look(), **self.meter.read(training=False)}

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            channel.tell(**self.report)
            channel.wait()  # what comes after the training must not disturb the others' last turn

    trainer.DEFAULT_CALLBACKS.append(Turns())
