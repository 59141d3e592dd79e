"""The spool: an append-only SQLite file per attempt, between the training child and the uploader.

The child appends without waiting for the network; the parent sends in order and marks what the server has
accepted. A crash of either side loses nothing that was committed, and a restart goes on from the marks.
"""

import json
import math
import sqlite3
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worker_client.protocol import storable

SCHEMA = """
CREATE TABLE IF NOT EXISTS logs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, level TEXT NOT NULL, message TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS metrics (
    id INTEGER PRIMARY KEY AUTOINCREMENT, epoch REAL NOT NULL, step INTEGER NOT NULL, split TEXT NOT NULL,
    measured TEXT NOT NULL, UNIQUE (split, step));
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
MAX_MESSAGE_CHARS = 8_000


class Spool:
    """One attempt's events. Safe for several threads and for one writing and one reading process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, timeout=30, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()

    # The child's side.

    def append_log(self, level: str, message: str, timestamp: datetime | None = None) -> int:
        """Add one line; returns its number, which starts at 1 and has no gaps."""
        when = (timestamp or datetime.now(UTC)).isoformat()
        return self._write(
            "INSERT INTO logs (timestamp, level, message) VALUES (?, ?, ?)",
            (when, level.upper(), storable(message)[:MAX_MESSAGE_CHARS]),
        )

    def append_metrics(self, *, epoch: float, step: int, split: str, values: dict[str, float]) -> None:
        """Add the figures of one (split, step); a repeat of the pair, after a resume, changes nothing."""
        measured = json.dumps({name: _finite(value) for name, value in values.items()})
        self._write(
            "INSERT OR IGNORE INTO metrics (epoch, step, split, measured) VALUES (?, ?, ?, ?)",
            (epoch, step, split, measured),
        )

    def put_progress(self, **progress: Any) -> None:
        """Replace the latest progress: phase, epoch, step, total_steps, eta_seconds, message."""
        self._put("progress", progress)

    # The parent's side.

    def next_logs(self, limit: int = 500) -> list[dict[str, Any]]:
        """The oldest lines not yet accepted, as the server takes them."""
        rows = self._read(
            "SELECT seq, timestamp, level, message FROM logs WHERE seq >= ? ORDER BY seq LIMIT ?",
            (self._get("next_seq", 1), limit),
        )
        return [dict(zip(("seq", "timestamp", "level", "message"), row, strict=True)) for row in rows]

    def accept_logs(self, next_seq: int) -> None:
        """The server holds every line below `next_seq`."""
        self._put("next_seq", next_seq)

    def next_metrics(self, limit: int = 500) -> tuple[list[dict[str, Any]], int]:
        """The oldest figures not yet accepted, and the mark to hand to `accept_metrics`."""
        mark = self._get("metrics_mark", 0)
        rows = self._read(
            "SELECT id, epoch, step, split, measured FROM metrics WHERE id > ? ORDER BY id LIMIT ?", (mark, limit)
        )
        points = [
            {"epoch": epoch, "step": step, "split": split, "values": json.loads(measured)}
            for _, epoch, step, split, measured in rows
        ]
        return points, rows[-1][0] if rows else mark

    def accept_metrics(self, mark: int) -> None:
        """The server holds every figure up to `mark`."""
        self._put("metrics_mark", mark)

    def progress(self) -> dict[str, Any] | None:
        """The latest progress, or None before the first."""
        return self._get("progress", None)

    def pending_count(self) -> int:
        """How many lines and figures the server has not accepted yet."""
        rows = self._read(
            "SELECT (SELECT count(*) FROM logs WHERE seq >= ?) + (SELECT count(*) FROM metrics WHERE id > ?)",
            (self._get("next_seq", 1), self._get("metrics_mark", 0)),
        )
        return int(rows[0][0])

    def is_drained(self) -> bool:
        """Whether the server has accepted every line and every figure."""
        return not self.next_logs(1) and not self.next_metrics(1)[0]

    # SQLite.

    def _write(self, sql: str, values: Iterable[Any]) -> int:
        with self._lock:
            return self._db.execute(sql, tuple(values)).lastrowid or 0

    def _read(self, sql: str, values: Iterable[Any]) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(sql, tuple(values)).fetchall()

    def _put(self, key: str, value: Any) -> None:
        self._write("INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)", (key, json.dumps(value)))

    def _get(self, key: str, default: Any) -> Any:
        rows = self._read("SELECT value FROM state WHERE key = ?", (key,))
        return json.loads(rows[0][0]) if rows else default


def _finite(value: float) -> float | None:
    """JSON knows no NaN: a figure that is not finite travels as null and shows as a gap."""
    return float(value) if math.isfinite(value) else None
