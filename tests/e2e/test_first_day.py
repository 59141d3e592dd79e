"""From the login to a trained model as a person goes who knows nothing, with a real worker at the other end.

In the order of the checklist: the worker first, so that each tick stays to be seen until the first model is there.
"""

import re
import signal
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path

import openpyxl
import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Locator, Page, expect

from demo.children import Child
from tests.e2e.conftest import PASSWORD
from tests.end_to_end.site import PACES, ROOT, SAMPLES
from tests.sheet_factories import write_sheet

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.usefixtures("catalogue")]

TRAINED_MS = 300_000
ROWS = 150
LABELS = ("H:Ativo", "H:Arquivado")

StartWorker = Callable[[str], Child]


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[StartWorker]:
    """Starts a worker with the token and the address of the commands that a page showed."""
    started: list[Child] = []

    def start(commands: str) -> Child:
        address, token = (re.search(rule, commands) for rule in (r"--api-url (\S+)", r"BERT_WORKER_TOKEN='(.+)'"))
        assert address is not None
        assert token is not None
        program = [sys.executable, "-m", "worker_client", "--api-url", address[1]]
        environment = {**PACES, "PYTHONPATH": str(ROOT), "BERT_WORKER_TOKEN": token[1], "OMP_NUM_THREADS": "1"}
        worker = Child(
            "worker",
            [*program, "--models-dir", str(tmp_path / "models")],
            log_path=tmp_path / "worker.log",
            environment=environment,
        )
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.kill()


def sample(count: int = ROWS) -> list[tuple[str, str]]:
    """Real texts of two labels, each text once."""
    book = openpyxl.load_workbook(SAMPLES / "andamentos_train.xlsx", read_only=True)
    labels = {str(text): str(label) for text, label in islice(book.worksheets[0].values, 1, None) if label in LABELS}
    return list(islice(labels.items(), count))


def log_in(page: Page) -> None:
    page.goto("/admin/")
    page.get_by_label("Usuário").fill("ana")
    page.get_by_label("Senha").fill(PASSWORD)
    page.get_by_role("button", name="Acessar").click()


