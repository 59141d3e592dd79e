"""What 200 open pages of running runs cost the workers, and how soon a page hears what a worker says.

    python benchmarks/bench_open_pages.py
    python benchmarks/bench_open_pages.py --database sqlite --pages 200 --seconds 60

One uvicorn process, as in production. 16 workers train: log lines, progress and a heartbeat every 2 s (in production
every 30 s), figures every 20 s. Four more claim and give back, four times a second each. First without any page, then
while all of them are opened, ten a second, until each has its curves and has asked for its blocks once, then with all
of them open. A page does what run_page.js does: it is loaded, listens from its last line on, and asks for its blocks
and curves again after a figure and every 30 s; what it loads once and keeps (scripts, styles) is left out. Lines,
figures and progress carry the time at which the worker began its call. Workers, pages and database share the
processors with the server; workers and pages take about a twentieth of one.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import itertools
import json
import math
import multiprocessing
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import requests

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.bench_claims import start_postgresql
from tests.end_to_end.site import PERSON_ENVIRONMENT, Site
from tests.sheet_factories import text_sheet

TRAINING, CLAIMING = 16, 4
TELL_S, FIGURES_S, CLAIM_S = 2.0, 20.0, 0.25
OPEN_EVERY_S, MOST_TO_OPEN_S, SETTLE_S = 0.1, 120.0, 5.0
GOAL_S, DELAY_GOAL_S = 1.0, 2.0
BURST_S, GAP_S, REFRESH_S, RECONNECT_S = 0.15, 1.5, 30.0, 2.0  # of run_page.js and stream.js
API = "/bert-training/api"


class Taken(NamedTuple):
    """One call or one event: what kind, when it began, and the seconds until it was answered or heard."""

    kind: str
    began: float
    seconds: float


# Workers


class Caller:
    """One worker on one connection."""

    def __init__(self, port: int, token: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.taken: list[Taken] = []

    def post(self, kind: str, route: str, **body: Any) -> Any:
        """The answer; how long it took is kept."""
        began = time.monotonic()
        self.connection.request("POST", f"{API}/{route}", json.dumps(body), self.headers)
        answer = self.connection.getresponse()
        text = answer.read()
        self.taken.append(Taken(kind, began, time.monotonic() - began))
        assert answer.status in (200, 204), text
        return json.loads(text) if text else None


def train(caller: Caller, job: dict[str, int], until: Any) -> None:
    """As a worker in the middle of a long run."""
    time.sleep(random.uniform(0, TELL_S))
    held = {"job": job["id"], "attempt": job["attempt"]}
    figures_at = time.monotonic() + random.uniform(0, FIGURES_S)
    for number in itertools.count(1):
        if time.monotonic() > until.value:
            return
        now, stamp = time.monotonic(), datetime.now(UTC).isoformat()
        lines = [{"seq": 2 * number - n, "timestamp": stamp, "level": "INFO", "message": f"{now}"} for n in (1, 0)]
        caller.post("logs", "logs/batch", **held, lines=lines)
        told = {"epoch": number / 10, "step": number, "total_steps": 10**6, "phase": "training"}
        caller.post(
            "progress", f"jobs/{job['id']}/progress", attempt=job["attempt"], **told, message=f"{time.monotonic()}"
        )
        caller.post("heartbeat", "workers/heartbeat", **held, state="busy", gpu_utilization=90.0)
        if time.monotonic() > figures_at:
            figures_at += FIGURES_S
            at = {"epoch": number / 10, "step": number, "split": "train"}
            caller.post("metrics", "metrics", **held, metrics=[{**at, "values": {"loss": time.monotonic()}}])
        time.sleep(max(0.0, now + TELL_S - time.monotonic()))


def claim(caller: Caller, until: Any) -> None:
    """Takes a job and gives it back."""
    while time.monotonic() < until.value:
        job = caller.post("claim", "jobs/claim", claim_id=str(uuid.uuid4()))["job"]
        caller.post("release", f"jobs/{job['id']}/release", attempt=job["attempt"], reason="shutdown")
        time.sleep(CLAIM_S)


def work(port: int, tokens: Sequence[str], jobs: Sequence[dict[str, int]], until: Any, results: Any) -> None:
    """All workers, as threads of one process, until the shared number of that name."""
    callers = [Caller(port, token) for token in tokens]
    threads = [
        *(
            threading.Thread(target=train, args=(caller, job, until))
            for caller, job in zip(callers, jobs, strict=False)
        ),
        *(threading.Thread(target=claim, args=(caller, until)) for caller in callers[len(jobs) :]),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put([taken for caller in callers for taken in caller.taken])


# Pages


class Page:
    """The page of one run in one browser."""

    def __init__(self, port: int, session: str, run: int) -> None:
        self.port, self.run = port, run
        self.headers = f"Host: 127.0.0.1\r\nCookie: sessionid={session}\r\nAccept-Language: pt-BR\r\n"
        self.heard: list[Taken] = []
        self.last = 0  # id of the last line
        self.refresh_wanted, self.is_open = asyncio.Event(), asyncio.Event()

    async def stay_open(self, wait_s: float) -> None:
        """Until it is cancelled."""
        await asyncio.sleep(wait_s)
        page = await self._get("change")
        self.last = int(re.findall(rb'data-last-id="(\d+)"', page)[0])
        await asyncio.gather(self._listen(), self._get("curves"), self._refresh())

    @asynccontextmanager
    async def _ask(self, path: str) -> AsyncIterator[asyncio.StreamReader]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.1\r\n{self.headers}Connection: close\r\n\r\n".encode())
        status = await reader.readline()
        assert b" 200 " in status, (path, status)
        yield reader
        writer.close()

    async def _get(self, name: str) -> bytes:
        began = time.monotonic()
        async with self._ask(f"/admin/runs_app/run/{self.run}/{name}/") as answer:
            text = await answer.read()
        self.heard.append(Taken(f"page: {name}", began, time.monotonic() - began))
        return text

    async def _listen(self) -> None:
        while True:
            event = ""
            async with self._ask(f"{API}/runs/{self.run}/logs?after={self.last}") as stream:
                while line := await stream.readline():
                    name, _colon, value = line.decode().strip().partition(": ")
                    if name == "event":
                        event = value
                    elif name == "id":
                        self.last = int(value)
                    elif name == "data":
                        self._hear(event, json.loads(value))
            await asyncio.sleep(RECONNECT_S)

    def _hear(self, event: str, data: dict[str, Any]) -> None:
        now = time.monotonic()
        sent = {"log": data.get("message"), "progress": data.get("message")}.get(event)
        if event == "metric":
            sent = data["values"]["loss"]
        if sent:
            self.heard.append(Taken(f"event: {event}", float(sent), now - float(sent)))
        if event in ("metric", "status"):
            self.refresh_wanted.set()

    async def _refresh(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.refresh_wanted.wait(), REFRESH_S)
            await asyncio.sleep(BURST_S)
            self.refresh_wanted.clear()
            await self._get("live")
            await self._get("curves")
            self.is_open.set()
            await asyncio.sleep(GAP_S)


def look(port: int, session: str, runs: Sequence[int], asked: argparse.Namespace, until: Any, results: Any) -> None:
    """All pages, in one event loop; gives the moment at which the last one was open, and sets the end by it."""
    results.put(asyncio.run(_look(port, session, runs, asked, until)))


async def _look(
    port: int, session: str, runs: Sequence[int], asked: argparse.Namespace, until: Any
) -> tuple[float, list[Taken]]:
    pages = [Page(port, session, run) for run, _number in zip(itertools.cycle(runs), range(asked.pages), strict=False)]
    tasks = [asyncio.create_task(page.stay_open(number * OPEN_EVERY_S)) for number, page in enumerate(pages)]

    async def watch() -> float:
        for page in pages:
            await page.is_open.wait()
        open_ = time.monotonic()
        until.value = open_ + asked.seconds
        await asyncio.sleep(asked.seconds)
        return open_

    watching = asyncio.create_task(watch())
    wait_s = asked.pages * OPEN_EVERY_S + MOST_TO_OPEN_S + asked.seconds
    done, _pending = await asyncio.wait([watching, *tasks], timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()  # a page that broke is no open page
    for task in tasks:
        task.cancel()
    return await asyncio.wait_for(watching, 0), [heard for page in pages for heard in page.heard]


# The whole


def measure(site: Site, asked: argparse.Namespace) -> list[tuple[str, list[Taken]]]:
    """By phase, what began in it."""
    dataset = site.upload(text_sheet(site.folder / "small.xlsx"))
    for _number in range(TRAINING + CLAIMING):
        site.queue_run(dataset)
    names = [f"gpu-{number}" for number in range(TRAINING + CLAIMING)]
    tokens = [site.post("/workers/register", {"name": name}).json()["token"] for name in names]
    claimed = [
        Caller(site.port, token).post("", "jobs/claim", claim_id=str(uuid.uuid4())) for token in tokens[:TRAINING]
    ]
    jobs, runs = [each["job"] for each in claimed], [each["run"]["id"] for each in claimed]
    session = log_in(site)
    context = multiprocessing.get_context("fork")
    results, until = context.SimpleQueue(), context.Value("d", math.inf)
    told: Any = context.SimpleQueue()
    began = time.monotonic()
    working = context.Process(target=work, args=(site.port, tokens, jobs, until, results))
    working.start()
    opening = began + SETTLE_S + asked.seconds
    time.sleep(opening - time.monotonic())
    looking = context.Process(target=look, args=(site.port, session, runs, asked, until, told))
    looking.start()
    open_, heard = told.get()
    taken = [*results.get(), *heard]
    working.join()
    looking.join()
    print(f"{asked.database}: {asked.pages} pages were open {open_ - opening:.1f} s after the first began", flush=True)
    phases = {"no pages": (began + SETTLE_S, opening), "opening": (opening, open_), "open": (open_, until.value)}
    return [
        (name, [each for each in taken if since <= each.began < to - SETTLE_S and _belongs(each, name)])
        for name, (since, to) in phases.items()
    ]


def _belongs(each: Taken, phase: str) -> bool:
    """Not what pages are told at their opening of the time before it."""
    return phase == "open" or not each.kind.startswith("event")


def log_in(site: Site) -> str:
    """The session of the superuser, by the login page."""
    person, url = requests.Session(), f"{site.address}/admin/login/"
    token = person.get(url, timeout=20).cookies["csrftoken"]
    password = PERSON_ENVIRONMENT["DJANGO_SUPERUSER_PASSWORD"]
    person.post(url, {"username": "ana", "password": password, "csrfmiddlewaretoken": token}, timeout=20)
    return person.cookies["sessionid"]


def rows(phase: str, taken: list[Taken]) -> Iterator[tuple[str, bool]]:
    """Lines of the table, and whether each meets its goal."""
    for kind in sorted({each.kind for each in taken}):
        ordered = sorted(each.seconds for each in taken if each.kind == kind)
        p50, p99 = (ordered[round(share * (len(ordered) - 1))] for share in (0.5, 0.99))
        goal = DELAY_GOAL_S if kind.startswith("event") else GOAL_S if kind in ("claim", "heartbeat") else None
        verdict = "" if goal is None else "met" if p99 < goal else "NOT MET"
        yield (
            f"| {phase} | {kind} | {len(ordered)} | {p50 * 1000:.0f} | {p99 * 1000:.0f} | {verdict} |",
            verdict != "NOT MET",
        )


def run(folder: Path, asked: argparse.Namespace) -> None:
    """One database."""
    url = start_postgresql(folder) if asked.database == "postgresql" else f"sqlite:///{folder / 'db.sqlite3'}"
    site = Site(folder, url)
    site.environment |= {"SESSION_COOKIE_SECURE": "0", "CSRF_COOKIE_SECURE": "0", "LOG_LEVEL": "WARNING"}
    site.prepare()
    try:
        site.start_server()
        phases = measure(site, asked)
    finally:
        site.stop()
    print("\n| phase | what | count | p50, ms | p99, ms | verdict |")
    print("| --- | --- | --- | --- | --- | --- |")
    told = [row for phase, taken in phases for row in rows(phase, taken)]
    print("\n".join(row for row, _is_met in told), flush=True)
    if not all(is_met for _row, is_met in told):
        raise SystemExit(f"{asked.database}: a goal was not met")


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=("postgresql", "sqlite"), help="both, one after the other, by default")
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60, help="of each phase")
    asked = parser.parse_args()
    if asked.database is None:  # a process each, so that the second begins as the first did
        for database in ("postgresql", "sqlite"):
            subprocess.run([sys.executable, *sys.argv, "--database", database], check=True)
        return
    with tempfile.TemporaryDirectory() as name:
        run(Path(name), asked)


if __name__ == "__main__":
    main()
