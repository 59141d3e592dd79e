"""From the login to a comparison without a mouse; the worker's part is played by the services."""

from pathlib import Path

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Locator, Page, expect

from runs_app.models import BUILTIN_TINY_BERT, Run
from tests.e2e.conftest import PASSWORD
from tests.e2e.test_first_day import sample
from tests.e2e.test_run_page import finish, report
from tests.factories import claim, make_worker
from tests.sheet_factories import write_sheet

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.usefixtures("catalogue")]


def tab_to(page: Page, target: Locator, key: str = "Tab") -> None:
    """From where the focus is; whoever sees no mouse pointer sees where that is."""
    for _press in range(80):
        if target.evaluate("(element) => element === document.activeElement"):
            break
        page.keyboard.press(key)
    expect(target).to_be_focused()
    assert target.evaluate("(element) => element.matches(':focus-visible')")


def choose(page: Page, target: Locator, text: str) -> None:
    """In a list, by the beginning of its words."""
    tab_to(page, target)
    page.keyboard.type(text)


def press(page: Page, target: Locator, key: str = "Enter") -> None:
    tab_to(page, target)
    page.keyboard.press(key)


def log_in_by_keyboard(page: Page) -> None:
    page.goto("/admin/")
    for label, text in (("Usuário", "ana"), ("Senha", PASSWORD)):
        tab_to(page, page.get_by_label(label))
        page.keyboard.type(text)
    page.keyboard.press("Enter")


def upload_by_keyboard(page: Page, sheet: Path) -> None:
    """From the checklist to the page of the dataset."""
    press(page, page.get_by_role("link", name="Enviar planilha"))
    tab_to(page, page.get_by_label("Planilha do Excel"))
    with page.expect_file_chooser(timeout=5000) as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(sheet)
    tab_to(page, page.get_by_label("Nome"))
    page.keyboard.type("Andamentos")
    press(page, page.get_by_role("button", name="Continuar"))
    press(page, page.get_by_role("button", name="Conferir a planilha"))
    press(page, page.get_by_role("button", name="Confirmar envio"))
    expect(page.get_by_text("Planilha guardada")).to_be_visible()


def queue_by_keyboard(page: Page) -> None:
    """From the page of the dataset."""
    press(page, page.get_by_role("link", name="Treinar com este conjunto"))
    choose(page, page.get_by_label("Modelo base"), "tiny")
    tab_to(page, page.get_by_role("radio", name="Recomendada"))
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("radio", name="Rápida")).to_be_checked()
    press(page, page.get_by_role("button", name="Colocar na fila"))
    expect(page.get_by_text("está na fila. Predefinição: Rápida.")).to_be_visible()


def read_the_run_by_keyboard(page: Page) -> None:
    """What a trained run offers: its curves as a table, its log, its matrix."""
    expect(page.get_by_role("status").filter(has_text="Concluído")).to_be_visible()
    press(page, page.get_by_text("Ver os números em tabela"))
    expect(page.locator("#curves-table tbody tr")).to_have_count(1)
    press(page, page.get_by_role("radio", name="contagens"), "ArrowDown")
    expect(page.get_by_role("cell", name="75 %")).to_be_visible()
    press(page, page.get_by_label("Acompanhar"), "Space")
    choose(page, page.get_by_label("Nível"), "somente erros")
    expect(page.locator("#log .line .text")).to_have_text(["parou"])
    tab_to(page, page.get_by_role("log"))


def reproduce_and_cancel_by_keyboard(page: Page) -> None:
    press(page, page.get_by_role("link", name="Reproduzir"))
    tab_to(page, page.get_by_label("Nome do novo treinamento"))
    page.keyboard.type("De novo")
    press(page, page.get_by_role("button", name="Reproduzir treinamento"))
    expect(page.get_by_text("“De novo” está na fila.")).to_be_visible()
    press(page, page.get_by_role("link", name="Cancelar"))
    press(page, page.get_by_role("button", name="Cancelar treinamento"))
    expect(page.get_by_role("status").filter(has_text="Cancelado")).to_be_visible()


def compare_by_keyboard(page: Page) -> None:
    """All there are, chosen in the list."""
    press(page, page.get_by_role("navigation", name="Menu").get_by_role("link", name="Treinamentos"))
    for row in (0, 1):
        press(page, page.get_by_role("row").get_by_role("checkbox").nth(row + 1), "Space")
    tab_to(page, page.get_by_role("combobox", name="Ação"), "Shift+Tab")
    page.keyboard.type("Comparar")
    press(page, page.get_by_role("button", name="Ir", exact=True))
    expect(page.get_by_role("columnheader", name="De novo")).to_be_visible()
    press(page, page.get_by_role("link", name="Somente diferenças"))
    expect(page.get_by_role("link", name="Mostrar tudo")).to_be_visible()


def test_the_keyboard_alone_is_enough(page: Page, ana: User, tmp_path: Path) -> None:
    log_in_by_keyboard(page)
    upload_by_keyboard(page, write_sheet(tmp_path / "planilha.xlsx", [("texto", "rótulo"), *sample(40)]))
    queue_by_keyboard(page)
    run = Run.objects.get()
    assert (run.dataset.name, run.base_model, run.epochs) == ("Andamentos", BUILTIN_TINY_BERT, 3)
    job = claim(make_worker("gpu-1")[0])
    assert job is not None
    report(job)
    finish(job)
    read_the_run_by_keyboard(page)
    reproduce_and_cancel_by_keyboard(page)
    compare_by_keyboard(page)
