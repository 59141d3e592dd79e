"""A TCP proxy of our own: one Link per worker, so that every fault hits one worker and every call is recorded.

`Weather` is what the connection is like (cut, black hole, slow, sliced, resetting). A `Rule` is one act on one kind of
call: drop the answer after the server has committed, hold a message until released, repeat a request, change an answer.
"""

import asyncio
import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.faults.history import History, Record
from tests.faults.wire import Message, read_message

LONGEST_MESSAGE = 64 * 2**20
LOOK_EVERY_S = 0.1
FACTS = ("attempt", "claim_id", "reason")  # of a body, for the checker


@dataclass
class Weather:
    """What a link is like at the moment. Seconds, bytes per second, bytes, shares."""

    cut: bool = False
    swallow_up: bool = False  # what the worker sends goes nowhere
    swallow_down: bool = False  # what the server answers goes nowhere
    delay_s: tuple[float, float] = (0.0, 0.0)
    bytes_per_s: float = 0.0
    slice_bytes: int = 0
    reset_share: float = 0.0
    lost_answers: float = 0.0  # share of answers that are dropped after the server has committed


@dataclass
class Rule:
    """One act on the next `times` messages of a call. `reached` is set when the first one is there."""

    call: str
    where: str  # "request" or "answer"
    act: str  # "drop", "hold", "repeat" or "change"
    times: int = 1
    change: Callable[[Message], Message] | None = None
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        """Let go what is held."""
        self.released.set()


class Dropped(Exception):
    """The connection ends here, by a rule or by the weather."""


