"""Datasets in the admin: the upload with its errors by row, the page, deleting."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from datasets_app.admin.datasets import DatasetAdmin
from datasets_app.admin.findings import finding_sentence, row_words
from datasets_app.models import Dataset
from tests.admin_client import messages_of, query_count, signed_in, text_of
from tests.factories import CLASSIFICATION_ROWS, TOKEN_ROWS, make_dataset, make_run, sheet_bytes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]

LIST = reverse("admin:datasets_app_dataset_changelist")
ADD = reverse("admin:datasets_app_dataset_add")


def send(client: Client, content: bytes, **fields: Any) -> Any:
    """Step 1: the file."""
    file = SimpleUploadedFile(fields.pop("filename", "decisões.xlsx"), content)
    return client.post(ADD, {"file": file, "name": "Decisões", **fields}, follow=True)


def check(client: Client, page: Any, **columns: Any) -> Any:
    """Step 2 from its page: the guessed columns, or others."""
    form = page.context["adminform"].form
    guessed = {name: value for name in form.fields if (value := form.get_initial_for_field(form.fields[name], name))}
    return client.post(page.request["PATH_INFO"], {**guessed, **columns}, follow=True)


def confirm(client: Client, page: Any) -> Any:
    """Step 3 from its page."""
    return client.post(page.request["PATH_INFO"], follow=True)


def upload(client: Client, content: bytes, columns: dict[str, Any] | None = None, **fields: Any) -> Any:
    """As many steps as the sheet gets."""
    page = send(client, content, **fields)
    if page.request["PATH_INFO"].endswith("/columns/"):
        page = check(client, page, **(columns or {}))
    return confirm(client, page) if page.request["PATH_INFO"].endswith("/report/") else page


def page_of(dataset: Dataset) -> str:
    return reverse("admin:datasets_app_dataset_change", args=[dataset.pk])


def test_a_valid_sheet_is_kept_and_its_page_opens() -> None:
    page = upload(signed_in(), sheet_bytes(), description="Exportação de outubro")
    dataset = Dataset.objects.get()
    assert (dataset.name, dataset.description, dataset.num_rows) == ("Decisões", "Exportação de outubro", 4)
    assert dataset.created_by is not None
    assert page.redirect_chain == [(page_of(dataset), 302)]
    assert messages_of(page)[0].startswith("Planilha guardada")


def test_a_sheet_with_faults_comes_back_with_every_error() -> None:
    content = sheet_bytes([*CLASSIFICATION_ROWS, ("", "provido"), ("Sem rótulo", ""), ("#N/A", "negado")])
    page = upload(signed_in(), content, description="Minha descrição")
    words = text_of(page)
    assert not Dataset.objects.exists()
    assert "A planilha não foi guardada" in words
    assert "3 erros" in words
    assert "Linha 6, coluna A: texto vazio. Preencha ou apague a linha." in words
    assert "Linha 7, coluna B: rótulo vazio" in words
    assert "empty_text" in words
    assert "#N/A" in words


def test_of_many_errors_the_first_thousand_are_shown_and_the_true_count_is_said() -> None:
    content = sheet_bytes([*CLASSIFICATION_ROWS, *[("", "provido")] * 1200])
    page = upload(signed_in(), content)
    words = text_of(page)
    assert "1200 erros" in words or "1.200 erros" in words
    assert "Os primeiros 1000 estão na lista" in words or "Os primeiros 1.000 estão na lista" in words
    assert page.content.decode().count("<td>Sheet</td>") == 1000


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"nada disso", "não é uma planilha do Excel"),
        (b"", "não é uma planilha do Excel"),
        (sheet_bytes([], header=("texto", "rótulo")), "nenhuma linha abaixo dele"),
        (sheet_bytes([("a", "x"), ("b", "x")]), "pelo menos dois rótulos"),
        (sheet_bytes([("a b", "O O")], header=("tokens", "tags")), "pelo menos um tipo de entidade"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_a_sentence(content: bytes, sentence: str) -> None:
    words = text_of(upload(signed_in(), content))
    assert sentence in words
    assert not Dataset.objects.exists()


def test_a_sheet_beyond_the_limit_is_refused_at_the_field(settings: LazySettings) -> None:
    settings.MAX_UPLOAD_MB = 0
    assert "O arquivo tem mais de 0 MB" in text_of(upload(signed_in(), sheet_bytes()))


@pytest.mark.parametrize("missing", ["file", "name"])
def test_file_and_name_are_required(missing: str) -> None:
    data = {"file": SimpleUploadedFile("a.xlsx", sheet_bytes()), "name": "Decisões"}
    del data[missing]
    assert "Este campo é obrigatório" in text_of(signed_in().post(ADD, data))


def test_the_same_sheet_again_leads_to_the_existing_dataset() -> None:
    client, content = signed_in(), sheet_bytes()
    upload(client, content)
    page = upload(client, content, name="Outro nome")
    dataset = Dataset.objects.get()
    assert page.redirect_chain == [(page_of(dataset), 302)]
    assert messages_of(page)[0].startswith("Este arquivo já foi enviado em ")
    assert dataset.name == "Decisões"


def test_columns_may_be_named() -> None:
    content = sheet_bytes(header=("Ementa", "Assunto"))
    upload(signed_in(), content, {"text_column": "Ementa", "label_column": "Assunto"})
    assert Dataset.objects.get().columns == {"text": "Ementa", "label": "Assunto"}


def test_a_token_sheet_may_be_repaired() -> None:
    content = sheet_bytes([*TOKEN_ROWS, ("Em Campo Grande", "O I-LOCAL I-LOCAL")], header=("tokens", "tags"))
    client = signed_in()
    assert "B-LOCAL" in text_of(upload(client, content))
    upload(client, content, {"repair_bio": "on"})
    dataset = Dataset.objects.get()
    assert dataset.repair_bio is True
    assert "1 etiqueta BIO foi corrigida" in text_of(client.get(page_of(dataset)))


def test_the_page_tells_labels_warnings_and_runs() -> None:
    dataset = make_dataset(report={"warnings": [{"code": "duplicate_text", "count": 2, "rows": [3, 9]}]})
    make_run(dataset, name="Primeiro")
    page = signed_in().get(page_of(dataset))
    words = text_of(page)
    assert "provido 3" in words
    assert "60,0 %" in words
    assert "2 linhas repetem um texto anterior." in words
    assert "Linhas 3, 9." in words
    assert "Primeiro" in words
    html = page.content.decode()
    assert f"{reverse('admin:runs_app_run_add')}?dataset={dataset.pk}" in html
    assert reverse("dataset-download", args=[dataset.pk]) in html


def test_the_download_link_works_with_the_session() -> None:
    content = sheet_bytes()
    dataset = make_dataset(content)
    answer = signed_in().get(reverse("dataset-download", args=[dataset.pk]))
    assert b"".join(answer.streaming_content) == content


def test_only_name_and_description_are_edited() -> None:
    dataset = make_dataset()
    signed_in().post(page_of(dataset), {"name": "Novo", "description": "Outra", "num_rows": 999, "sheet": "x"})
    changed = Dataset.objects.get()
    assert (changed.name, changed.description) == ("Novo", "Outra")
    assert (changed.num_rows, changed.sheet) == (5, "Sheet")


def test_a_dataset_with_runs_is_not_deleted_and_one_is_told_why() -> None:
    dataset = make_dataset(name="Decisões")
    make_run(dataset)
    client = signed_in()
    why = ["“Decisões” não pode ser apagado: 1 treinamento foi feito com ele e precisa continuar reproduzível."]
    page = client.post(reverse("admin:datasets_app_dataset_delete", args=[dataset.pk]), {"post": "yes"}, follow=True)
    assert messages_of(page) == why
    data = {"action": "delete_selected", "_selected_action": [dataset.pk, make_dataset().pk]}
    for answer in ({}, {"post": "yes"}):
        assert messages_of(client.post(LIST, data | answer, follow=True)) == why
    assert Dataset.objects.count() == 2


def test_a_dataset_that_a_run_is_made_of_while_the_list_deletes_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_dataset(name="Decisões")
    delete = DatasetAdmin.delete_queryset

    def just_before(*args: Any) -> None:
        make_run(dataset)
        delete(*args)

    monkeypatch.setattr(DatasetAdmin, "delete_queryset", just_before)
    data = {"action": "delete_selected", "_selected_action": [dataset.pk], "post": "yes"}
    page = signed_in().post(LIST, data, follow=True)
    assert "não pode ser apagado: 1 treinamento foi feito com ele" in messages_of(page)[0]
    assert Dataset.objects.filter(pk=dataset.pk).exists()


@pytest.mark.parametrize("way", ["page", "list"])
def test_deleting_a_dataset_removes_its_file(way: str, django_capture_on_commit_callbacks: Any) -> None:
    dataset = make_dataset()
    path = Path(dataset.file.path)
    assert path.exists()
    with django_capture_on_commit_callbacks(execute=True):
        if way == "page":
            signed_in().post(reverse("admin:datasets_app_dataset_delete", args=[dataset.pk]), {"post": "yes"})
        else:
            data = {"action": "delete_selected", "_selected_action": [dataset.pk], "post": "yes"}
            signed_in().post(LIST, data)
    assert not Dataset.objects.exists()
    assert not path.exists()


def test_who_may_only_look_neither_uploads_nor_trains() -> None:
    dataset = make_dataset()
    client = signed_in("datasets_app.view_dataset")
    words = text_of(client.get(page_of(dataset)))
    assert "Baixar planilha" in words
    assert "Treinar com este conjunto" not in words
    assert "Salvar" not in words
    assert client.get(ADD).status_code == 403
    assert upload(client, sheet_bytes()).status_code == 403


def test_a_name_is_never_read_as_html() -> None:
    dataset = make_dataset(name="<script>alert(1)</script>", labels=[{"name": "<b>x</b>", "count": 1}])
    client = signed_in()
    for url in (LIST, page_of(dataset)):
        html = client.get(url).content.decode()
        assert "<script>alert" not in html
        assert "<b>x</b>" not in html


def test_the_list_is_searched_by_name_and_hash() -> None:
    found, other = make_dataset(name="Andamentos"), make_dataset(name="Ementas")
    client = signed_in()
    for query in ("andam", found.sha256_hash[:12]):
        words = text_of(client.get(LIST, {"q": query}))
        assert "Andamentos" in words
        assert other.name not in words


def test_the_list_takes_the_same_number_of_queries_for_many_datasets() -> None:
    client = signed_in()
    make_dataset()
    few = query_count(client, LIST)
    for _number in range(6):
        make_run(make_dataset())
    assert query_count(client, LIST) == few


def test_the_page_takes_the_same_number_of_queries_for_many_runs() -> None:
    client, dataset = signed_in(), make_dataset()
    make_run(dataset)
    few = query_count(client, page_of(dataset))
    for _number in range(4):
        make_run(dataset)
    assert query_count(client, page_of(dataset)) == few


@pytest.mark.parametrize(
    ("warning", "sentence"),
    [
        (
            {"code": "rare_class", "count": 3, "params": {"classes": ["Ambiental"], "below": 5}},
            "Rótulos com menos de 5 exemplos: “Ambiental”. O modelo dificilmente os aprende.",
        ),
        (
            {"code": "label_variant", "count": 2, "params": {"groups": [["Saúde", "saude"]]}},
            "Rótulos que só diferem em maiúsculas, acentos ou espaços: “Saúde”, “saude”. "
            "Contam como rótulos diferentes.",
        ),
        (
            {"code": "imbalance", "count": 1, "params": {"classes": ["b"], "largest": "a", "ratio": 10}},
            "Rótulos com menos de 1/10 dos exemplos de “a”: “b”. Considere pesos balanceados.",
        ),
        (
            {"code": "long_text", "count": 9, "params": {"share": 0.153, "max_length": 256}},
            "15,3 % dos textos provavelmente passam de 256 tokens; o que excede o comprimento máximo é cortado, "
            "a não ser que se escolham janelas.",
        ),
        ({"code": "extra_columns", "count": 1, "params": {"columns": ["obs"]}}, "Colunas que não são usadas: “obs”."),
        (
            {"code": "contradictory_labels", "count": 2},
            "2 linhas têm textos iguais com rótulos diferentes. Decida qual está certo.",
        ),
        (
            {"code": "near_duplicate", "count": 1},
            "1 linha só difere de uma anterior em números, maiúsculas, acentos, pontuação ou poucas palavras.",
        ),
        ({"code": "date_label", "count": 1}, "1 célula era uma data e foi lida como texto (2026-11-22)."),
        (
            {"code": "formula_cells", "count": 2},
            "2 células têm fórmulas; foram usados os últimos valores calculados.",
        ),
        (
            {"code": "shared_case", "count": 3},
            "3 linhas repetem números de processo. Linhas do mesmo processo ficam juntas na divisão da planilha.",
        ),
        (
            {"code": "number_label", "count": 9, "params": {"classes": ["1", "2"]}},
            "Rótulos que são números: “1”, “2”. Se forem códigos de uma lista, é melhor escrever o que significam.",
        ),
        (
            {"code": "hidden_sheet", "count": 1, "params": {"unit": "sheets", "sheets": ["Velha"]}},
            "Abas ocultas que não foram lidas: “Velha”.",
        ),
        (
            {"code": "late_header", "count": 1, "rows": [3]},
            "O cabeçalho está na linha 3; o que está acima dele não foi lido.",
        ),
        ({"code": "100%_new", "count": 2}, "100%_new"),
    ],
)
def test_each_finding_is_a_plain_sentence(warning: dict[str, Any], sentence: str) -> None:
    assert finding_sentence(warning) == sentence


def test_rows_beyond_twenty_are_counted() -> None:
    assert row_words({"count": 25, "rows": list(range(2, 27))}).endswith("20, 21 e mais 5")
    assert row_words({"count": 1, "rows": [7]}) == "Linha 7"
    assert row_words({"count": 0, "rows": []}) == ""
