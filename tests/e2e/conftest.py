"""A real server, a real Chromium: what a person sees, with everything that a page complains about.

    def test_something(page: Page, visit: Visit, barriers: Barriers) -> None:
        visit("/admin/")
        assert barriers("dark", PHONE) == []

A test ends as an error where the console told of an error or the content security policy forbade something.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Literal

import pytest
from django.apps import apps
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, ViewportSize, expect, sync_playwright

from tests.chromium import FLAGS, MISSING, find_chromium
from tests.factories import make_user
from tests.live_server import running_server

AXE = Path(__file__).with_name("axe-core-4.14.1") / "axe.min.js"
WIDE, PHONE = ViewportSize(width=1360, height=900), ViewportSize(width=400, height=800)
PASSWORD = "not-a-secret"  # of every person of `make_user`
PATIENCE_MS = 60_000  # two busy cores; a test depends on what comes, not on how soon
CHECK = """async () => {
    const found = await axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] });
    return found.violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(" ")}`));
}"""

Visit = Callable[[str], None]
Barriers = Callable[[Literal["light", "dark"], ViewportSize], list[str]]


@pytest.fixture(scope="module")
def server(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server on the tests' own database; a test of it is `django_db(transaction=True)`."""
    plain_http = {"SESSION_COOKIE_SECURE": "0", "CSRF_COOKIE_SECURE": "0"}
    with running_server(tmp_path_factory.mktemp("server"), "tests.e2e.server_app:application", **plain_http) as url:
        yield url


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Of one module: while it is there, an event loop runs in this thread, and Django refuses to work beside one."""
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as started:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        expect.set_options(timeout=PATIENCE_MS)
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """The system's Chromium; Playwright's own is not downloaded."""
    program = find_chromium()
    if program is None:
        pytest.fail(MISSING)
    browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the console told; it may have told of nothing."""
    heard: list[str] = []
    yield heard
    assert heard == []


@pytest.fixture
def page(browser: Browser, server: str, complaints: list[str]) -> Iterator[Page]:
    """A page of a visitor from Brazil, not signed in."""
    context = browser.new_context(base_url=server, locale="pt-BR", viewport=WIDE, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(f"{page.url}: {message.text}")

    page.on("console", hear)
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    yield page
    context.close()


@pytest.fixture
def catalogue(transactional_db: None) -> None:
    """The base models of the migrations, which are gone after a test that emptied the tables behind itself."""
    import_module("runs_app.migrations.0002_base_model_catalogue").fill(apps, None)


@pytest.fixture
def person() -> User:
    """Who is signed in: somebody who may do everything."""
    return make_user(username="ana", is_superuser=True)


@pytest.fixture
def ana(settings: LazySettings) -> User:
    """Somebody whose password the server can check: its process does not know the suite's quick hashing."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    return make_user(username="ana", is_superuser=True)


@pytest.fixture
def visit(page: Page, person: User, server: str) -> Visit:
    """Opens a page as `person`."""
    client = Client()
    client.force_login(person)
    page.context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": server}])

    def go(path: str) -> None:
        page.goto(path)

    return go


@pytest.fixture
def barriers(page: Page, complaints: list[str]) -> Barriers:
    """What axe-core finds against WCAG 2.1 A and AA on the page as it stands, in this colour scheme and size."""

    def find(scheme: Literal["light", "dark"], size: ViewportSize) -> list[str]:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(size)
        told = len(complaints)
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found: list[str] = page.evaluate(CHECK)
        complaints[told:] = [text for text in complaints[told:] if "inline style" not in text]  # axe's own, refused
        return found

    return find
