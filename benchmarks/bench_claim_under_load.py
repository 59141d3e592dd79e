"""How long a claim takes while sheets are being judged: hostile ones by several clients, and a large honest one.

    python benchmarks/bench_claim_under_load.py --seconds 60
    python benchmarks/bench_claim_under_load.py --seconds 60 --database=postgresql

A real server (one uvicorn process) on a database of its own; a worker claims the one job and gives it back, again and
again. First without any load, then under it. Everything runs on this machine, the clients included.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.databases import database_url
from tests.end_to_end.sheet_load import Load, claim_seconds, honest_sheet
from tests.end_to_end.site import Site
from tests.sheet_factories import text_sheet

IDLE_S = 10


def show(name: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    p50, p95, p99 = (ordered[int(share * (len(ordered) - 1))] * 1000 for share in (0.5, 0.95, 0.99))
    worst = ordered[-1] * 1000
    print(f"{name:10} {len(ordered):5} claims: p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f}, max {worst:.0f} ms")


def ends_in(seconds: float) -> float:
    return time.monotonic() + seconds


def measure(site: Site, asked: argparse.Namespace) -> None:
    dataset = site.upload(text_sheet(site.folder / "small.xlsx"))
    site.queue_run(dataset)
    large = honest_sheet(site.folder / "large.xlsx", asked.rows)
    end = ends_in(IDLE_S)
    show("idle", claim_seconds(site, "gpu-1", until=lambda: time.monotonic() > end))
    load, large_answers = Load(site, asked.clients), []
    end = ends_in(asked.seconds)

    def send_large() -> None:
        while time.monotonic() < end:
            began = time.monotonic()
            status = load.validate(large).status_code
            large_answers.append((status, round(time.monotonic() - began, 1)))

    sender = threading.Thread(target=send_large)
    with load.running():
        sender.start()
        show("under load", claim_seconds(site, "gpu-2", until=lambda: time.monotonic() > end))
    sender.join()
    print(f"answers to hostile clients: {dict(Counter(status for _case, status in load.answers))}")
    print(f"answers to {asked.rows} rows (status, seconds): {large_answers}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        site = Site(folder, database_url(folder))
        site.prepare()
        try:
            site.start_server()
            measure(site, asked)
        finally:
            site.stop()


if __name__ == "__main__":
    main()
