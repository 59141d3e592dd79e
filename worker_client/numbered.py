"""Numbered records of the spool to the server: in order, in bodies of a size that the line takes, each once."""

import json
import logging
from collections.abc import Callable
from typing import Any

from worker_client.errors import Rejected, Retryable

log = logging.getLogger("worker_client.connection")

Record = dict[str, Any]
MAX_BODY_BYTES = 500_000
MIN_BODY_BYTES = 16_000


class NumberedSender:
    """Sends one kind of records, log lines or events, and marks what the server has taken.

    send: posts records and returns the answer; its `next_seq`, where it has one, says where to go on.
    """

    def __init__(
        self,
        name: str,
        *,
        limit: int,
        next_items: Callable[[int], list[Record]],
        accept: Callable[[int], None],
        send: Callable[[list[Record]], dict[str, Any]],
    ) -> None:
        self._name = name
        self._limit = limit
        self._next_items = next_items
        self._accept = accept
        self._send = send
        self._body_bytes = MAX_BODY_BYTES
        self._asked_again: set[int] = set()

    def send_next(self) -> None:
        """Send the oldest batch, if there is one. Raises what the server answers, Rejected excepted."""
        items = fitting(self._next_items(self._limit), self._body_bytes)
        if not items:
            return
        first, last = items[0]["seq"], items[-1]["seq"]
        try:
            answer = self._send_at_a_pace(items)
        except Rejected as error:
            if len(items) > 1 and self._halve(items):
                return
            # One record that the server will never take must not hold back all those after it.
            log.warning("The server refused %s %d, which is left out: %s", self._name, first, error)
            self._accept(first + 1)
            return
        self._accept(self._next_seq(int(answer.get("next_seq", last + 1)), first, last))

    def may_ask_again(self) -> None:
        """The server may ask once more for places that it asked for before: it was restored since, perhaps."""
        self._asked_again.clear()

    def _send_at_a_pace(self, items: list[Record]) -> dict[str, Any]:
        """A body that the line does not carry in time would never arrive: the next is a quarter of it."""
        try:
            answer = self._send(items)
        except Retryable as error:
            if error.status == 0:
                self._body_bytes = max(MIN_BODY_BYTES, self._body_bytes // 4)
            raise
        self._body_bytes = min(MAX_BODY_BYTES, self._body_bytes * 2)
        return answer

    def _next_seq(self, asked: int, first: int, last: int) -> int:
        """Where to go on: the server may ask for earlier records again, each place once while it lacks it.

        Twice for the same place would be for ever: that record is one it never stores.
        """
        if asked > first:
            self._asked_again.clear()  # it has all up to here; what it lacks later, a restored backup has lost
            return min(asked, last + 1)
        if asked in self._asked_again:
            return last + 1
        self._asked_again.add(asked)
        return max(1, asked)

    def _halve(self, items: list[Record]) -> bool:
        """Send the first half of a refused batch; the rest follows in the next round."""
        half = items[: len(items) // 2]
        try:
            self._send(half)
        except Rejected:
            return len(half) > 1 and self._halve(half)
        self._accept(half[-1]["seq"] + 1)
        return True


def fitting(items: list[Record], body_bytes: int) -> list[Record]:
    """As many of the first records as one body may hold; at least one."""
    total = 0
    for count, item in enumerate(items):
        total += len(json.dumps(item)) + 2
        if total > body_bytes and count:
            return items[:count]
    return items
