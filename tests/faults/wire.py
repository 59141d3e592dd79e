"""HTTP/1.1 messages as bytes: just enough framing to forward one, and to know what it was."""

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any

API = "/bert-training/api"
ROUTES = (
    re.compile(r"^/workers/(register|heartbeat)$"),
    re.compile(r"^/jobs/(claim)$"),
    re.compile(r"^/jobs/(?P<job>\d+)/(progress|complete|fail|release|events)$"),
    re.compile(r"^/(metrics)$"),
    re.compile(r"^/(logs)/batch$"),
    re.compile(r"^/datasets/\d+/(download)$"),
)


@dataclass
class Message:
    """Head (with its blank line) and body, as they came."""

    head: bytes
    body: bytes

    @property
    def first_line(self) -> str:
        """`POST /path HTTP/1.1` or `HTTP/1.1 200 OK`."""
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.first_line.split()[1])

    @property
    def call(self) -> str:
        """What a worker asks for: `claim`, `logs`, `complete` …, or the path where it is none of these."""
        return _route(self.first_line.split()[1])[0]

    @property
    def job(self) -> int | None:
        """The job that the path or the body names."""
        number = _route(self.first_line.split()[1])[1] or self.json.get("job")
        return int(number) if number is not None else None

    @property
    def json(self) -> dict[str, Any]:
        """The body as an object; empty where it is none."""
        try:
            data = json.loads(self.body)
        except ValueError:
            return {}
        return data if isinstance(data, dict) else {}

    @property
    def whole(self) -> bytes:
        """All bytes."""
        return self.head + self.body


def _route(path: str) -> tuple[str, str | None]:
    path = path.removeprefix(API).partition("?")[0]
    for pattern in ROUTES:
        if found := pattern.match(path):
            return str(found.groups()[-1]), found.groupdict().get("job")
    return path, None


async def read_message(reader: asyncio.StreamReader, *, bodyless: bool = False) -> Message | None:
    """The next message, or None where the other side has ended. Raises IncompleteReadError for half of one."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    if bodyless or b" 204 " in head[:16]:
        return Message(head, b"")
    headers = head.lower()
    if b"\r\ntransfer-encoding: chunked" in headers:
        return Message(head, await _chunks(reader))
    length = re.search(rb"\r\ncontent-length: *(\d+)", headers)
    return Message(head, await reader.readexactly(int(length[1])) if length else b"")


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """A chunked body with its framing, to be passed on as it is."""
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        chunk = await reader.readexactly(int(line.split(b";")[0], 16) + 2)
        body += line + chunk
        if chunk == b"\r\n":
            return body
