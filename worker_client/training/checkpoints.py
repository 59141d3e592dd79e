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

from worker_client.workspace import flush_to_disk

MANIFEST = "intact.json"
STATE = "trainer_state.json"
ORDER = "row_order.json"
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

    @property
    def grouped(self) -> bool | None:
        """As noted by `note_order`; None in a checkpoint of a release that noted nothing."""
        path = self.path / ORDER
        return bool(json.loads(path.read_text(encoding="utf-8"))["grouped"]) if path.is_file() else None


def note_order(folder: Path, *, grouped: bool) -> None:
    """Keep how the rows lie (see RowOrder): in another order the rest of an epoch would repeat some and lack others."""
    (folder / ORDER).write_text(json.dumps({"grouped": grouped}), encoding="utf-8")


def seal(folder: Path, fingerprint: str) -> None:
    """Declare a checkpoint whole: its files are on the disk itself, then their hashes are."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    sealed = {"fingerprint": fingerprint, "files": {path.name: _size_and_hash(path) for path in files}}
    for path in files:
        flush_to_disk(path)
    beside = folder / f"{MANIFEST}.tmp"
    with beside.open("w", encoding="utf-8") as file:
        json.dump({**sealed, "sha256": _digest(sealed)}, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / MANIFEST)


def unseal(folder: Path) -> None:
    """Before a checkpoint is written again: it is not whole any more."""
    with contextlib.suppress(FileNotFoundError):
        (folder / MANIFEST).unlink()


def is_sealed(folder: Path) -> bool:
    """Whether it was written to its end; `survey` looks whether it still is as it was then."""
    return (folder / MANIFEST).is_file()


Survey = dict[Path, str | None]


def survey(root: Path) -> Survey:
    """The checkpoints, newest first, each with the fingerprint of its run, or None when it is damaged.

    Reads every byte, so it is made once per attempt.
    """
    return {folder: _sealed_fingerprint(folder) for folder in _by_step(root)}


def newest_usable(found: Survey, fingerprint: str) -> Checkpoint | None:
    """The newest intact checkpoint of the same run whose best model is intact too, or None."""
    for folder in (folder for folder, sealed in found.items() if sealed == fingerprint):
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        best = state.get("best_global_step")
        if not best or found.get(folder.with_name(f"checkpoint-{best}")) == fingerprint:
            return Checkpoint(folder, state)
    return None


def damaged(found: Survey) -> list[int]:
    """Steps of the checkpoints that are not as they were sealed, newest first."""
    return [_step(folder) for folder, sealed in found.items() if sealed is None]


def drop_others(found: Survey, kept: Checkpoint | None, fingerprint: str) -> list[str]:
    """Delete what a run that goes on from `kept` cannot use: damaged, foreign or newer. Returns the names."""
    keep_step = kept.step if kept else -1
    unusable = [folder for folder, sealed in found.items() if _step(folder) > keep_step or sealed != fingerprint]
    for folder in unusable:
        shutil.rmtree(folder, ignore_errors=True)
    return [folder.name for folder in unusable]


def prune(root: Path, best_step: int | None) -> None:
    """Keep the newest two and the best. What cannot be deleted now, as on Windows what a scanner reads, goes later."""
    for folder in list(_by_step(root))[KEPT_NEWEST:]:
        if _step(folder) != best_step:
            shutil.rmtree(folder, ignore_errors=True)


def _by_step(root: Path) -> Iterator[Path]:
    """Newest first."""
    found = [path for path in root.glob("checkpoint-*") if path.is_dir() and path.name[11:].isdigit()]
    return iter(sorted(found, key=_step, reverse=True))


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("checkpoint-"))


def _sealed_fingerprint(folder: Path) -> str | None:
    """The run whose checkpoint this is, where every file is as it was sealed."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        sealed = {"fingerprint": manifest["fingerprint"], "files": manifest["files"]}
        whole = manifest["sha256"] == _digest(sealed) and all(
            _size_and_hash(folder / name) == expected for name, expected in sealed["files"].items()
        )
        return str(sealed["fingerprint"]) if whole else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _digest(sealed: dict[str, Any]) -> str:
    """The manifest's own: a flipped bit in it is damage and not another run."""
    return hashlib.sha256(json.dumps(sealed, sort_keys=True).encode()).hexdigest()


def _size_and_hash(path: Path) -> list[int | str]:
    with path.open("rb") as file:
        return [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]
