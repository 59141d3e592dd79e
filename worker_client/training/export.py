"""The model directory: everything written beside, then renamed, so that it appears whole or not at all."""

import csv
import hashlib
import json
import logging
import shutil
import time
from pathlib import Path
from typing import Any

from worker_client.protocol import TrainingSpec
from worker_client.training.metrics import Confusion
from worker_client.training.model_card import render
from worker_client.training.sheets import SheetWriter
from worker_client.training.task import Table, Task
from worker_client.workspace import flush_to_disk, partial_model

logger = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
SCANNER_WAITS_S = (0.1, 0.5, 2.0, 5.0, 10.0)


def export_model(
    *, spec: TrainingSpec, task: Task, model: Any, tokenizer: Any, predictions: Table, facts: dict[str, Any]
) -> str:
    """Write `spec.model_dir` as CONTRACT section 7 says; an earlier one of the same run is replaced.

    facts: see model_card.render. Returns the sha256 of the weights.
    """
    target = Path(spec.model_dir)
    staging = partial_model(spec)
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    digest = _write_model(staging, model, tokenizer, facts["max_length"])
    _write_reports(staging, spec, facts)
    _write_predictions(staging / "test_predictions.xlsx", predictions)
    (staging / "README.md").write_text(render(spec, task, facts), encoding="utf-8")
    _appear(staging, target)
    return digest


def _write_model(folder: Path, model: Any, tokenizer: Any, max_length: int) -> str:
    # Without it the tokenizer would never truncate, and a long text would be an error in every pipeline.
    tokenizer.model_max_length = max_length
    model.save_pretrained(folder, max_shard_size="100GB")  # one file, whose hash names the model
    tokenizer.save_pretrained(folder)
    with (folder / WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_reports(folder: Path, spec: TrainingSpec, facts: dict[str, Any]) -> None:
    report = facts["report"]
    run = {
        "run": spec.run_id,
        "name": spec.run_name,
        "task_type": spec.task_type,
        "base_model": spec.base_model,
        "base_model_revision": spec.base_model_revision,
        "seed": spec.seed,
        "hyperparameters": facts["hyperparameters"],
        "max_length": facts["max_length"],
        "dataset_sha256": spec.dataset_sha256,
        "dataset_filename": spec.dataset_filename,
        "split_sizes": report["split_sizes"],
        "split_digest": report["split_digest"],
        "best_epoch": facts["best_epoch"],
        "metrics": facts["metrics"],
        "environment": facts["environment"],
    }
    _write_json(folder / "run.json", run)
    _write_json(folder / "metrics.json", {"test": facts["metrics"], "epochs": facts["epochs"], "report": report})
    _write_confusion(folder / "confusion_matrix.csv", facts["confusion"])


def _write_confusion(path: Path, confusion: Confusion) -> None:
    """Rows are gold, columns predicted. With a byte order mark, so that Excel reads the accents."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["gold \\ predicted", *confusion.labels])
        writer.writerows([label, *row] for label, row in zip(confusion.labels, confusion.rows(), strict=True))


def _write_predictions(path: Path, table: Table) -> None:
    writer = SheetWriter()
    append = writer.start_sheet("test", table.header)
    for row in table.rows:
        append(row)
    writer.save(path)
    if writer.shortened:
        logger.warning("%d cells of %s were longer than Excel holds and were cut", writer.shortened, path.name)


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")


def _appear(staging: Path, target: Path) -> None:
    for path in staging.iterdir():
        flush_to_disk(path)
    if target.exists():
        old = target.with_name(f".{target.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        _rename(target, old)
        _rename(staging, target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        _rename(staging, target)


def _rename(folder: Path, target: Path) -> None:
    """On Windows a folder cannot move while a virus scanner reads a file in it, which it does with new ones."""
    for wait_s in SCANNER_WAITS_S:
        try:
            folder.rename(target)
            return
        except PermissionError:
            time.sleep(wait_s)
    folder.rename(target)
