"""Reading training sheets (.xlsx): bounded, streaming, the same for server and worker.

The reader is of the standard library only. What weighs whole columns (`split`, `joins`, `likeness`) needs numpy; it is
imported by itself, where it is needed.
"""

from worker_client.formats.records import open_sheet, read_records
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
    "open_sheet",
    "read_records",
]
