"""The form of a new run: what a browser puts back into it is what the person had chosen."""

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Visit
from tests.factories import make_dataset

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.usefixtures("media", "catalogue")]


def test_the_way_back_keeps_the_values_and_the_panel_tells_of_them(page: Page, visit: Visit) -> None:
    make_dataset()
    visit(reverse("admin:runs_app_run_add"))
    page.get_by_role("radio", name="Personalizada").check()
    page.get_by_role("textbox", name="Épocas").fill("0")
    page.get_by_role("link", name="Fila").click()
    page.go_back()
    expect(page.get_by_role("radio", name="Personalizada")).to_be_checked()
    expect(page.get_by_role("textbox", name="Épocas")).to_have_value("0")
    expect(page.get_by_text("Épocas: Informe um número entre 1 e 1000.")).to_be_visible()
