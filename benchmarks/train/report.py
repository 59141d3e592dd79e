"""train.json, which keeps what was measured, and train.md, which is made of it."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.train.models import DESCRIBED
from benchmarks.train.speed import SETTINGS

Part = dict[str, Any]

# At least so many times as fast as the reference, by device and setting.
GOALS: dict[str, dict[str, dict[str, float]]] = {
    "cpu minilm": {
        "short-512": {"ours, fp32": 8.0, "ours, bf16": 10.0},
        "short-128": {"ours, fp32": 3.0},
        "entities-128": {"ours, fp32": 1.5},
        "entities-256": {"ours, fp32": 1.5},
        "long-512": {"ours, fp32": 1.15},
    },
    "cuda bertbase": {
        "short-512": {"ours, bf16": 6.0},
        "entities-128": {"ours, bf16": 3.0},
        "long-512": {"ours, bf16": 2.5},
        "long-512-by-64": {"ours, bf16": 2.5},
    },
}
EVALUATION_GOALS = {"short-512": 4.0, "entities-128": 2.0, "entities-256": 2.0, "long-512": 1.15}
MOST_PADDING = 0.05
MOST_MEMORY = 1.3
LONGEST_START_S = 15.0
UNITS = {"avx512f": "AVX-512", "avx512_bf16": "bf16", "amx_bf16": "AMX"}  # by the processor's flag
LEAST_SHARE_OF_PEAK = 0.4  # on a GPU, at 512 tokens
TITLES = {"train": "training", "evaluate": "evaluation", "predict": "prediction"}
HEAD = """# Training: our engine against the reference scripts

`make bench-train`, or `python -m benchmarks.train --help` for its parts. Every turn is kept in `train.json`.

The reference is what `run_classification.py` and `run_ner.py` of the transformers examples (as of 5.8.0) do with their
defaults: fp32, batches of 8 where a setting's name says no other, texts padded to `max_seq_length`, entities padded by
batch. Ours is the worker's training child, run from its spec as the worker runs it. Both train the same rows, epochs,
effective batch, `max_length`, learning rate and number of threads, one epoch per turn: all processes are alive at once,
only one works, the order rotates, and a ratio compares two turns of the same round. Given are the median of the rounds
and, in brackets, the smallest and largest. One more turn before them warms up. The time of a checkpoint is in neither
figure. On a CPU a second ratio compares processor time, which suffers less from what else runs on a shared machine.

- *Padding*: share of the sub-tokens that the model computed and that no text has. Both sides must have read exactly the
  same number of real ones, or the measurement fails.
- *Of the peak*: operations of the matrix products on real sub-tokens (backward counts twice the forward), over the
  fastest matrix product of the same precision that this machine made in the same rounds. What ours saves in the last
  layer of a text classifier, whose head reads one sub-token of each text, is not counted for it.
- *Memory*: highest resident size of the process, export of the model included. *Start*: from the start of the process
  to its first step, one process after the other.
- *Prediction*: from text to label, of rows that both sides read whole (the reference cuts longer ones, ours reads them
  in windows)."""


class Results:
    """The two files; a part is replaced as soon as it is measured."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._raw, self._page = folder / "train.json", folder / "train.md"
        self.parts: dict[str, Part] = json.loads(self._raw.read_text()) if self._raw.exists() else {}

    def put(self, kind: str, device: str, model: str, name: str, part: Part) -> None:
        """Keep a part and render the page anew."""
        facts = {"machine": machine(device), "engine": _commit(), "measured": f"{datetime.now(UTC):%Y-%m-%d}"}
        load = {"load": os.getloadavg()[1]} if hasattr(os, "getloadavg") else {}
        self.parts[f"{kind} {device} {model} {name}"] = {**part, **facts, **load}
        self._write()

    def merge(self, path: Path) -> None:
        """Take up the parts of another file."""
        self.parts.update(json.loads(path.read_text()))
        self._write()

    def _write(self) -> None:
        self._raw.write_text(json.dumps(_rounded(dict(sorted(self.parts.items()))), indent=1) + "\n", encoding="utf-8")
        self._page.write_text(page(self.parts), encoding="utf-8")


def page(parts: dict[str, Part]) -> str:
    """train.md."""
    groups: dict[tuple[str, str], dict[str, Part]] = {}
    for key, part in parts.items():
        kind, device, model, name = key.split(" ")
        groups.setdefault((kind, f"{device} {model}"), {})[name] = part
    render = {"speed": _speed_section, "f1": _f1_section, "choose": _choose_section}
    order = sorted(groups, key=lambda group: (list(render).index(group[0]), group[1]))
    goals = list(_goals(groups))
    verdict = ["## Against the goals", *_table(["goal", "found", ""], goals)] if goals else []
    sections = [[HEAD], verdict, *([*render[kind](where, groups[kind, where])] for kind, where in order)]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def speed_lines(name: str, part: Part) -> Iterator[str]:
    """One setting for the console."""
    for phase in TITLES:
        for variant, row in part.get(phase, {}).items():
            yield (
                f"  {name} {phase:8} {variant:15} {row['examples_per_s']:8.1f}/s  {_ratio(row)}  "
                f"cpu {row['cpu_ratio']:.2f}  padding {row['padding']:.1%}"
            )


