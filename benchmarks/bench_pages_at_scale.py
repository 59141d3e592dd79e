"""How fast every page answers among 100,000 runs and 5 million log lines, and how many queries it asks.

    python benchmarks/bench_pages_at_scale.py
    python benchmarks/bench_pages_at_scale.py --database sqlite --runs 20000 --lines 1000000 --rounds 5
    python benchmarks/bench_pages_at_scale.py --folder var/scale    # kept, and used again by the next call

One uvicorn process, as in production, on a database of its own; one superuser's session over real HTTP, one request
at a time, every page once per round. Queries are counted in this process, by Django's test client as the same person.
Of the log as a file the first piece is timed: it is sent as it is read. Ends with 1 when a page takes too long or asks
too much.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import many_runs
from benchmarks.bench_claims import set_up, start_postgresql
from tests.end_to_end.site import Site

LIMIT_MS, MOST_QUERIES = 300, 15
WARM_UP = 2
DAY_S = "86400"  # leases and heartbeats of the rows do not run out meanwhile
API = "/bert-training/api"
# Of each list: as it opens, far behind, searched, filtered, ordered. DEEP: in the middle of the runs.
QUERIES = {
    "runs": [
        *("p=2", "p=DEEP", "q=andamentos", "q=lote+17", "q=99", "q=inexistente", "status__exact=failed"),
        *("status__exact=completed&p=DEEP", "task_type__exact=text_classification", "base_model=xlm-roberta-base"),
        *("archived=1", "o=1", "o=2", "o=-3", "o=-5.1", "o=6", "o=7", "o=8", "o=10", "o=2&p=DEEP", "o=-5&p=DEEP"),
        *("q=andamentos&o=-5", "q=andamentos&status__exact=failed&p=3"),
    ],
    "queue": ["status=pending", "status=running", "q=andamentos", "p=3"],
    "trained-models": ["p=2", "p=DEEP", "q=andamentos", "run__task_type__exact=text_classification"]
    + [f"o={number}" for number in (1, -2, 3, 4, 5, 6, 7)],
    "datasets": ["p=3", "q=lote", "task_type__exact=text_classification", "o=1", "o=-3", "o=-8"],
    "workers": ["q=gpu", "enabled__exact=1", "o=3", "o=6"],
    "base-models": ["q=bert", "enabled__exact=1", "o=-8"],
    "run-long-log": [
        *("start=0", "start=50000", "start=99800", "level=ERROR", "level=WARNING&start=400", "search=4999"),
        *("search=no+such+words", "search=loss&start=50000"),
    ],
}
API_PAGES = [
    *("datasets", "runs", "runs?page=DEEP", "runs?page_size=500", "runs?status=failed", "runs?ordering=-finished_at"),
    *("runs?base_model=xlm-roberta-base", "runs?ordering=name&page=DEEP", "queue/status", "workers"),
]


def pages_of(sown: dict[str, str], runs: int) -> dict[str, str]:
    """Every address to be asked, by a name for the table."""
    found = {name: url for name, url in sown.items() if not name.startswith("first-")}
    for name, queries in QUERIES.items():
        found |= {f"{name} ?{query}": f"{found[name]}{'&' if '?' in found[name] else '?'}{query}" for query in queries}
    found |= {f"api {route}": f"{API}/{route}" for route in API_PAGES}
    found = {name: url.replace("DEEP", str(runs // 100)) for name, url in found.items()}
    return {**found, "home-live": "/admin/live/", "new-run-panel": _panel(found["run-new"])}


def _panel(form: str) -> str:
    """The address of the panel beside that form, with the form's own fields."""
    from urllib.parse import urlencode

    from runs_app.forms import NewRunForm

    address, _mark, chosen = form.partition("?")
    fields = {"dataset": chosen.removeprefix("dataset="), "base_model": "neuralmind/bert-base-portuguese-cased"}
    return f"{address}preview/?{urlencode({**NewRunForm(initial=fields).as_shown(), **fields}, doseq=True)}"


