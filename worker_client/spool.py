"""The spool: an append-only SQLite file per attempt, between the training child and the uploader.

The child appends without waiting for the network; the parent sends in order and marks what the server has
accepted. A crash of either side loses nothing that was committed, and a restart goes on from the marks.

It is bounded. Beyond 200,000 lines or 64 MiB that the server has not taken, the oldest of them make place, and one
line says how many are left out. On a full disk lines are counted instead of written. Figures and events are few:
they are never dropped, and a reserve beside the spool is given up for them.
"""

import json
import math
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worker_client.protocol import storable
from worker_client.reserve import KeptNumber, Reserve, is_full_disk, may_be_full_disk

SCHEMA = """
CREATE TABLE IF NOT EXISTS logs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, level TEXT NOT NULL, message TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS gaps (seq INTEGER PRIMARY KEY, lines INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS metrics (
    id INTEGER PRIMARY KEY AUTOINCREMENT, epoch REAL NOT NULL, step INTEGER NOT NULL, split TEXT NOT NULL,
    measured TEXT NOT NULL, UNIQUE (split, step));
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, kind TEXT NOT NULL, details TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
MAX_MESSAGE_CHARS = 8_000
MAX_UNSENT_LINES = 200_000
MAX_BYTES = 64 * 2**20
CHECK_EVERY_LINES = 500
LEFT_OUT = "Lines left out here: {:,}. The server had not taken them, and this worker keeps no more."
NOT_WRITTEN = "Lines left out here: {:,}. The disk of this worker was full."
IN_MEMORY = ":memory:"


class Spool:
    """One attempt's events. Safe for several threads and for one writing and one reading process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        in_memory = str(path) == IN_MEMORY
        self._reserve = None if in_memory else Reserve(path.with_suffix(".reserve"))
        self._left_by_others = None if in_memory else KeptNumber(path.with_suffix(".unwritten"))
        self._unsaved: dict[str, Any] = {}  # marks for which there was no room
        self._unwritten = 0  # lines for which there was no room
        self._since_check = 0
        self._db = sqlite3.connect(path, timeout=30, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA)
        self._has_room()

    def close(self) -> None:
        """Release the file. Lines that found no room are said there, or left to the next one who opens or counts."""
        with self._lock:
            self._tell_unwritten()
            if self._unwritten and self._left_by_others:
                self._left_by_others.add(self._unwritten)
                self._unwritten = 0
            self._db.close()

    def give_up_reserve(self) -> None:
        """The attempt is over here: nothing more is to be written."""
        if self._reserve:
            self._reserve.give_up()

    # The child's side.

    def append_log(self, level: str, message: str, timestamp: datetime | None = None) -> int:
        """Add one line; returns its number, which starts at 1, or 0 when the disk had no room for it."""
        when = (timestamp or datetime.now(UTC)).isoformat()
        with self._lock:
            try:
                with self._transaction():
                    self._demand_room()
                    lost = self._note_unwritten()
                    seq = self._insert_log(when, level.upper(), storable(message)[:MAX_MESSAGE_CHARS])
                self._unwritten -= lost
            except sqlite3.Error as error:
                if not may_be_full_disk(error):
                    raise
                self._unwritten += 1
                return 0
            with suppress(sqlite3.Error):
                self._keep_within_bounds()
            return seq

    def append_metrics(self, *, epoch: float, step: int, split: str, values: dict[str, float]) -> None:
        """Add the figures of one (split, step); a repeat of the pair, after a resume, changes nothing."""
        measured = json.dumps({name: _finite(value) for name, value in values.items()})
        self._write_surely(
            "INSERT OR IGNORE INTO metrics (epoch, step, split, measured) VALUES (?, ?, ?, ?)",
            (epoch, step, split, measured),
        )

    def append_event(self, kind: str, **details: int | float | str) -> None:
        """Add something that a person should see on the run page; `kind` is of a to z and _."""
        self._write_surely(
            "INSERT INTO events (timestamp, kind, details) VALUES (?, ?, ?)",
            (datetime.now(UTC).isoformat(), kind, json.dumps(details)),
        )

    def put_progress(self, **progress: Any) -> None:
        """Replace the latest progress: phase, epoch, step, total_steps, eta_seconds, message, checkpoint_step."""
        with self._unless_full():  # the next one replaces it anyhow
            self._write("INSERT OR REPLACE INTO state (key, value) VALUES ('progress', ?)", (json.dumps(progress),))

    # The parent's side.

    def next_logs(self, limit: int = 500) -> list[dict[str, Any]]:
        """The oldest lines not yet accepted, as the server takes them."""
        rows = self._read(
            "SELECT seq, timestamp, level, message FROM logs WHERE seq >= ? ORDER BY seq LIMIT ?",
            (self._get("next_seq", 1), limit),
        )
        return [dict(zip(("seq", "timestamp", "level", "message"), row, strict=True)) for row in rows]

    def start_sending(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Mark lines of `next_logs` as on their way: none of them is dropped any more.

        Returns those to send. Lines that were dropped between the reading and the mark are counted as left out, and
        sent as well they would be counted twice.
        """
        last = lines[-1]["seq"]
        self._put("sending", last)
        return [line for line in self.next_logs(len(lines)) if line["seq"] <= last]

    def accept_logs(self, next_seq: int) -> None:
        """The server holds every line below `next_seq`."""
        self._put("next_seq", next_seq)

    def first_log_from(self, seq: int) -> int:
        """The line, or the first after it that is still here; 0 when there is none."""
        return self._number("SELECT coalesce(min(seq), 0) FROM logs WHERE seq >= ?", (seq,))

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

    def next_events(self, limit: int = 100) -> list[dict[str, Any]]:
        """The oldest events not yet accepted, as the server takes them."""
        rows = self._read(
            "SELECT seq, timestamp, kind, details FROM events WHERE seq >= ? ORDER BY seq LIMIT ?",
            (self._get("next_event", 1), limit),
        )
        return [{"seq": row[0], "timestamp": row[1], "kind": row[2], "details": json.loads(row[3])} for row in rows]

    def accept_events(self, next_seq: int) -> None:
        """The server holds every event below `next_seq`."""
        self._put("next_event", next_seq)

    def progress(self) -> dict[str, Any] | None:
        """The latest progress, or None before the first."""
        return self._get("progress", None)

    def pending_count(self) -> int:
        """How many lines, figures and events the server has not accepted yet."""
        return sum(
            self._number(f"SELECT count(*) FROM {table} WHERE {column} >= ?", (first,))  # noqa: S608
            for table, column, first in (
                ("logs", "seq", self._get("next_seq", 1)),
                ("metrics", "id", self._get("metrics_mark", 0) + 1),
                ("events", "seq", self._get("next_event", 1)),
            )
        )

    def rewind(self) -> None:
        """Take back that the server holds the last line, the figures and the last event."""
        for mark, table in (("next_seq", "logs"), ("next_event", "events")):
            last = self._number(f"SELECT coalesce(max(seq), 1) FROM {table}", ())  # noqa: S608
            self._put(mark, min(self._get(mark, 1), last))
        self.accept_metrics(0)

    def is_drained(self) -> bool:
        """Whether the server has accepted every line, figure and event."""
        return not self.next_logs(1) and not self.next_metrics(1)[0] and not self.next_events(1)

    def tell_left_out(self) -> None:
        """Make an event of the lines that were dropped, once, when no more will come."""
        with self._lock:
            self._unwritten += self._left_by_others.take() if self._left_by_others else 0
            self._tell_unwritten()
            left_out = self.counts()["left_out"]
            if left_out and not self._read("SELECT 1 FROM events WHERE kind = 'spool_full'", ()):
                with self._unless_full():  # the counts say it too
                    self.append_event("spool_full", left_out=left_out)

    def counts(self) -> dict[str, int]:
        """What the server should have in the end.

        log_lines: the highest number given to a line, written or not. left_out: how many of these were dropped.
        metric_points: pairs of split and step. events: the highest number given to an event.
        """
        return {
            "log_lines": self._last("logs") + self._unwritten,
            "left_out": self._get("left_out", 0) + self._unwritten,
            "metric_points": self._number("SELECT count(*) FROM metrics", ()),
            "events": self._last("events"),
        }

    # Bounds.

    def _keep_within_bounds(self) -> None:
        self._since_check += 1
        if self._since_check < CHECK_EVERY_LINES:
            return
        self._since_check = 0
        unsent = self._number("SELECT count(*) FROM logs WHERE seq >= ?", (self._first_droppable(),))
        if unsent > MAX_UNSENT_LINES:
            self._drop_oldest(unsent - MAX_UNSENT_LINES * 9 // 10)
        elif self._used_bytes() > MAX_BYTES and not self._forget_sent():
            self._drop_oldest(unsent // 5)

    def _first_droppable(self) -> int:
        return max(int(self._get("next_seq", 1)), int(self._get("sending", 0)) + 1)

    def _forget_sent(self) -> bool:
        """Sent lines are kept for a server that was restored from a backup, while there is room for them."""
        with self._transaction():
            return self._db.execute("DELETE FROM logs WHERE seq < ?", (self._get("next_seq", 1),)).rowcount > 0

    def _drop_oldest(self, count: int) -> None:
        """Put one line, which says how many, in the place of the `count` oldest that were not sent."""
        with self._transaction():
            first = self._first_droppable()
            rows = self._read("SELECT seq FROM logs WHERE seq >= ? ORDER BY seq LIMIT ?", (first, count))
            if len(rows) < 2:
                return
            last = rows[-1][0]
            dropped = self._db.execute("DELETE FROM logs WHERE seq >= ? AND seq < ?", (first, last)).rowcount
            # A line that stood for others, from an earlier gap, stands for them no longer.
            within = "seq >= ? AND seq <= ?"
            stood_for = self._number(f"SELECT total(lines - 1) FROM gaps WHERE {within}", (first, last))  # noqa: S608
            self._db.execute(f"DELETE FROM gaps WHERE {within}", (first, last))  # noqa: S608
            lines = dropped + 1 + stood_for
            text = LEFT_OUT.format(lines)
            self._db.execute("UPDATE logs SET level = 'WARNING', message = ? WHERE seq = ?", (text, last))
            self._add_gap(last, lines, dropped)

    def _note_unwritten(self) -> int:
        """Once there is room again: one line, numbered after all those that were not written. Returns how many."""
        lines = self._unwritten
        if lines:
            seq = self._last("logs") + lines + 1
            when = datetime.now(UTC).isoformat()
            self._db.execute("INSERT INTO logs VALUES (?, ?, 'WARNING', ?)", (seq, when, NOT_WRITTEN.format(lines)))
            self._add_gap(seq, lines, lines)
        return lines

    def _tell_unwritten(self) -> None:
        """When no more lines will come: the one that says how many may have the room of the reserve."""
        with suppress(sqlite3.Error):
            self._surely(self._write_unwritten)

    def _write_unwritten(self) -> None:
        with self._transaction():
            lost = self._note_unwritten()
        self._unwritten -= lost

    def _add_gap(self, seq: int, lines: int, dropped: int) -> None:
        self._db.execute("INSERT INTO gaps VALUES (?, ?)", (seq, lines))
        total = json.dumps(self._get("left_out", 0) + dropped)
        self._db.execute("INSERT OR REPLACE INTO state (key, value) VALUES ('left_out', ?)", (total,))

    def _demand_room(self) -> None:
        if not self._has_room():
            raise sqlite3.OperationalError("the reserve cannot be had: database or disk is full")

    def _has_room(self) -> bool:
        return self._reserve is None or self._reserve.is_held()

    def _used_bytes(self) -> int:
        pages = self._number("PRAGMA page_count", ()) - self._number("PRAGMA freelist_count", ())
        return pages * self._number("PRAGMA page_size", ())

    # SQLite.

    def _insert_log(self, when: str, level: str, message: str) -> int:
        return self._write("INSERT INTO logs (timestamp, level, message) VALUES (?, ?, ?)", (when, level, message))

    def _write(self, sql: str, values: Iterable[Any]) -> int:
        with self._lock:
            return self._db.execute(sql, tuple(values)).lastrowid or 0

    def _write_surely(self, sql: str, values: Iterable[Any]) -> None:
        self._surely(lambda: self._write(sql, values))

    def _surely(self, write: Callable[[], Any]) -> None:
        """On a full disk in the place of the reserve. Raises sqlite3.Error when that is full too."""
        try:
            write()
        except sqlite3.Error as error:
            if self._reserve is None or not may_be_full_disk(error):
                raise
            self._reserve.give_up()
            write()

    @contextmanager
    def _unless_full(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if not may_be_full_disk(error):
                raise

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _read(self, sql: str, values: Iterable[Any]) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(sql, tuple(values)).fetchall()

    def _number(self, sql: str, values: Iterable[Any]) -> int:
        return int(self._read(sql, values)[0][0])

    def _last(self, table: str) -> int:
        """The highest number that the table has given out."""
        rows = self._read("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,))
        return int(rows[0][0]) if rows else 0

    def _put(self, key: str, value: Any) -> None:
        """Keep a mark; in memory where the disk has no room, so that what was sent is not sent for ever."""
        try:
            self._write_surely("INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)", (key, json.dumps(value)))
            self._unsaved.pop(key, None)
        except sqlite3.Error as error:
            if not is_full_disk(error):
                raise
            self._unsaved[key] = value

    def _get(self, key: str, default: Any) -> Any:
        if key in self._unsaved:
            return self._unsaved[key]
        rows = self._read("SELECT value FROM state WHERE key = ?", (key,))
        return json.loads(rows[0][0]) if rows else default


def _finite(value: float) -> float | None:
    """JSON knows no NaN: a figure that is not finite travels as null and shows as a gap."""
    return float(value) if math.isfinite(value) else None