def menu(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Menu").get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def step(page: Page, text: str) -> Locator:
    """A line of the checklist on the Painel."""
    menu(page, "Painel")
    return page.get_by_role("listitem").filter(has_text=text)


def connect_a_worker(page: Page, start: StartWorker) -> Child:
    step(page, "Conectar um worker").get_by_role("link", name="Conectar um worker").click()
    page.get_by_label("Nome").fill("gpu-da-ana")
    page.get_by_role("button", name="Continuar").click()
    expect(page.get_by_text("Copie o token agora")).to_be_visible()
    expect(page.get_by_text("Esperando o primeiro sinal de vida de gpu-da-ana")).to_be_visible()
    worker = start(page.get_by_text("export BERT_WORKER_TOKEN").inner_text())
    expect(page.get_by_text("gpu-da-ana está conectado.")).to_be_visible()
    return worker


def send_sheet(page: Page, path: Path) -> None:
    """The first two steps; the third judges it."""
    page.get_by_label("Planilha do Excel").set_input_files(path)
    page.get_by_label("Nome").fill("Andamentos")
    page.get_by_role("button", name="Continuar").click()
    expect(page.get_by_role("heading", name="Primeiras linhas de")).to_be_visible()
    page.get_by_role("button", name="Conferir a planilha").click()


def upload(page: Page, folder: Path) -> None:
    """A sheet with two errors, its marked copy, then the corrected one."""
    rows = sample()
    faulty = write_sheet(folder / "com erros.xlsx", [("texto", "rótulo"), *rows, ("", "H:Ativo"), ("Sem rótulo", "")])
    corrected = write_sheet(folder / "corrigida.xlsx", [("texto", "rótulo"), *rows])
    step(page, "Enviar uma planilha").get_by_role("link", name="Enviar planilha").click()
    send_sheet(page, faulty)
    expect(page.get_by_role("alert")).to_contain_text("A planilha não foi guardada.")
    for row, column in ((ROWS + 2, "A"), (ROWS + 3, "B")):
        expect(page.get_by_role("row", name=f"dados {row} {column}")).to_be_visible()
    check_marked_copy(page)
    page.get_by_role("link", name="Enviar planilha corrigida").click()
    send_sheet(page, corrected)
    page.get_by_role("button", name="Confirmar envio").click()
    expect(page.get_by_text("Planilha guardada")).to_be_visible()


def check_marked_copy(page: Page) -> None:
    """The cells at fault carry a comment."""
    with page.expect_download() as download:
        page.get_by_role("link", name="Baixar planilha com os erros marcados").click()
    sheet = openpyxl.load_workbook(BytesIO(download.value.path().read_bytes())).worksheets[0]
    marked = [cell.coordinate for row in sheet.iter_rows() for cell in row if cell.comment]
    assert marked == [f"A{ROWS + 2}", f"B{ROWS + 3}"]


def queue_a_run(page: Page) -> None:
    """The smallest one: no download, three epochs."""
    step(page, "Colocar um primeiro treinamento").get_by_role("link", name="Novo treinamento").click()
    page.get_by_label("Conjunto de dados").select_option(label=f"Andamentos · {ROWS} exemplos · Classificação de texto")
    page.get_by_label("Modelo base").select_option("builtin/tiny-bert")
    page.get_by_role("radio", name="Rápida").check()
    page.get_by_role("textbox", name="Nome").fill("Primeiro")
    page.get_by_role("button", name="Colocar na fila").click()
    expect(page.get_by_text("“Primeiro” está na fila. Predefinição: Rápida.")).to_be_visible()


def watch_until_completed(page: Page) -> None:
    """Nothing but time passes: the page puts in what the worker tells."""
    page.evaluate("window.stillTheSamePage = true")
    expect(page.get_by_role("status").filter(has_text="Concluído")).to_be_visible(timeout=TRAINED_MS)
    expect(page.get_by_role("img", name="Época 3 de 3")).to_have_count(2)
    expect(page.get_by_role("log")).to_contain_text("Completed. The model is in")
    assert page.evaluate("window.stillTheSamePage")


def check_result(page: Page, models: Path) -> None:
    """How good it is for each label, and how to use it."""
    per_label = page.get_by_role("table").filter(has_text="Exemplos de teste")
    for label in LABELS:
        expect(per_label.get_by_role("rowheader", name=label)).to_be_visible()
    expect(page.get_by_role("heading", name="Usar o modelo")).to_be_visible()
    expect(page.get_by_text("python -m worker_client predict")).to_contain_text(str(models / "run-"))


def reproduce(page: Page) -> None:
    """Again with the same sheet, seed and parameters."""
    page.get_by_role("link", name="Reproduzir").click()
    page.get_by_label("Nome do novo treinamento").fill("De novo")
    page.get_by_role("button", name="Reproduzir treinamento").click()
    expect(page.get_by_text("“De novo” está na fila.")).to_be_visible()


def compare(page: Page) -> None:
    """Both, chosen in the list; the same inputs gave the same figures."""
    menu(page, "Treinamentos")
    for name in ("Primeiro", "De novo"):
        page.get_by_role("row").filter(has=page.get_by_role("link", name=name)).get_by_role("checkbox").check()
    page.get_by_role("combobox", name="Ação").select_option(label="Comparar")
    page.get_by_role("button", name="Ir", exact=True).click()
    for name in ("Primeiro", "De novo"):
        expect(page.get_by_role("columnheader", name=name)).to_be_visible()
        expect(page.get_by_role("img", name=name)).to_have_count(2)
    expect(page.get_by_role("rowheader", name="Épocas")).to_be_visible()
    page.get_by_role("link", name="Somente diferenças").click()
    expect(page.get_by_role("link", name="Mostrar tudo")).to_be_visible()
    for name in ("Épocas", "F1"):
        expect(page.get_by_role("rowheader", name=name)).to_have_count(0)


def test_a_person_who_knows_nothing_gets_a_trained_model(
    page: Page, ana: User, start_worker: StartWorker, tmp_path: Path
) -> None:
    log_in(page)
    worker = connect_a_worker(page, start_worker)
    expect(step(page, "Conectar um worker")).to_contain_text("(feito)")
    upload(page, tmp_path)
    expect(step(page, "Enviar uma planilha")).to_contain_text("(feito)")
    worker.signal(signal.SIGSTOP)  # the pages of a run that nobody trains yet are seen, however fast the machine is
    queue_a_run(page)
    expect(step(page, "Colocar um primeiro treinamento")).to_contain_text("(feito)")
    page.get_by_role("link", name="Primeiro").first.click()  # the worker's line may name it, too
    expect(page.get_by_text("ao vivo")).to_be_visible()
    worker.signal(signal.SIGCONT)
    watch_until_completed(page)
    check_result(page, tmp_path / "models")
    menu(page, "Painel")
    expect(page.get_by_role("heading", name="Primeiros passos")).to_have_count(0)
    page.get_by_role("link", name="Primeiro").click()
    reproduce(page)
    watch_until_completed(page)
    compare(page)
