"""The sub-tokens of a sheet, kept in the job's folder: the next attempt begins to train at once.

They are personal data as the sheet is, so they go with the job. What they are made of names the file: the sheet's hash
and columns, the task and the tokenizer. max_length, windows, seed and split are not in it; they cut and choose later.
"""

import hashlib
import json
import logging
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from worker_client.formats import Record
from worker_client.protocol import TrainingSpec
from worker_client.training import together
from worker_client.training.task import Task

logger = logging.getLogger(__name__)

FORM = 1  # of the file and of what Task.tokenize gives
# An empty file, as a power cut leaves it, is an EOFError; flipped bits can read as a kind of zip file not known yet
# (NotImplementedError) or as an encrypted one (RuntimeError).
UNREADABLE = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile)


def tokens_of(spec: TrainingSpec, task: Task, records: Sequence[Record], tokenizer: Any) -> dict[int, np.ndarray]:
    """Task.tokenize of all records of the sheet, by row number; from the disk where an earlier attempt left it."""
    ordered = sorted(records, key=lambda record: record.row)
    path = Path(spec.checkpoints_dir).parent / f"tokens-{_name(spec, tokenizer)}.npz"
    tokens = _read(path, len(ordered))
    if tokens is None:
        tokens = task.tokenize(ordered, tokenizer)
        if together.is_first():
            _write(path, tokens)
    else:
        logger.info("The sub-tokens of an earlier attempt are used again")
    return {record.row: ids for record, ids in zip(ordered, tokens, strict=True)}


def _name(spec: TrainingSpec, tokenizer: Any) -> str:
    facts = [
        FORM,
        spec.task_type,
        spec.dataset_sha256,
        spec.sheet,
        spec.columns,
        spec.repair_bio,
        tokenizer.backend_tokenizer.to_str(),
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _read(path: Path, count: int) -> list[np.ndarray] | None:
    """None when there is no such file, or it is not whole."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            tokens = np.split(kept["tokens"], kept["ends"][:-1])
    except UNREADABLE:
        return None
    return tokens if len(tokens) == count else None


def _write(path: Path, tokens: list[np.ndarray]) -> None:
    """Whole or not at all; where the disk is full, not at all."""
    beside = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            np.savez(file, tokens=np.concatenate(tokens), ends=np.cumsum([len(ids) for ids in tokens]))
        beside.replace(path)
    except OSError as problem:
        logger.info("The sub-tokens are not kept for a later attempt: %s", problem.strerror)
        with suppress(OSError):
            beside.unlink()
