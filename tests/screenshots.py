"""`make screenshots`: every admin page as a picture, light and dark, wide and at 400 px, by a real Chromium.

A server of its own on a scratch database with realistic rows; Chromium is driven over a pipe (its DevTools protocol),
so that a full page, a cookie and a colour scheme need no further package. Pictures go to var/screenshots or argv[1].
"""

import base64
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.chromium import FLAGS, MISSING, find_chromium  # noqa: E402

HEADLESS = [*FLAGS, "--headless", "--remote-debugging-pipe"]
UNPICTURED = ["/bert-training/api/docs", "/bert-training/api/runs"]  # opened for what they say on the console
LOOKS = {"light": (1360, "light"), "dark": (1360, "dark"), "phone": (400, "light"), "phone-dark": (400, "dark")}
SETTLE_S = 0.6  # for scripts that a page runs after it was loaded


class Browser:
    """Chromium's DevTools protocol over its pipe: JSON messages that end with a NUL."""

    def __init__(self, program: str, profile: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        # Chromium reads from descriptor 3 and writes to 4.
        command = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", command, program, *HEADLESS, f"--user-data-dir={profile}"],
            pass_fds=(to_browser, from_browser),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer, self._count, self._session, self._url = b"", 0, "", ""
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.call("Runtime.enable")
        self.call("Log.enable")
        self.call("Network.enable")
        self.call("Network.setExtraHTTPHeaders", headers={"Accept-Language": "pt-BR"})

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command and wait for its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._hear(answer)

    def open(self, url: str) -> None:
        """Load a page and let its scripts begin."""
        self._url = url
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            state = self.call("Runtime.evaluate", expression="document.readyState + location.href")["result"]["value"]
            if state == f"complete{url}":
                break
            time.sleep(0.05)
        time.sleep(SETTLE_S)

    def run(self, script: str) -> None:
        """Do something on the page and wait for what comes of it."""
        answer = self.call("Runtime.evaluate", expression=script)
        if "exceptionDetails" in answer:
            raise SystemExit(f"{script}: {answer['result'].get('description')}")
        time.sleep(3 * SETTLE_S)

    def choose_file(self, selector: str, path: Path) -> None:
        """Put a file into a form."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def picture(self, path: Path, *, width: int, scheme: str) -> None:
        """The whole page, however long."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self._size(width, 800)
        time.sleep(SETTLE_S)  # Django's colours fade into each other
        page = "(({scrollWidth, scrollHeight}) => [scrollWidth, scrollHeight])(document.documentElement)"
        found = self.call("Runtime.evaluate", expression=page, returnByValue=True)["result"]["value"]
        if found[0] > width:
            self._complain(f"{found[0]} px wide in a window of {width}")
        self._size(width, min(int(found[1]), 6000))
        shot = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        self._process.wait(10)

    def _size(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            chunk = os.read(self._read, 1 << 20)
            if not chunk:
                raise SystemExit("The browser ended by itself.")
            self._buffer += chunk
        raw, _nul, self._buffer = self._buffer.partition(b"\0")
        return json.loads(raw)

    def _hear(self, event: dict[str, Any]) -> None:
        """Errors on the console are findings, and so is whatever the content security policy forbade."""
        heard, said = event.get("method"), event.get("params", {})
        if heard == "Runtime.exceptionThrown":
            self._complain(said["exceptionDetails"]["exception"].get("description", "exception"))
        elif heard == "Runtime.consoleAPICalled" and said["type"] == "error":
            self._complain(" ".join(str(part.get("value", part.get("description"))) for part in said["args"]))
        elif heard == "Log.entryAdded" and said["entry"]["level"] == "error":
            self._complain(f"{said['entry']['text']} {said['entry'].get('url', '')}")

    def _complain(self, text: str) -> None:
        self.complaints.append(f"{self._url}: {text}")


def main() -> None:
    """Seed, serve, photograph. Exits with 1 when a page complained on its console or is wider than its window."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "var" / "screenshots"
    program = find_chromium()
    if program is None:
        raise SystemExit(MISSING)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bert-screenshots-") as scratch:
        prepare(Path(scratch))
        with served() as address:
            browser = Browser(program, Path(scratch) / "profile")
            try:
                photograph(browser, address, target)
            finally:
                browser.close()
            if browser.complaints:
                raise SystemExit("\n".join(["Complaints:", *browser.complaints]))


def prepare(scratch: Path) -> None:
    """An empty database, for this process and for the server."""
    os.environ |= {
        "SECRET_KEY": "only-for-screenshots",
        "DEBUG": "1",
        "DATABASE_URL": f"sqlite:///{scratch}/db.sqlite3",
        "MEDIA_ROOT": str(scratch / "media"),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "LOG_LEVEL": "ERROR",
    }
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


@contextmanager
def served() -> Iterator[str]:
    """The real server on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "config.asgi:application", "--port", str(port), "--log-level", "error"]
    server = subprocess.Popen(command, cwd=ROOT)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/healthz")
        yield address
    finally:
        server.terminate()
        server.wait(20)


def wait_for(url: str) -> None:
    """Until the server answers."""
    for _attempt in range(100):
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310  our own loopback address
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{url} does not answer.")


def photograph(browser: Browser, address: str, target: Path) -> None:
    """Each page in each look: first as a new installation shows them, then with something in every state."""
    from tests.screenshot_seed import first_day, sow

    browser.open(f"{address}/admin/login/")
    photograph_page(browser, "login", target)
    pages, session = first_day()
    browser.call("Network.setCookie", name="sessionid", value=session, url=address)
    photograph_pages(browser, address, pages, target)
    pages = sow()
    photograph_pages(browser, address, pages, target)
    send = "document.querySelector('form:has(.submit-row)').submit()"
    browser.open(address + pages["worker-register"])
    browser.run(f"document.getElementById('id_name').value = 'gpu-nova'; {send}")
    photograph_page(browser, "worker-token", target)
    photograph_upload(browser, address + pages["dataset-upload"], target)
    browser.open(address + pages["run-new"])
    custom = "document.querySelector('[value=custom]').checked = true"
    browser.run(f"{custom}; document.getElementById('id_epochs').value = '-3'; {send}")
    photograph_page(browser, "run-new-errors", target)
    for path in UNPICTURED:
        browser.open(address + path)


def photograph_pages(browser: Browser, address: str, pages: dict[str, str], target: Path) -> None:
    """By name and path."""
    for name, path in pages.items():
        browser.open(address + path)
        photograph_page(browser, name, target)


def photograph_upload(browser: Browser, address: str, target: Path) -> None:
    """The steps of an upload: a sheet with errors, then one that is kept."""
    send = "document.querySelector('form:has(.submit-row)').requestSubmit()"
    for name, sheet in (("errors", bad_sheet(target)), ("report", good_sheet(target))):
        browser.open(address)
        browser.choose_file("#id_file", sheet)
        browser.run(f"document.getElementById('id_name').value = 'Decisões de outubro'; {send}")
        photograph_page(browser, f"dataset-upload-columns-{name}", target)
        browser.run(send)
        photograph_page(browser, f"dataset-upload-{name}", target)


def good_sheet(folder: Path) -> Path:
    """A sheet that can be used, with repeats and case numbers."""
    from tests.factories import sheet_bytes

    rows = [
        (f"Agravo de instrumento no processo 0001234-{n % 7:02}.2021.8.12.0001: {n % 30} laudas.", f"tema {n % 3}")
        for n in range(90)
    ]
    path = folder / "decisoes.xlsx"
    path.write_bytes(sheet_bytes(rows))
    return path


def bad_sheet(folder: Path) -> Path:
    """A sheet with something wrong in several rows."""
    from tests.factories import CLASSIFICATION_ROWS, sheet_bytes

    path = folder / "com-erros.xlsx"
    path.write_bytes(sheet_bytes([*CLASSIFICATION_ROWS, ("", "provido"), ("Texto sem rótulo", ""), ("#N/A", "negado")]))
    return path


def photograph_page(browser: Browser, name: str, target: Path) -> None:
    """One file per look."""
    for look, (width, scheme) in LOOKS.items():
        path = target / f"{name}-{look}.png"
        browser.picture(path, width=width, scheme=scheme)
        print(path)


if __name__ == "__main__":
    main()
