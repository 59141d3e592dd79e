"""What is told of a sheet: its faults, what a person should look at, its quality. Free of Django and of numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class SplitPlan:
    """The share of the rows that trains (the rest is halved) and the seed: a run's defaults where none is named."""

    train_share: float = 0.8
    seed: int = 42


DEFAULT_PLAN = SplitPlan()


@dataclass(frozen=True)
class ReportedError:
    """One fault of one cell, as RowFault, with its sheet. column: Excel's letters."""

    sheet: str
    row: int
    column: str
    code: str
    params: dict[str, Any]
    value: str


@dataclass(frozen=True)
class ReportedWarning:
    """Something a person should look at; it refuses nothing.

    count: the true count, of params["unit"] (rows, tags, cells, columns or classes). rows: the first 1,000, in order.
    """

    code: str
    count: int
    rows: list[int] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetReport:
    """The whole judgement of one sheet; valid means that nothing but warnings was found.

    num_rows: rows that passed. columns: role -> header. labels: {name, count} of each class (rows) or tag (tokens).
    errors: the first 1,000 in sheet order; error_count: all. quality: as Survey.quality.
    """

    valid: bool
    task_type: str
    sheet: str
    columns: dict[str, str]
    num_rows: int
    labels: list[dict[str, Any]]
    error_count: int
    errors: list[ReportedError]
    warnings: list[ReportedWarning]
    quality: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """JSON types only; from_json gives an equal report back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DatasetReport:
        errors = [ReportedError(**error) for error in data["errors"]]
        warnings = [ReportedWarning(**warning) for warning in data["warnings"]]
        return cls(**{**data, "errors": errors, "warnings": warnings})
