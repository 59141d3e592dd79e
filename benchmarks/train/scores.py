"""F1 instead of seconds: ours against the reference over several seeds, and the study behind our defaults."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.train import sheets
from benchmarks.train.race import QUIET, Racer, started
from benchmarks.train.reference import Job
from benchmarks.train.speed import REFERENCE_HYPERPARAMETERS, prepare_ours
from worker_client.settings import child_environment
from worker_client.workspace import Workspace


@dataclass(frozen=True)
class Task:
    """How a set is learned: rows for training, validation and test, of distinct texts."""

    sizes: tuple[int, int, int]
    max_length: int
    epochs: int
    choice_epochs: int  # of the study of our defaults, whose batches are larger: as many steps take more epochs
    learning_rate: float = 2e-4  # of both sides: at the scripts' 5e-5 so small a model learns little in so few steps


# The class of a long text, a court's decision, is told in its first lines: more rows teach more than more of each.
TASKS = {
    "short": Task((1000, 200, 600), 128, epochs=3, choice_epochs=3),
    "entities": Task((800, 160, 600), 128, epochs=3, choice_epochs=6),
    "long": Task((400, 100, 300), 128, epochs=5, choice_epochs=8),
}

# Tried one by one against our defaults with the learning rate of the set.
CHOICES: list[dict[str, Any]] = [
    {},
    {"class_weights": "balanced"},
    {"label_smoothing": 0.1},
    {"layer_lr_decay": 0.9},
    {"learning_rate": 5e-5},
    {"learning_rate": 1e-4},
    {"learning_rate": 4e-4},
]


@dataclass
class Place:
    """The rows and the model of a set, and where it runs."""

    kind: str
    folder: Path  # of the model
    device: str
    threads: int
    data: Path | None
    work: Path
    rows: int = 0  # for training, the other parts in proportion; 0: as the set's table says

    def __post_init__(self) -> None:
        self.task = TASKS[self.kind]
        self.source = sheets.load(self.kind, self.data)
        share = self.rows / self.task.sizes[0] if self.rows else 1.0
        sizes = [int(size * share) for size in self.task.sizes]
        self.parts = sheets.draw(self.source, sizes, distinct=True)
        self.sheet = sheets.write(self.work / "rows.xlsx", self.source.task, self.parts)

    def described(self, epochs: int) -> dict[str, Any]:
        """For the report."""
        return {
            "data": self.source.described,
            "rows": {name: len(part) for name, part in self.parts.items()},
            "max_length": self.task.max_length,
            "epochs": epochs,
        }

    def ours(self, name: str, seed: int, hyperparameters: dict[str, Any]) -> dict[str, float]:
        """The test figures of a whole run of the child."""
        values = {"epochs": self.task.epochs, "max_length": self.task.max_length, **hyperparameters}
        workspace = prepare_ours(
            self.work / f"ours {name} {seed}",
            rows=self.source,
            sheet=self.sheet,
            model=self.folder,
            device=self.device,
            hyperparameters=values,
            seed=seed,
        )
        return self._run(workspace)

    def reference(self, seed: int) -> float:
        """The test F1 of the script. Batches are padded to their longest row, which changes the time alone."""
        job = Job(
            task=self.source.task,
            sheet=str(self.sheet),
            labels=self.source.labels,
            model=str(self.folder),
            max_length=self.task.max_length,
            epochs=self.task.epochs,
            output=str(self.work / f"reference {seed}"),
            device=self.device,
            seed=seed,
            learning_rate=self.task.learning_rate,
            evaluate=False,
            pad_to_max_length=False,
        ).write(self.work / f"reference-{seed}.json")
        command = ["benchmarks.train.reference", "score", str(job)]
        racer = Racer("reference", command, log=self.work / "reference.log", threads=self.threads)
        with started(racer):
            return float(racer.read()["f1"])

    def _run(self, workspace: Workspace) -> dict[str, float]:
        limit = {"OMP_NUM_THREADS": str(self.threads)} if self.threads else {}
        command = [sys.executable, "-m", "worker_client.training", str(workspace.root)]
        subprocess.run(command, env=child_environment(**QUIET, **limit), check=False, capture_output=True)
        outcome = workspace.read_outcome()
        if outcome is None or outcome.status != "completed":
            raise SystemExit(f"the child did not complete: {outcome and outcome.message}")
        return dict(outcome.metrics)


def parity(place: Place, seeds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """F1 of both sides on the same test rows, seed by seed, all else equal."""
    equal = {**REFERENCE_HYPERPARAMETERS, "learning_rate": place.task.learning_rate, "precision": "fp32"}
    found: dict[str, list[float]] = {"reference": [], "ours": []}
    majority = 0.0
    for seed in range(1, seeds + 1):
        found["reference"].append(place.reference(seed))
        figures = place.ours("parity", seed, equal)
        found["ours"].append(figures["f1"])
        majority = figures["baseline_f1"]  # of the same rows whatever the seed
        say(f"{place.kind}, seed {seed}: reference {found['reference'][-1]:.4f}, ours {found['ours'][-1]:.4f}")
    described = {**place.described(place.task.epochs), "learning_rate": place.task.learning_rate}
    return {**described, "majority": majority, "f1": found}


def choose(place: Place, seeds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """F1 of our engine with its defaults but the learning rate of the set, and with one of them changed."""
    usual = {"learning_rate": place.task.learning_rate, "epochs": place.task.choice_epochs}
    found = []
    for changes in CHOICES:
        name = ", ".join(f"{key} {value}" for key, value in changes.items()) or "defaults"
        runs = [place.ours(name, seed, {**usual, **changes}) for seed in range(1, seeds + 1)]
        figures = {figure: [run[figure] for run in runs] for figure in ("f1", "accuracy")}
        found.append({"changes": name, **figures})
        say(f"{place.kind}, {name}: {' '.join(f'{score:.4f}' for score in figures['f1'])}")
    return {**place.described(place.task.choice_epochs), **usual, "choices": found}
