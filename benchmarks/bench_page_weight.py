"""What each page of the admin weighs on the wire with an empty cache, by a real Chromium.

    python benchmarks/bench_page_weight.py

The server runs without DEBUG and with collected, compressed static files, on the rows of `make screenshots`. Counted is
what Chromium received for page, styles, scripts and images, headers included. HTML is sent as it is; a proxy may
compress it.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests import screenshots  # noqa: E402
from tests.chromium import find_chromium  # noqa: E402

LIMITS_KB = {"index": 160, "runs": 160, "queue": 160, "datasets": 160, "run-completed": 200}
ENVIRONMENT = {
    "DEBUG": "0",
    "SECURE_SSL_REDIRECT": "0",
    "SESSION_COOKIE_SECURE": "0",
    "CSRF_COOKIE_SECURE": "0",
    "DJANGO_SETTINGS_MODULE": "benchmarks.page_settings",
}


class WeighingBrowser(screenshots.Browser):
    """Adds up what comes over the wire."""

    received: dict[str, float]

    def weigh(self, url: str) -> tuple[float, int]:
        """Bytes and requests of one page, with nothing in the cache."""
        self.received = {}
        self.call("Network.clearBrowserCache")
        self.open(url)
        return sum(self.received.values()), len(self.received)

    def _hear(self, event: dict[str, Any]) -> None:
        if event.get("method") == "Network.loadingFinished" and hasattr(self, "received"):
            self.received[event["params"]["requestId"]] = event["params"]["encodedDataLength"]
        super()._hear(event)


def main() -> None:
    """Prints one line per page; exits with 1 when one is too heavy."""
    program = find_chromium()
    if program is None:
        print("No Chromium was found: nothing weighed.")
        return
    with tempfile.TemporaryDirectory(prefix="bert-weight-") as scratch:
        screenshots.prepare(Path(scratch))
        os.environ |= {**ENVIRONMENT, "BENCH_STATIC_ROOT": f"{scratch}/static"}
        collect = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity", "0"]
        subprocess.run(collect, cwd=ROOT, check=True)
        with screenshots.served() as address:
            browser = WeighingBrowser(program, Path(scratch) / "profile")
            try:
                heavy = weigh_all(browser, address)
            finally:
                browser.close()
    if heavy:
        raise SystemExit("Too heavy: " + ", ".join(heavy))


def weigh_all(browser: WeighingBrowser, address: str) -> list[str]:
    """The pages that weigh more than they may."""
    from tests.screenshot_seed import first_day, sow

    _pages, session = first_day()
    pages = sow()
    browser.call("Network.setCookie", name="sessionid", value=session, url=address)
    heavy = []
    for name, limit in LIMITS_KB.items():
        weight, requests = browser.weigh(address + pages[name])
        print(f"{name:15} {weight / 1000:6.1f} kB in {requests:2} requests, at most {limit}", flush=True)
        if weight > limit * 1000:
            heavy.append(name)
    return heavy


if __name__ == "__main__":
    main()
