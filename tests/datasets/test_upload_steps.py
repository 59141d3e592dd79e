"""The upload in steps: what each page shows, what is kept between them, and that nothing is left behind."""

import io
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import override

from datasets_app import staging
from datasets_app.models import Dataset, StagedUpload, TaskType
from datasets_app.services import SheetChoice, check_dataset
from datasets_app.sheet_templates import template_sheet
from tests.admin_client import messages_of, signed_in, text_of
from tests.datasets.test_admin_datasets import ADD, check, confirm, page_of, send, upload
from tests.factories import CLASSIFICATION_ROWS, TOKEN_ROWS, make_dataset, make_user, sheet_bytes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]

FAULTY = sheet_bytes([*CLASSIFICATION_ROWS, ("", "provido")])


@pytest.fixture(autouse=True)
def _files_go_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test runs inside a transaction that is never committed: what waits for its end happens now."""
    monkeypatch.setattr("datasets_app.models.transaction.on_commit", lambda done: done())


def staged_files(media: Path) -> list[Path]:
    return list((media / "staged").glob("*")) if (media / "staged").exists() else []


def two_sheets() -> bytes:
    book = openpyxl.load_workbook(io.BytesIO(sheet_bytes()))
    other = book.create_sheet("Outra")
    for row in [("Ementa", "Assunto"), ("Texto um", "a"), ("Texto dois", "b")]:
        other.append(row)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def test_the_first_page_states_the_limits_and_offers_both_templates() -> None:
    words = text_of(signed_in().get(ADD))
    assert "No máximo 100 MB e 1.000.000 linhas" in words
    assert "Classificação de texto (.xlsx)" in words
    assert "Reconhecimento de entidades (NER) (.xlsx)" in words


@pytest.mark.parametrize("task_type", TaskType.values)
def test_a_template_is_a_valid_sheet_with_two_examples(task_type: str) -> None:
    answer = signed_in().get(reverse("admin:datasets_app_dataset_template", args=[task_type]))
    content = answer.content
    report = check_dataset(file=ContentFile(content), choice=SheetChoice()).report
    assert (report.task_type, report.num_rows) == (task_type, 2)
    assert openpyxl.load_workbook(io.BytesIO(content)).sheetnames == ["Exemplos", "Ajuda"]


def test_an_unknown_template_is_not_found() -> None:
    assert signed_in().get(reverse("admin:datasets_app_dataset_template", args=["poesia"])).status_code == 404


def test_a_template_in_english_is_valid_too() -> None:
    with override("en"):
        content = template_sheet(TaskType.TEXT_CLASSIFICATION)
    assert check_dataset(file=ContentFile(content), choice=SheetChoice()).report.num_rows == 2


def test_a_sheet_with_one_column_is_told_what_it_lacks_and_can_be_replaced() -> None:
    words = text_of(send(signed_in(), sheet_bytes([("um",), ("dois",)], header=("texto",))))
    assert "menos de duas colunas com cabeçalho" in words
    assert "Escolha as colunas" not in words
    assert "Enviar planilha corrigida" in words


def test_a_sheet_that_is_refused_as_a_whole_can_be_replaced_with_its_name_and_description_kept() -> None:
    client, previous = signed_in(), make_dataset()
    one_class = sheet_bytes([("um", "a"), ("dois", "a")])
    page = check(client, send(client, one_class, name="Peças", description="De 2025", previous=previous.pk))
    found = re.search(r'href="([^"]*again=[^"]*)"', page.content.decode())
    assert found is not None
    fresh = client.get(found.group(1)).context["adminform"].form
    assert fresh.initial == {"name": "Peças", "description": "De 2025", "previous": previous}


@pytest.mark.parametrize("again", ["", "x", "6b0b1b4e-0000-4000-8000-000000000000"])
def test_an_upload_that_is_over_leaves_the_form_empty(again: str) -> None:
    assert signed_in().get(ADD, {"again": again}).context["adminform"].form.initial == {}


def test_the_second_page_shows_ten_rows_and_the_guessed_columns() -> None:
    rows = [(f"Texto {n}", f"rótulo {n % 2}") for n in range(20)]
    page = send(signed_in(), sheet_bytes(rows))
    words = text_of(page)
    assert "Texto 9" in words
    assert "Texto 10" not in words
    assert "Os cabeçalhos não dizem" not in words
    form = page.context["adminform"].form
    assert (form.initial["text_column"], form.initial["label_column"]) == ("texto", "rótulo")


def test_columns_that_nobody_knows_are_asked_for() -> None:
    client = signed_in()
    page = send(client, sheet_bytes(header=("Ementa", "Assunto")))
    assert "Os cabeçalhos não dizem qual coluna é qual." in text_of(page)
    assert "Escolha a coluna." in text_of(check(client, page))
    assert "Uma coluna não pode ser as duas" in text_of(
        check(client, page, text_column="Ementa", label_column="Ementa")
    )
    assert check(client, page, text_column="Ementa", label_column="Assunto").request["PATH_INFO"].endswith("/report/")


def test_another_sheet_of_the_workbook_may_be_chosen() -> None:
    client = signed_in()
    page = send(client, two_sheets())
    page = client.get(page.request["PATH_INFO"], {"sheet": "Outra"})
    assert "Texto dois" in text_of(page)
    confirm(client, check(client, page, text_column="Ementa", label_column="Assunto"))
    assert Dataset.objects.get().sheet == "Outra"


def test_the_third_page_tells_what_was_found_and_keeps_nothing_yet() -> None:
    client = signed_in()
    report = check(client, send(client, sheet_bytes([*CLASSIFICATION_ROWS, CLASSIFICATION_ROWS[0]])))
    words = text_of(report)
    assert "Pronta para treinar, com avisos" in words
    assert "Linha 6." in words
    assert 'value="Confirmar envio"' in report.content.decode()
    assert not Dataset.objects.exists()


def test_confirming_leaves_one_file_and_no_staged_row(media: Path) -> None:
    upload(signed_in(), sheet_bytes())
    assert Dataset.objects.count() == 1
    assert not StagedUpload.objects.exists()
    assert staged_files(media) == []


def test_cancelling_leaves_nothing_behind(media: Path) -> None:
    client = signed_in()
    page = send(client, sheet_bytes())
    assert len(staged_files(media)) == 1
    page = client.post(page.context["cancel_url"], follow=True)
    assert messages_of(page) == ["Envio cancelado. Nada foi guardado."]
    assert (StagedUpload.objects.count(), staged_files(media)) == (0, [])


def test_a_mere_link_cancels_nothing() -> None:
    client = signed_in()
    client.get(send(client, sheet_bytes()).context["cancel_url"])
    assert StagedUpload.objects.count() == 1


def test_an_upload_that_nobody_goes_on_with_is_removed(media: Path) -> None:
    client = signed_in()
    page = send(client, sheet_bytes())
    StagedUpload.objects.update(created_at=timezone.now() - staging.KEPT_FOR - timedelta(seconds=1))
    page = client.get(page.request["PATH_INFO"], follow=True)
    assert messages_of(page)[0].startswith("Este envio não existe mais")
    assert (StagedUpload.objects.count(), staged_files(media)) == (0, [])


def test_an_upload_whose_bytes_are_gone_is_begun_again(media: Path) -> None:
    client = signed_in()
    page = send(client, sheet_bytes())
    staged_files(media)[0].unlink()
    page = client.post(page.request["PATH_INFO"], follow=True)
    assert messages_of(page)[0].startswith("Este envio não existe mais")
    assert not StagedUpload.objects.exists()


def test_the_files_of_a_deleted_account_go_with_it(media: Path) -> None:
    client = signed_in()
    send(client, sheet_bytes())
    User.objects.all().delete()
    assert staged_files(media) == []


def test_a_person_has_three_uploads_under_way_at_most(media: Path) -> None:
    client = signed_in()
    for number in range(5):
        send(client, sheet_bytes([*CLASSIFICATION_ROWS, (f"Texto {number}", "provido")]))
    assert (StagedUpload.objects.count(), len(staged_files(media))) == (3, 3)


@pytest.mark.parametrize("step", ["columns", "report", "errors", "cancel"])
def test_an_upload_of_somebody_else_is_out_of_reach(step: str) -> None:
    send(signed_in(), sheet_bytes())
    address = reverse(f"admin:datasets_app_dataset_{step}", args=[StagedUpload.objects.get().pk])
    other = Client()
    other.force_login(make_user(is_superuser=True))
    assert other.post(address).status_code == 302
    assert StagedUpload.objects.count() == 1
    assert signed_in("datasets_app.view_dataset").get(address).status_code == 403


def test_the_marked_copy_is_offered_with_the_errors() -> None:
    client = signed_in()
    page = check(client, send(client, FAULTY, filename="minha.xlsx"))
    assert "Baixar planilha com os erros marcados" in text_of(page)
    copy = client.get(page.context["errors_url"])
    assert copy["Content-Disposition"] == 'attachment; filename="minha-erros.xlsx"'
    book = openpyxl.load_workbook(io.BytesIO(copy.content))
    assert book["Sheet"]["A6"].comment.text.startswith("Linha 6, coluna A")


def test_the_report_cannot_be_reached_before_the_check() -> None:
    client = signed_in()
    page = send(client, FAULTY)
    report = page.request["PATH_INFO"].replace("columns", "report")
    assert client.post(report).url.endswith("/columns/")
    check(client, page)
    assert client.post(report).url.endswith("/columns/")
    assert not Dataset.objects.exists()


def test_the_same_bytes_read_in_another_way_are_announced_and_kept() -> None:
    client, content = signed_in(), two_sheets()
    upload(client, content)
    page = client.post(ADD, {"file": io.BytesIO(content), "name": "Outra"}, follow=True)
    assert page.redirect_chain[-1][0] == page_of(Dataset.objects.get())
    make_dataset(content, name="Lida de outra forma")
    Dataset.objects.exclude(name="Lida de outra forma").delete()
    assert "lido de outra forma" in text_of(send(client, content))


def test_a_next_version_says_what_changed() -> None:
    client = signed_in()
    upload(client, sheet_bytes())
    first = Dataset.objects.get()
    rows = [*CLASSIFICATION_ROWS[1:], ("Texto novo.", "negado")]
    rows[0] = (rows[0][0], "provido")
    page = client.get(ADD, {"previous": first.pk})
    assert "Próxima versão de “Decisões” (versão 1)" in text_of(page)
    upload(client, sheet_bytes(rows), previous=first.pk)
    second = Dataset.objects.get(previous=first)
    assert f"{second.name} (versão 2)" in text_of(client.get(reverse("admin:datasets_app_dataset_changelist")))
    assert (second.version, second.report["difference"]) == (
        2,
        {"added": 1, "removed": 1, "relabelled": 1, "unchanged": 2, "relabelled_rows": [2]},
    )
    words = text_of(client.get(page_of(second)))
    assert "2, depois da versão 1" in words
    assert "1 linha com outro rótulo. Linha 2." in words
    assert "Enviar próxima versão" in words


def test_a_version_is_of_the_same_task() -> None:
    client = signed_in()
    first = make_dataset()
    page = send(client, sheet_bytes(TOKEN_ROWS, header=("tokens", "tags")), previous=first.pk)
    assert [choice[0] for choice in page.context["adminform"].form.fields["task_type"].choices] == [first.task_type]


def test_a_version_of_a_dataset_whose_file_is_gone_is_kept_without_a_comparison() -> None:
    client, first = signed_in(), make_dataset()
    first.file.storage.delete(first.file.name)
    upload(client, sheet_bytes(), previous=first.pk)
    assert "difference" not in Dataset.objects.get(previous=first).report


@pytest.mark.parametrize("previous", ["", "x", "999999", "9" * 40])
def test_an_unknown_previous_version_is_no_version(previous: str) -> None:
    page: Any = signed_in().get(ADD, {"previous": previous})
    assert page.context["title"] == "Enviar planilha"


def test_the_command_removes_expired_uploads_and_spares_the_others(media: Path) -> None:
    client, out = signed_in(), io.StringIO()
    send(client, sheet_bytes())
    StagedUpload.objects.update(created_at=timezone.now() - staging.KEPT_FOR - timedelta(seconds=1))
    StagedUpload.objects.create(user=make_user(), size_bytes=1)
    call_command("remove_expired_uploads", stdout=out)
    assert (out.getvalue(), StagedUpload.objects.count(), staged_files(media)) == ("1\n", 1, [])


OVER = "Este envio não existe mais"


@pytest.mark.parametrize("step", ["judge", "_opened"])
def test_an_upload_that_is_cancelled_while_its_sheet_is_checked_is_over(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = signed_in()
    page = send(client, sheet_bytes())
    work = getattr(staging, step)

    def work_slowly(*args: Any) -> Any:
        StagedUpload.objects.all().delete()
        return work(*args)

    monkeypatch.setattr(staging, step, work_slowly)
    assert messages_of(check(client, page))[0].startswith(OVER)


def test_an_upload_whose_bytes_are_gone_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    client = signed_in()
    page = check(client, send(client, sheet_bytes()))
    staged = StagedUpload.objects.get()
    staged.file.storage.delete(staged.file.name)
    monkeypatch.setattr(staging, "staged_upload", lambda **_values: staged)  # it was there a moment ago
    assert messages_of(confirm(client, page))[0].startswith(OVER)
