"""Examples per second of training, evaluation and prediction: ours and the reference in turns, on the same rows."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.train import models, sheets
from benchmarks.train.race import Racer, race, started
from benchmarks.train.reference import Job
from worker_client.formats import TEXT_CLASSIFICATION, TOKEN_CLASSIFICATION, Record
from worker_client.protocol import TrainingSpec
from worker_client.workspace import Workspace

REFERENCE = "reference, fp32"


@dataclass(frozen=True)
class Setting:
    """What is measured. rows: for training, for evaluation and for prediction each, on a CPU with MiniLM."""

    data: str
    max_length: int
    rows: int
    batch_size: int = 8  # the scripts' default
    devices: tuple[str, ...] = ("cpu", "cuda")
    gpu_gib: int = 0  # what three variants that are alive at once need of a GPU


SETTINGS = {
    "short-512": Setting("short", 512, 96),
    "short-128": Setting("short", 128, 256),
    "entities-128": Setting("entities", 128, 256),
    "entities-256": Setting("entities", 256, 256, devices=("cpu",)),  # a GPU is lent by the minute
    "long-512": Setting("long", 512, 48),
    # Eight rows do not fill a large GPU: its kernels may end before the next is asked for.
    "long-512-by-64": Setting("long", 512, 96, batch_size=64, devices=("cuda",), gpu_gib=100),
}

# How many times the rows: a round should take seconds to a minute.
SCALE = {("cpu", "minilm"): 1.0, ("cpu", "bertbase"): 1 / 6, ("cuda", "minilm"): 16.0, ("cuda", "bertbase"): 8.0}


def usual(device: str) -> list[str]:
    """The settings that are measured when none is named."""
    room = gpu_gib() if device == "cuda" else 0.0
    return [name for name, setting in SETTINGS.items() if device in setting.devices and setting.gpu_gib <= room]


def gpu_gib() -> float:
    """Of the GPU that is measured."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory / 2**30


@dataclass(frozen=True)
class Plan:
    """One measurement and where it takes place."""

    setting: Setting
    model: str
    folder: Path  # of the model
    device: str
    rounds: int
    threads: int
    rows: int
    data: Path | None
    work: Path
    quick: bool = False  # one variant of ours, no prediction


def measure(plan: Plan) -> dict[str, Any]:
    """The figures of a setting: `train`, `evaluate` and `predict`, each a row per variant."""
    rows = sheets.load(plan.setting.data, plan.data)
    parts = sheets.draw(rows, (plan.rows, plan.rows, plan.rows))
    sheet = sheets.write(plan.work / "rows.xlsx", rows.task, parts)
    course = _Course(plan, rows, parts, sheet)
    peaks = Racer("peak", ["benchmarks.train.peak", plan.device], log=plan.work / "peak.log", threads=plan.threads)
    with started(peaks):
        first = peaks.turn()
        found = course.train(peaks, has_bf16=first["bf16"] > 1.2 * first["fp32"])
    return {**found, "data": rows.described, "rows": {name: len(part) for name, part in parts.items()}}


class _Course:
    """The processes of one setting."""

    def __init__(self, plan: Plan, rows: sheets.Rows, parts: dict[str, list[Record]], sheet: Path) -> None:
        self.plan, self.rows, self.parts, self.sheet = plan, rows, parts, sheet
        self.cuda = plan.device == "cuda"
        # Side by side on a GPU's machine, which has cores to spare and where the start is not judged.
        self.at_once = plan.quick or self.cuda

    def train(self, peaks: Racer, *, has_bf16: bool) -> dict[str, Any]:
        """Training and evaluation, then prediction with the model that ours exported."""
        racers = [self._reference("train", REFERENCE)]
        if self.cuda:
            racers += [self._reference("train", "reference, bf16", bf16=True), self._ours("bf16")]
        else:
            precisions = ["fp32", "bf16"] if has_bf16 and not self.plan.quick else ["fp32"]
            racers += [self._ours(precision) for precision in precisions]
        with started(*racers, at_once=self.at_once) as startup:
            found = race([*racers, peaks], self.plan.rounds)
            memory = {racer.name: racer.turn() for racer in racers}
        figures = self._figures(found, startup, memory)
        if not self.plan.quick:
            figures["predict"] = self._predict()
        return figures

    def _figures(self, found: dict[str, Any], startup: dict[str, float], memory: dict[str, Any]) -> dict[str, Any]:
        peaks = found.pop("peak")
        peak = {kind: max(report[kind] for report in peaks) for kind in ("fp32", "bf16")}
        train = _compare(found, "train", len(self.parts["train"]), same_work=sum(self._lengths("train")))
        for name, row in train.items():
            row["share_of_peak"] = 3 * self._work(name) / row["s"] / peak[name[-4:]]
            row["startup_s"] = startup[name]
            row.update(memory[name])
        evaluate = _compare(found, "evaluate", len(self.parts["validation"]), sum(self._lengths("validation")))
        return {"train": train, "evaluate": evaluate, "peak_flops": peak}

    def _work(self, name: str) -> float:
        """Operations of a pass over the training part that are not for nothing: ours computes what the head reads."""
        is_narrow = name.startswith("ours") and self.rows.task == TEXT_CLASSIFICATION
        return models.SHAPES[self.plan.model].flops(self._lengths("train"), reads_first=is_narrow)

    def _predict(self) -> dict[str, Any]:
        """Of rows that both sides read whole: where the reference cuts, ours reads on in windows."""
        whole = [
            record
            for record, length in zip(self.parts["test"], self._lengths("test", 1 << 30), strict=True)
            if length <= self.plan.setting.max_length
        ]
        sheet = sheets.write(self.plan.work / "predict.xlsx", self.rows.task, {**self.parts, "test": whole})
        name = f"ours, {'bf16' if self.cuda else 'fp32'}"  # `predict` reads in the precision of the training
        folder = self.plan.work / name.replace(",", "") / "models" / "run-1"
        ours = ["benchmarks.train.ours", "predict", str(folder), str(sheet), self.rows.task, self.plan.device]
        racers = [
            self._reference("predict", REFERENCE, sheet=str(sheet), model=str(folder)),
            Racer(name, ours, log=self.plan.work / "predict.log", threads=self.plan.threads),
        ]
        with started(*racers, at_once=self.at_once):
            return _compare(race(racers, self.plan.rounds), "predict", len(whole))

    def _lengths(self, part: str, max_length: int = 0) -> list[int]:
        texts = [list(record.tokens) or record.text for record in self.parts[part]]
        return models.lengths(self.plan.folder, texts, max_length or self.plan.setting.max_length)

    def _reference(self, what: str, name: str, **changes: Any) -> Racer:
        plan = self.plan
        folder = plan.work / f"{what} {name}"
        folder.mkdir()
        facts: dict[str, Any] = {
            "task": self.rows.task,
            "sheet": str(self.sheet),
            "labels": self.rows.labels,
            "model": str(self.plan.folder),
            "max_length": plan.setting.max_length,
            "epochs": plan.rounds + 1,
            "output": str(folder),
            "device": plan.device,
            "batch_size": plan.setting.batch_size,
        }
        job = Job(**{**facts, **changes}).write(folder / "job.json")
        command = ["benchmarks.train.reference", what, str(job)]
        return Racer(name, command, log=folder / "log", threads=plan.threads)

    def _ours(self, precision: str) -> Racer:
        workspace = prepare_ours(
            self.plan.work / f"ours {precision}",
            rows=self.rows,
            sheet=self.sheet,
            model=self.plan.folder,
            device=self.plan.device,
            hyperparameters={
                **REFERENCE_HYPERPARAMETERS,
                "batch_size": self.plan.setting.batch_size,
                "epochs": self.plan.rounds + 1,
                "max_length": self.plan.setting.max_length,
                "precision": precision,
            },
        )
        command = ["benchmarks.train.ours", "train", str(workspace.root)]
        return Racer(f"ours, {precision}", command, log=workspace.child_log_path, threads=self.plan.threads)


