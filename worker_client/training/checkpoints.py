"""Checkpoints on disk: which are intact, which one to go on from, which to delete.

The library writes a checkpoint file by file. Ours counts only with `intact.json`, written last: sizes and hashes of
all its files, and the fingerprint of the run. A process killed while saving therefore leaves nothing to trip over.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "intact.json"
STATE = "trainer_state.json"
KEPT_NEWEST = 2


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint and what the Trainer remembered in it."""

    path: Path
    state: dict[str, Any]

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return int(self.state["global_step"])

    @property
    def stopped_early(self) -> bool:
        """Whether early stopping had ended the training when this was saved."""
        control = self.state.get("stateful_callbacks", {}).get("TrainerControl", {})
        return bool(control.get("args", {}).get("should_training_stop"))


def seal(folder: Path, fingerprint: str) -> None:
    """Declare a checkpoint whole. Call it after everything else is on disk."""
    files = {path.name: [path.stat().st_size, _sha256(path)] for path in sorted(folder.iterdir()) if path.is_file()}
    beside = folder / f"{MANIFEST}.tmp"
    with beside.open("w", encoding="utf-8") as file:
        json.dump({"fingerprint": fingerprint, "files": files}, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / MANIFEST)


def unseal(folder: Path) -> None:
    """Before a checkpoint is written again: it is not whole any more."""
    with contextlib.suppress(FileNotFoundError):
        (folder / MANIFEST).unlink()


def newest_usable(root: Path, fingerprint: str) -> Checkpoint | None:
    """The newest intact checkpoint of the same run whose best model is intact too, or None."""
    for folder in _by_step(root):
        if not is_intact(folder, fingerprint):
            continue
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        best = state.get("best_global_step")
        if not best or is_intact(root / f"checkpoint-{best}", fingerprint):
            return Checkpoint(folder, state)
    return None


def is_intact(folder: Path, fingerprint: str) -> bool:
    """Whether every file is there as it was sealed, for this run."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return manifest["fingerprint"] == fingerprint and all(
            (folder / name).stat().st_size == size and _sha256(folder / name) == digest
            for name, (size, digest) in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError):
        return False


def drop_others(root: Path, kept: Path | None, fingerprint: str) -> list[str]:
    """Delete what a run that goes on from `kept` cannot use: damaged, foreign or newer. Returns the names."""
    keep_step = _step(kept) if kept else -1
    unusable = [f for f in _by_step(root) if _step(f) > keep_step or not is_intact(f, fingerprint)]
    for folder in unusable:
        shutil.rmtree(folder)
    return [folder.name for folder in unusable]


def prune(root: Path, best_step: int | None) -> None:
    """Keep the newest two and the best."""
    for folder in list(_by_step(root))[KEPT_NEWEST:]:
        if _step(folder) != best_step:
            shutil.rmtree(folder)


def _by_step(root: Path) -> Iterator[Path]:
    """Newest first."""
    found = [path for path in root.glob("checkpoint-*") if path.is_dir() and path.name[11:].isdigit()]
    return iter(sorted(found, key=_step, reverse=True))


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("checkpoint-"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
