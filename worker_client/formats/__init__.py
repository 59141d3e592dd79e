"""Reading training sheets (.xlsx): bounded, streaming, the same for server and worker. Standard library only."""

from worker_client.formats.records import open_sheet, read_records
from worker_client.formats.split import Split, split_rows
from worker_client.formats.terms import (
    TASK_TYPES,
    TEXT_CLASSIFICATION,
    TOKEN_CLASSIFICATION,
    Limits,
    Record,
    RowFault,
    Sheet,
    SheetRefused,
    SheetRequest,
)

__all__ = [
    "TASK_TYPES",
    "TEXT_CLASSIFICATION",
    "TOKEN_CLASSIFICATION",
    "Limits",
    "Record",
    "RowFault",
    "Sheet",
    "SheetRefused",
    "SheetRequest",
    "Split",
    "open_sheet",
    "read_records",
    "split_rows",
]