class Proxy:
    """An event loop in a thread of its own, with the links that run in it."""

    def __init__(self, history: History, seed: int) -> None:
        self.history = history
        self.loop = asyncio.new_event_loop()
        self._seed = itertools.count(seed)
        threading.Thread(target=self.loop.run_forever, name="proxy", daemon=True).start()

    def link(self, worker: str, server_port: int) -> "Link":
        """A new way to the server, for that worker alone."""
        link = Link(self, worker, server_port, random.Random(next(self._seed)))
        asyncio.run_coroutine_threadsafe(link.open(), self.loop).result(10)
        return link

    def stop(self) -> None:
        """Forward nothing more."""
        asyncio.run_coroutine_threadsafe(self._cancel_all(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Link:
    """One worker's way to the server."""

    def __init__(self, proxy: Proxy, worker: str, server_port: int, dice: random.Random) -> None:
        self.worker = worker
        self.weather = Weather()
        self.port = 0
        self._rules: list[Rule] = []
        self._proxy = proxy
        self._server_port = server_port
        self._dice = dice
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        """What the worker is given as --api-url."""
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        """Listen on a free port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=LONGEST_MESSAGE)
        self.port = server.sockets[0].getsockname()[1]

    # For campaigns; called from their threads.

    def cut(self) -> None:
        """The cable is out: open connections break, new ones are refused."""
        self.weather = Weather(cut=True)
        self._break_connections()

    def black_hole(self, *, up: bool = True, down: bool = True) -> None:
        """Half-open: connections stay, bytes in that direction vanish."""
        self.weather = Weather(swallow_up=up, swallow_down=down)

    def heal(self) -> None:
        """Fair weather, no rules. What fell into a black hole stays there, as it would with a real router."""
        self.weather = Weather()
        for rule in self._rules:
            rule.release()
        self._rules.clear()

    def on(self, call: str, where: str, act: str, *, times: int = 1, change: Any = None) -> Rule:
        """Add a rule; returns it, to wait for `reached` and to `release` what is held."""
        rule = Rule(call, where, act, times, change)
        self._rules.append(rule)
        return rule

    def _break_connections(self) -> None:
        def abort() -> None:
            for writer in list(self._writers):
                writer.transport.abort()

        self._proxy.loop.call_soon_threadsafe(abort)

    # In the loop.

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.weather.cut:
            writer.transport.abort()
            return
        way = _Way(self, reader, writer)
        self._writers.add(writer)
        # Cancelled: the proxy ends, and Python 3.11 would print a traceback for each connection.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError, Dropped):
            while message := await read_message(reader):
                await self._forward(message, way)
        self._writers.discard(writer)
        writer.transport.abort()
        way.hang_up()

    async def _forward(self, request: Message, way: "_Way") -> None:
        record = _record_of(request, self.worker)
        try:
            for _ in range(1 + await self._act(request, "request")):
                answer = await self._ask(request, way)
                _note_answer(record, answer)
            await self._act(answer, "answer", call=request.call)
            if self._dice.random() < self.weather.lost_answers:
                raise Dropped
            whole = self._changed(answer, request.call)
            await self._send(way.client, whole, down=True)
            record["delivered"] = len(whole) == len(answer.whole)
            if not record["delivered"]:
                raise Dropped  # cut in its middle
        finally:
            self._proxy.history.add(record)

    async def _ask(self, request: Message, way: "_Way") -> Message:
        server = await way.server(self._server_port)
        await self._send(server[1], request.whole, down=False)
        answer = await self._answer(server[0], way)
        if answer is None:
            raise Dropped
        return answer

    async def _answer(self, server: asyncio.StreamReader, way: "_Way") -> Message | None:
        """The server is not left waiting for a worker that has hung up, as it would not be without a proxy."""
        reading = asyncio.ensure_future(read_message(server))
        while not (await asyncio.wait({reading}, timeout=LOOK_EVERY_S))[0]:
            if way.worker_hung_up:
                reading.cancel()
                raise Dropped
        return reading.result()

    async def _act(self, message: Message, where: str, call: str = "") -> int:
        """Obey the rules for this message; returns how often more it is to be sent."""
        more = 0
        if where == "answer" and message.status == 204:
            return 0  # nothing was done, so nothing is lost
        for rule in self._matching(call or message.call, where):
            rule.reached.set()
            if rule.act == "hold":
                await asyncio.to_thread(rule.released.wait)
            elif rule.act == "drop":
                raise Dropped
            elif rule.act == "repeat":
                more += 1
        return more

    def _matching(self, call: str, where: str) -> list[Rule]:
        found = [r for r in self._rules if (r.call, r.where) == (call, where) and r.act != "change" and r.times > 0]
        for rule in found:
            rule.times -= 1
        return found

    def _changed(self, answer: Message, call: str) -> bytes:
        for rule in self._rules:
            if rule.call == call and rule.act == "change" and rule.change and rule.times > 0:
                rule.times -= 1
                rule.reached.set()
                answer = rule.change(answer)
        return answer.whole

    async def _send(self, writer: asyncio.StreamWriter, data: bytes, *, down: bool) -> None:
        weather = self.weather
        if weather.cut or self._dice.random() < weather.reset_share:
            raise Dropped
        if weather.swallow_down if down else weather.swallow_up:
            await self._swallowed(weather)
        if weather.delay_s[1]:
            await asyncio.sleep(self._dice.uniform(*weather.delay_s))
        size = weather.slice_bytes or (max(1, int(weather.bytes_per_s / 20)) if weather.bytes_per_s else len(data))
        for start in range(0, len(data), size):
            writer.write(data[start : start + size])
            await writer.drain()
            if weather.bytes_per_s:
                await asyncio.sleep(size / weather.bytes_per_s)
        if size < len(data):
            await asyncio.sleep(0)

    async def _swallowed(self, weather: Weather) -> None:
        """Nothing happens until the weather changes; then the connection is gone."""
        while self.weather is weather:
            await asyncio.sleep(0.05)
        raise Dropped


class _Way:
    """One connection of the worker, and the one to the server that belongs to it."""

    def __init__(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._link = link
        self._reader = reader
        self.client = writer
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def worker_hung_up(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._reader.at_eof()

    async def server(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connected at the first request; a server that has hung up since is called again."""
        if self._server and (self._server[0].at_eof() or self._server[1].is_closing()):
            self.hang_up()
        if self._server is None:
            self._server = await asyncio.open_connection("127.0.0.1", port, limit=LONGEST_MESSAGE)
            self._link._writers.add(self._server[1])
        return self._server

    def hang_up(self) -> None:
        """Close the server's side."""
        if self._server:
            self._link._writers.discard(self._server[1])
            self._server[1].transport.abort()
            self._server = None


def _record_of(request: Message, worker: str) -> Record:
    body = request.json
    facts = {name: body[name] for name in FACTS if name in body}
    record = {"kind": "call", "worker": worker, "call": request.call, "job": request.job, **facts}
    if lines := body.get("lines"):
        record["lines"] = [line["seq"] for line in lines]
    if points := body.get("metrics"):
        record["points"] = [[p["split"], p["step"]] for p in points] if request.call == "metrics" else []
    return {**record, "at": time.time(), "answered_at": None, "status": None, "delivered": False}


def _note_answer(record: Record, answer: Message) -> None:
    body = answer.json
    record.update(status=answer.status, answered_at=time.time())
    if record["call"] == "claim" and isinstance(body.get("job"), dict):
        record.update(job=body["job"]["id"], attempt=body["job"]["attempt"], run=body["run"]["id"])
    if answer.status >= 400:
        record["code"] = body.get("code", "")
