"""The log of a run with 100,000 lines in a real Chromium: when it is there, how quick a jump is, how much is drawn.

    python benchmarks/bench_long_log.py

The server works on SQLite. First lines: from the click to a page whose log shows its end. Jump: from the move of the
scroll bar to the lines at that place; the medians of several.
"""

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests import screenshots  # noqa: E402
from tests.chromium import FLAGS, find_chromium  # noqa: E402

LINES = 100_000
TIMES = 9
JUMP = """async (position) => {
    const box = document.getElementById("log");
    const row = box.querySelector(".line").getBoundingClientRect().height;
    const began = performance.now();
    box.scrollTop = position * row;
    while (!box.textContent.includes(`line ${position + 1},`)) await new Promise(requestAnimationFrame);
    return performance.now() - began;
}"""
SHOWN = """async () => {
    const text = (id) => document.getElementById(id)?.textContent ?? "";
    const isThere = () => text("log").includes("line 100000,") && text("log-count");  // scripts fill the latter
    while (!isThere()) await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    return performance.now();
}"""


def main() -> None:
    """Prints one line per figure."""
    program = find_chromium()
    if program is None:
        print("No Chromium was found: nothing measured.")
        return
    with tempfile.TemporaryDirectory(prefix="bert-log-") as scratch:
        screenshots.prepare(Path(scratch))
        from tests.screenshot_seed import first_day

        _pages, session = first_day()
        path = sow()
        from playwright.sync_api import sync_playwright

        with screenshots.served() as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
            context = browser.new_context(viewport={"width": 1360, "height": 900})
            context.add_cookies([{"name": "sessionid", "value": session, "url": address}])
            measure(context.new_page(), address + path)
            browser.close()


def sow() -> str:
    """A run with that many lines; the address of its page."""
    from django.urls import reverse
    from django.utils import timezone

    from runs_app.models import LogEntry
    from tests.factories import make_running_job

    job, now = make_running_job(), timezone.now()
    LogEntry.objects.bulk_create(
        (
            LogEntry(job=job, attempt=1, seq=seq, timestamp=now, level="INFO", message=f"line {seq}, loss 0.{seq:06}")
            for seq in range(1, LINES + 1)
        ),
        batch_size=5000,
    )
    return reverse("admin:runs_app_run_change", args=[job.run_id])


def measure(page: Any, url: str) -> None:
    """Opens the page several times, then jumps to several places in its middle."""
    opened = []
    for _time in range(TIMES):
        page.goto(url, wait_until="commit")
        opened.append(page.evaluate(SHOWN))
    jumps = [page.evaluate(JUMP, LINES // 2 + 1500 * number) for number in range(TIMES)]
    nodes, rows = page.evaluate(
        "[document.querySelectorAll('*').length, document.querySelectorAll('#log .line').length]"
    )
    print(f"first lines     {statistics.median(opened):6.0f} ms (worst {max(opened):.0f})")
    print(f"jump            {statistics.median(jumps):6.0f} ms (worst {max(jumps):.0f})")
    print(f"nodes on page   {nodes:6}, rows of the log {rows}, of {LINES} lines")


if __name__ == "__main__":
    main()
