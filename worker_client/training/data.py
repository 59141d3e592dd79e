"""From the sheet to records in three parts. Nothing here writes the text of a row into a log or a message."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from worker_client.errors import FailureReason, TrainingFailed
from worker_client.formats import Record, RowFault, SheetRefused, read_records
from worker_client.formats.split import split_rows
from worker_client.protocol import TrainingSpec

FAULTS_NAMED = 5


@dataclass(frozen=True)
class Parts:
    """The records of each part. `test` is frozen: scored once, at the end."""

    train: list[Record]
    validation: list[Record]
    test: list[Record]
    digest: str  # of the three parts by content: equal digests mean comparable figures

    def sizes(self) -> dict[str, int]:
        """Rows per part."""
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}


def verify_sha256(path: Path, expected: str) -> None:
    """Raises TrainingFailed(dataset_mismatch) when the file is not the one that the run names."""
    if not path.is_file():
        raise _mismatch(f"The sheet is not at {path.name} on this worker. The next attempt downloads it again.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise _mismatch(
            f"The sheet on this worker has sha256 {found[:12]}…, the run names {expected[:12]}…. "
            "Delete the worker's copy and queue the run again."
        )


def load_records(spec: TrainingSpec) -> list[Record]:
    """Every row of the sheet. Raises TrainingFailed(invalid_data) when one is faulty, naming row and column."""
    records: list[Record] = []
    faults: list[RowFault] = []
    try:
        for item in read_records(
            Path(spec.dataset_path),
            task_type=spec.task_type,
            sheet=spec.sheet or None,
            columns=spec.columns,
            repair_bio=spec.repair_bio,
        ):
            (faults if isinstance(item, RowFault) else records).append(item)  # type: ignore[arg-type]
    except SheetRefused as refused:
        raise _invalid(f"The sheet was refused ({refused.code}): {refused}") from refused
    if faults:
        raise _invalid(_describe(faults))
    return records


def split_records(records: list[Record], *, train_share: float, seed: int) -> Parts:
    """The three parts, by content and seed only. Raises TrainingFailed(invalid_data) when one would be empty."""
    split = split_rows(records, train_share=train_share, seed=seed)
    train, validation, test = ([records[i] for i in part] for part in (split.train, split.validation, split.test))
    parts = Parts(train, validation, test, split.digest)
    empty = [name for name, size in parts.sizes().items() if not size]
    if empty:
        raise _invalid(
            f"The split leaves no row for {' and '.join(empty)} ({len(records)} rows, train_split {train_share:g}). "
            "Add rows with other texts, change train_split, or correct the split column."
        )
    return parts


def _describe(faults: list[RowFault]) -> str:
    named = "; ".join(f"row {fault.row}, column {fault.column}: {fault.code}" for fault in faults[:FAULTS_NAMED])
    more = f" and {len(faults) - FAULTS_NAMED} more" if len(faults) > FAULTS_NAMED else ""
    return f"{len(faults)} faulty cells in the sheet: {named}{more}. Correct them and upload the sheet again."


def _invalid(message: str) -> TrainingFailed:
    return TrainingFailed(FailureReason.INVALID_DATA, message)


def _mismatch(message: str) -> TrainingFailed:
    return TrainingFailed(FailureReason.DATASET_MISMATCH, message)