def machine(device: str) -> str:
    """In words, without names."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    versions = f"Python {platform.python_version()}, {libraries}"
    if device == "cuda":
        import torch

        return f"{torch.cuda.get_device_name()}, {versions}"
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    units = ", ".join(name for flag, name in UNITS.items() if flag in flags)
    return f"{os.cpu_count()} {platform.machine()} cores ({units or 'no AVX-512'}), {versions}"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _table(header: list[str], rows: Iterable[list[str]]) -> list[str]:
    return ["", f"| {' | '.join(header)} |", "|" + " --- |" * len(header), *(f"| {' | '.join(row)} |" for row in rows)]


def _ratio(row: Part) -> str:
    return f"{row['ratio']:.2f} ({row['ratio_min']:.2f} to {row['ratio_max']:.2f})"


def _speed_section(where: str, settings: dict[str, Part]) -> Iterator[str]:
    device, model = where.split()
    yield f"## Speed: {DESCRIBED[model]}, {'GPU' if device == 'cuda' else 'CPU'}"
    for name, part in sorted(settings.items(), key=lambda item: _order(item[0])):
        yield ""
        yield f"### {name}"
        yield ""
        peaks = part["peak_flops"]
        yield (
            f"{_provenance(part)} Rows: {_sizes(part)}; {part['rounds']} rounds. Fastest matrix product: "
            f"{peaks['fp32'] / 1e9:,.0f} GFLOP/s in fp32, {peaks['bf16'] / 1e9:,.0f} in bf16."
        )
        yield from _table(
            ["", "variant", "examples/s", "ratio", *(["processor time"] if device == "cpu" else []), "padding"],
            (
                [TITLES[phase], name, *_phase_cells(row, device)]
                for phase in TITLES
                for name, row in part.get(phase, {}).items()
            ),
        )
        header = [
            "training",
            "of the peak",
            "memory, MiB",
            *(["GPU memory, MiB"] if device == "cuda" else []),
            "start, s",
        ]
        yield from _table(header, ([name, *_process_cells(row, device)] for name, row in part["train"].items()))


def _phase_cells(row: Part, device: str) -> list[str]:
    processor = [f"{row['cpu_ratio']:.2f}"] if device == "cpu" else []
    return [f"{row['examples_per_s']:,.1f}", _ratio(row), *processor, f"{row['padding']:.1%}"]


def _process_cells(row: Part, device: str) -> list[str]:
    gpu = [f"{row['gpu_mib']:,.0f}"] if device == "cuda" else []
    return [f"{row['share_of_peak']:.0%}", f"{row['memory_mib']:,.0f}", *gpu, f"{row['startup_s']:.0f}"]


def _f1_section(where: str, sets: dict[str, Part]) -> Iterator[str]:
    yield f"## F1 on the same test rows: {DESCRIBED[where.split()[1]]}"
    yield ""
    yield (
        "Mean and standard deviation over the seeds; distinct texts; all hyperparameters equal. Texts: macro F1; "
        "entities: F1 of whole entities over all words, those that were cut away included."
    )
    header = ["set", "rows", "majority class", "reference", "ours", "difference", "by seed: reference; ours"]
    yield from _table(header, (_f1_row(name, part) for name, part in sets.items()))
    yield from _provenances(sets)


def _f1_row(name: str, part: Part) -> list[str]:
    reference, ours = part["f1"]["reference"], part["f1"]["ours"]
    seeds = "; ".join(" ".join(f"{score:.3f}" for score in scores) for scores in (reference, ours))
    difference = statistics.mean(ours) - statistics.mean(reference)
    majority = f"{part['majority']:.4f}" if "majority" in part else ""
    return [name, _sizes(part), majority, _spread(reference), _spread(ours), f"{difference:+.4f}", seeds]


def _choose_section(where: str, sets: dict[str, Part]) -> Iterator[str]:
    yield f"## Choice of the defaults: {DESCRIBED[where.split()[1]]}"
    yield ""
    yield (
        "Our defaults, but at the learning rate of the set (at the default one so small a model learns next to nothing "
        "in so few steps), and one of them changed at a time: mean F1 (and accuracy) of the test rows over the seeds."
    )
    names = list(dict.fromkeys(choice["changes"] for part in sets.values() for choice in part["choices"]))
    by_set = {kind: {choice["changes"]: choice for choice in part["choices"]} for kind, part in sets.items()}
    rows = ([name, *(_choice(choices.get(name)) for choices in by_set.values())] for name in names)
    yield from _table(["", *by_set], rows)
    yield from _provenances(sets)


def _choice(choice: Part | None) -> str:
    return f"{_spread(choice['f1'])} ({statistics.mean(choice['accuracy']):.3f})" if choice else ""


def _provenances(sets: dict[str, Part]) -> Iterator[str]:
    yield ""
    for name, part in sets.items():
        facts = f"max_length {part['max_length']}, {part['epochs']} epochs"
        facts += f", learning rate {part['learning_rate']:g}" if "learning_rate" in part else ""
        yield f"- {name}: {_sizes(part)} rows, {facts}. {_provenance(part)}"


def _provenance(part: Part) -> str:
    threads = f", {part['threads']} thread{'s' * (part['threads'] > 1)} per process" if part["threads"] else ""
    engine = f"; engine {part['engine']}" if part["engine"] else ""
    load = f", load average {part['load']:.1f} with ourselves" if "load" in part else ""
    return f"Data: {part['data']}. Machine: {part['machine']}{threads}{load}; {part['measured']}{engine}."


def _sizes(part: Part) -> str:
    return " / ".join(f"{size:,}" for size in part["rows"].values())


def _spread(scores: list[float]) -> str:
    deviation = statistics.stdev(scores) if len(scores) > 1 else 0.0
    return f"{statistics.mean(scores):.4f} ± {deviation:.4f}"


def _order(name: str) -> int:
    return list(SETTINGS).index(name) if name in SETTINGS else len(SETTINGS)


def _goals(groups: dict[tuple[str, str], dict[str, Part]]) -> Iterator[list[str]]:
    for (kind, where), parts in sorted(groups.items(), key=lambda group: (group[0][0] == "f1", group[0][1])):
        for name, part in sorted(parts.items(), key=lambda item: _order(item[0])):
            if kind == "speed" and where in GOALS:
                yield from _speed_goals(where, name, part)
            elif kind == "f1":
                yield _f1_goal(name, part)


def _speed_goals(where: str, name: str, part: Part) -> Iterator[list[str]]:
    device = where.split()[0]
    for variant, least in GOALS[where].get(name, {}).items():
        if row := part["train"].get(variant):
            title = f"{device}: training {name}, {variant.removeprefix('ours, ')}: at least {least:g} times"
            yield _judged_ratio(title, device, row, least)
    if device == "cuda":
        yield from _share_goals(name, part["train"])
    ours = {variant: row for variant, row in part["train"].items() if variant.startswith("ours")}
    if device == "cpu":
        for phase in ("evaluate", "predict"):
            yield from _evaluation_goals(phase, name, part.get(phase, {}))
        base = part["train"]["reference, fp32"]["memory_mib"]
        memory = max(row["memory_mib"] for row in ours.values()) / max(base, 1.0)
        yield _judged(f"cpu: memory {name}: at most {MOST_MEMORY} times", f"{memory:.2f}", memory <= MOST_MEMORY)
        start = max(row["startup_s"] for row in ours.values())
        yield _judged(f"cpu: start {name}: under {LONGEST_START_S:.0f} s", f"{start:.0f} s", start < LONGEST_START_S)
    padding = max(row["padding"] for row in ours.values())
    yield _judged(f"{device}: padding {name}: at most {MOST_PADDING:.0%}", f"{padding:.1%}", padding <= MOST_PADDING)


def _evaluation_goals(phase: str, name: str, rows: Part) -> Iterator[list[str]]:
    """In each precision: the reference has fp32, ours takes by itself bf16 where the processor has it."""
    for variant, row in rows.items():
        if variant.startswith("ours") and (least := EVALUATION_GOALS.get(name)):
            title = f"cpu: {TITLES[phase]} {name}, {variant.removeprefix('ours, ')}: at least {least:g} times"
            yield _judged_ratio(title, "cpu", row, least)


def _share_goals(name: str, rows: Part) -> Iterator[list[str]]:
    if name.startswith("long-512") and (row := rows.get("ours, bf16")):
        share = row["share_of_peak"]
        title = f"cuda: {name}: at least {LEAST_SHARE_OF_PEAK:.0%} of the bf16 peak"
        yield _judged(title, f"{share:.0%}", share >= LEAST_SHARE_OF_PEAK)


def _f1_goal(name: str, part: Part) -> list[str]:
    reference, ours = part["f1"]["reference"], part["f1"]["ours"]
    below = statistics.mean(reference) - statistics.mean(ours)
    spread = statistics.stdev(reference) if len(reference) > 1 else 0.0
    title = f"F1 {name}: not below the reference by more than its standard deviation over seeds ({spread:.4f})"
    if statistics.mean(reference) - spread <= part.get("majority", 0.0):
        return [title, f"{-below:+.4f}, but the reference learned nothing: see majority class", "unclear"]
    return _judged(title, f"{-below:+.4f}", below <= spread)


def _judged_ratio(goal: str, device: str, row: Part, least: float) -> list[str]:
    """On a CPU, wall and processor time must agree: a neighbour's pause makes anyone look fast."""
    ratios = [row["ratio"], *([row["cpu_ratio"]] if device == "cpu" else [])]
    met = [ratio >= least for ratio in ratios]
    found = _ratio(row) + (f"; processor time {row['cpu_ratio']:.2f}" if device == "cpu" else "")
    return _judged(goal, found, all(met)) if all(met) or not any(met) else [goal, found, "unclear"]


def _judged(goal: str, found: str, met: bool) -> list[str]:
    return [goal, found, "met" if met else "**missed**"]
