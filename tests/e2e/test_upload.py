"""What the upload page does before anything is sent."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Visit

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.usefixtures("media")]

UPLOAD = "/admin/datasets_app/dataset/add/"


def sparse(path: Path, megabytes: int) -> Path:
    """A file of that size that takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(megabytes * 2**20)
    return path


def test_a_file_that_is_too_large_is_told_of_and_not_sent(page: Page, visit: Visit, tmp_path: Path) -> None:
    visit(UPLOAD)
    posts: list[str] = []
    page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
    sheet = page.get_by_label("Planilha do Excel")
    sheet.set_input_files(sparse(tmp_path / "enorme.xlsx", 101))
    page.get_by_label("Nome").fill("Enorme")
    page.get_by_role("button", name="Continuar").click()
    why = "O arquivo tem mais de 100 MB, o máximo que este servidor aceita."
    assert sheet.evaluate("input => input.validationMessage") == why
    assert posts == []
    sheet.set_input_files(sparse(tmp_path / "pequena.xlsx", 1))
    page.get_by_role("button", name="Continuar").click()
    expect(page.get_by_role("alert")).to_contain_text("A planilha não foi guardada.")