# The scripts' defaults in our words.
REFERENCE_HYPERPARAMETERS: dict[str, Any] = {
    "learning_rate": 5e-5,
    "batch_size": 8,
    "weight_decay": 0.0,
    "warmup_ratio": 0.0,
    "early_stopping_patience": 0,
    "save_every_minutes": 0,
}


def prepare_ours(
    folder: Path,
    *,
    rows: sheets.Rows,
    sheet: Path,
    model: Path,
    device: str,
    hyperparameters: dict[str, Any],
    seed: int = 42,
) -> Workspace:
    """The workspace of an attempt, as the runner prepares it."""
    words = rows.task == TOKEN_CLASSIFICATION
    workspace = Workspace.create(folder, 1, 1)
    workspace.write_spec(
        TrainingSpec(
            job_id=1,
            attempt=1,
            run_id=1,
            run_name="benchmark",
            task_type=rows.task,  # type: ignore[arg-type]
            base_model=model.name,
            base_model_revision="",
            base_model_dir=str(model),
            seed=seed,
            hyperparameters=hyperparameters,
            dataset_path=str(sheet),
            dataset_sha256=hashlib.sha256(sheet.read_bytes()).hexdigest(),
            dataset_filename=sheet.name,
            sheet="dados",
            columns={role: role for role in (("tokens", "tags") if words else ("text", "label"))},
            labels=rows.labels,
            repair_bio=False,
            model_dir=str(folder / "models" / "run-1"),
            checkpoints_dir=str(workspace.checkpoints_dir),
            device=device,
        )
    )
    return workspace


def _compare(found: dict[str, list[dict[str, Any]]], phase: str, rows: int, same_work: int = 0) -> dict[str, Any]:
    """Per variant: examples per second, and the ratio to the reference within each round."""
    turns = {name: [report[phase] for report in reports] for name, reports in found.items()}
    _check_work(turns, same_work)
    base = turns[REFERENCE]
    return {name: _row(base, own, rows) for name, own in turns.items()}


def _row(base: list[dict[str, Any]], own: list[dict[str, Any]], rows: int) -> dict[str, Any]:
    ratios = [b["s"] / o["s"] for b, o in zip(base, own, strict=True)]
    seconds = statistics.median(turn["s"] for turn in own)
    return {
        "s": seconds,
        "examples_per_s": rows / seconds,
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "cpu_ratio": statistics.median(b["cpu_s"] / o["cpu_s"] for b, o in zip(base, own, strict=True)),
        "padding": 1 - sum(turn["real"] for turn in own) / sum(turn["computed"] for turn in own),
        "turns": own,
    }


def _check_work(turns: dict[str, list[dict[str, Any]]], same_work: int) -> None:
    """Whoever reads fewer sub-tokens than the texts have is not faster, but lazier."""
    for name, own in turns.items():
        read = {turn["real"] for turn in own}
        wanted: Iterable[int] = {same_work} if same_work else {turns[REFERENCE][0]["real"]}
        if read != set(wanted):
            raise SystemExit(f"{name} read {sorted(read)} sub-tokens where the rows have {sorted(wanted)}")
