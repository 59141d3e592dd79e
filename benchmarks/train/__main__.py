"""Our training engine against the reference scripts: seconds, F1, and the study behind our defaults.

    python -m benchmarks.train                               every setting, MiniLM on this CPU
    python -m benchmarks.train --only short-512 --rounds 5
    python -m benchmarks.train --f1 --seeds 5                F1 of both sides on the same test rows
    python -m benchmarks.train --choose --seeds 2            class weights, label smoothing, learning rates
    python -m benchmarks.train --device cuda --out DIR       a GPU: BERT-base shape, nothing fetched, under 10 minutes
    python -m benchmarks.train --merge DIR/train.json        take up what was measured on another machine

Needs the worker's dependencies. Results: train.json, which keeps every turn, and train.md, which is made of it; a run
replaces only the parts that it measured. Without `--data` the bundled sheets are used; long texts are not bundled, so
short ones are joined.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.train import models, report, scores, sheets, speed

RESULTS = Path(__file__).resolve().parents[1] / "results"


def main() -> None:
    """Measure what is asked for, part by part; each is written as soon as it is known."""
    asked = _parse()
    results = report.Results(asked.out)
    if asked.merge:
        results.merge(asked.merge)
        return
    kind = "f1" if asked.f1 else "choose" if asked.choose else "speed"
    run = _speed if kind == "speed" else _score
    with tempfile.TemporaryDirectory(prefix="bench-train-") as root:
        model = models.model_folder(asked.model, sheets.texts(asked.data), Path(root))
        for name in asked.only or (speed.usual(asked.device) if kind == "speed" else scores.TASKS):
            began = time.monotonic()
            with tempfile.TemporaryDirectory(dir=root) as work:
                part = run(asked, name, model, Path(work))
            results.put(kind, asked.device, asked.model, name, {**part, "threads": asked.threads})
            print(f"{kind} {name}: {time.monotonic() - began:.0f} s", flush=True)


def _speed(asked: argparse.Namespace, name: str, model: Path, work: Path) -> dict[str, Any]:
    setting = speed.SETTINGS[name]
    scaled = int(setting.rows * speed.SCALE.get((asked.device, asked.model), 1.0)) // 8 * 8
    plan = speed.Plan(
        setting=setting,
        model=asked.model,
        folder=model,
        device=asked.device,
        rounds=asked.rounds,
        threads=asked.threads,
        rows=asked.rows or max(scaled, 16),
        data=asked.data,
        work=work,
        quick=asked.quick,
    )
    part = {**speed.measure(plan), "rounds": asked.rounds}
    print("\n".join(report.speed_lines(name, part)), flush=True)
    return part


def _score(asked: argparse.Namespace, name: str, model: Path, work: Path) -> dict[str, Any]:
    place = scores.Place(name, model, asked.device, asked.threads, asked.data, work, asked.rows)
    study = scores.parity if asked.f1 else scores.choose
    return study(place, asked.seeds, lambda line: print(line, flush=True))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", action="append", metavar="NAME", help=f"a setting ({', '.join(speed.SETTINGS)}); with --f1 a set")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--model", choices=sorted(models.SHAPES), help="default: minilm on a CPU, bertbase on a GPU")
    add("--rounds", type=int, default=3, help="counted turns of each variant, after one to warm up")
    add("--rows", type=int, default=0, help="rows for training; default by setting, model and device")
    add("--threads", type=int, default=0, help="per process; default: all cores")
    add("--quick", action="store_true", help="one variant of ours, no prediction")
    add("--f1", action="store_true", help="F1 of both sides")
    add("--choose", action="store_true", help="F1 of ours with other hyperparameters")
    add("--seeds", type=int, default=5)
    add("--data", type=Path, metavar="DIR", help="folder with the larger sheets")
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="where train.json and train.md are kept")
    add("--merge", type=Path, metavar="FILE", help="only take up the parts of another train.json")
    asked = parser.parse_args()
    asked.model = asked.model or ("bertbase" if asked.device == "cuda" else "minilm")
    return asked


if __name__ == "__main__":
    main()