class Person:
    """A superuser's browser, on one connection."""

    def __init__(self, site: Site, session: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
        self.headers = {"Cookie": f"sessionid={session}", "Accept-Language": "pt-BR"}

    def seconds(self, url: str) -> float:
        """Until the answer is there; of a file, its first piece."""
        began = time.perf_counter()
        self.connection.request("GET", url, headers=self.headers)
        answer = self.connection.getresponse()
        is_file = "attachment" in answer.headers.get("Content-Disposition", "")
        answer.read(1 if is_file else None)
        took = time.perf_counter() - began
        answer.read()
        assert answer.status == 200, (url, answer.status)
        return took


def count_queries(session: str, urls: dict[str, str]) -> dict[str, int]:
    """By name, of a second request: the first fills caches such as content types."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    client, counts = Client(headers={"host": "127.0.0.1"}), {}
    client.cookies["sessionid"] = session
    for name, url in urls.items():
        for _time in range(2):
            with CaptureQueriesContext(connection) as queries:
                answer = client.get(url)
                if answer.streaming:
                    next(iter(answer))
            answer.close()
        assert answer.status_code == 200, (url, answer.status_code)
        counts[name] = len(queries)
    return counts


def measure(person: Person, urls: dict[str, str], rounds: int) -> dict[str, list[float]]:
    """Milliseconds by name."""
    taken = defaultdict(list)
    for round_ in range(-WARM_UP, rounds):
        for name, url in urls.items():
            took = person.seconds(url) * 1000
            if round_ >= 0:
                taken[name].append(took)
    return taken


def share(values: list[float], part: float) -> float:
    """The value under which that part of them lies."""
    ordered = sorted(values)
    return ordered[round(part * (len(ordered) - 1))]


def table(taken: dict[str, list[float]], counts: dict[str, int]) -> list[str]:
    """Prints one line per page, the slowest first; returns those beyond the limits."""
    print("| page | p50, ms | p95, ms | queries | verdict |\n| --- | --- | --- | --- | --- |")
    beyond = []
    for name in sorted(taken, key=lambda name: -share(taken[name], 0.95)):
        p50, p95 = share(taken[name], 0.5), share(taken[name], 0.95)
        is_within = p95 <= LIMIT_MS and counts[name] <= MOST_QUERIES
        beyond += [] if is_within else [name]
        print(f"| {name} | {p50:.0f} | {p95:.0f} | {counts[name]} | {'met' if is_within else 'NOT MET'} |")
    return beyond


def sown(site: Site, asked: argparse.Namespace) -> dict[str, Any]:
    """{session, pages}; filled once per folder."""
    kept = site.folder / f"pages-{asked.database}.json"
    if not kept.exists():
        from tests.screenshot_seed import first_day

        began = time.monotonic()
        _pages, session = first_day()
        kept.write_text(json.dumps({"session": session, "pages": many_runs.fill(asked.runs, asked.lines)}))
        print(f"{asked.runs} runs, {asked.lines} log lines: filled in {time.monotonic() - began:.0f} s", flush=True)
    return dict(json.loads(kept.read_text()))


def run(folder: Path, asked: argparse.Namespace) -> None:
    """Everything, in that folder."""
    url = start_postgresql(folder) if asked.database == "postgresql" else f"sqlite:///{folder / 'db.sqlite3'}"
    site = Site(folder, url)
    site.environment |= {
        "SECRET_KEY": "only for benchmarks, the same for each of them, so that the session stays valid",
        "JOB_LEASE_SECONDS": DAY_S,
        "WORKER_OFFLINE_SECONDS": DAY_S,
    }
    set_up(site)
    known = sown(site, asked)
    urls = {name: url for name, url in pages_of(known["pages"], asked.runs).items() if asked.only in name}
    counts = count_queries(known["session"], urls)
    try:
        site.start_server()
        taken = measure(Person(site, known["session"]), urls, asked.rounds)
    finally:
        site.stop()
    print(f"{asked.database}, {os.cpu_count()} cores, {len(urls)} pages, {asked.rounds} times each")
    beyond = table(taken, counts)
    if beyond:
        raise SystemExit(f"Over {LIMIT_MS} ms (p95) or {MOST_QUERIES} queries: {', '.join(beyond)}")


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--lines", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="keep database and files here, and use them again")
    parser.add_argument("--only", default="", help="pages whose name contains this")
    asked = parser.parse_args()
    if asked.folder is not None:
        asked.folder.mkdir(parents=True, exist_ok=True)
        run(asked.folder.resolve(), asked)
        return
    with tempfile.TemporaryDirectory() as name:
        run(Path(name), asked)


if __name__ == "__main__":
    main()
