"""Every page of `make screenshots` keeps nobody out, by axe-core, and complains of nothing on the console.

Light and dark at 1360 px, and light at 400 px: colours do not depend on the width, and all four cost a minute more.
The rows are those of the pictures; a page that is added to them is checked here.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import PHONE, WIDE, Barriers
from tests.screenshot_seed import first_day, sow
from tests.screenshots import UNPICTURED, bad_sheet, good_sheet

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.usefixtures("catalogue")]

Check = Callable[[str], None]


@pytest.fixture
def check(barriers: Barriers) -> Iterator[Check]:
    """Looks at the page that is open; what bars somebody is told at the end, of all pages together."""
    found: list[str] = []

    def look(name: str) -> None:
        seen = {*barriers("light", PHONE), *barriers("dark", WIDE), *barriers("light", WIDE)}
        found.extend(f"{name}: {barrier}" for barrier in sorted(seen))

    yield look
    assert found == []


@pytest.fixture
def first_pages(page: Page, server: str) -> dict[str, str]:
    """The pages of a new installation, whose only person is signed in."""
    pages, session = first_day()
    page.context.add_cookies([{"name": "sessionid", "value": session, "url": server}])
    return pages


def check_all(page: Page, check: Check, pages: dict[str, str]) -> None:
    for name, path in pages.items():
        page.goto(path)
        check(name)


def send(page: Page) -> None:
    """By the button that ends the form."""
    with page.expect_navigation():
        page.locator(".submit-row input[type=submit]").click()


def test_the_login(page: Page, check: Check) -> None:
    page.goto("/admin/login/")
    check("login")


def test_the_pages_of_the_first_day(page: Page, check: Check, first_pages: dict[str, str]) -> None:
    check_all(page, check, first_pages)


def test_the_pages_with_something_in_every_state(page: Page, check: Check, first_pages: dict[str, str]) -> None:
    pages = sow()
    check_all(page, check, pages)
    page.goto(pages["worker-register"])
    page.get_by_label("Nome").fill("gpu-nova")
    send(page)
    check("worker-token")
    page.goto(pages["run-new"])
    page.get_by_label("Personalizada").check()
    page.get_by_role("textbox", name="Épocas").fill("-3")
    send(page)
    check("run-new-errors")


@pytest.mark.parametrize("sheet", [bad_sheet, good_sheet])
def test_the_steps_of_an_upload(
    page: Page, check: Check, first_pages: dict[str, str], sheet: Callable[[Path], Path], tmp_path: Path
) -> None:
    page.goto("/admin/datasets_app/dataset/add/")
    page.get_by_label("Nome").fill("Decisões de outubro")
    page.locator("input[type=file]").set_input_files(sheet(tmp_path))
    send(page)
    check("columns")
    send(page)
    check("report")


def test_the_pages_for_programs_say_nothing_on_the_console(page: Page, first_pages: dict[str, str]) -> None:
    for path in UNPICTURED:
        page.goto(path)
        expect(page.locator("body")).not_to_be_empty()
