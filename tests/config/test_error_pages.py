"""What people see where something went wrong: a sentence in their language, in the looks of the admin."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from runs_app.admin.runs import RunAdmin
from tests.admin_client import signed_in, text_of

pytestmark = pytest.mark.django_db

RUNS = reverse("admin:runs_app_run_changelist")


def told(answer: Any) -> tuple[int, bool, str]:
    """Status, whether it looks like the admin, and its words."""
    return answer.status_code, "bert/admin.css" in answer.content.decode(), text_of(answer)


@pytest.mark.parametrize("address", ["/nada", "/admin/runs_app/run/999/live/"])
def test_an_address_that_leads_nowhere_is_told_in_portuguese(address: str) -> None:
    status, is_ours, words = told(signed_in().get(address))
    assert (status, is_ours) == (404, True)
    assert "Não há nada neste endereço. Painel" in words


def test_a_page_that_one_may_not_see_says_so() -> None:
    status, is_ours, words = told(signed_in("datasets_app.view_dataset").get(RUNS))
    assert (status, is_ours) == (403, True)
    assert "Você não tem permissão para isto." in words


def test_a_question_that_makes_no_sense_is_told() -> None:
    status, is_ours, words = told(signed_in().get(RUNS, {"status__exact": "\x00"}))
    assert (status, is_ours) == (400, True)
    assert "Não foi possível ler a requisição." in words


def test_a_fault_of_the_server_is_told_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    client = signed_in()
    client.raise_request_exception = False

    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(RunAdmin, "get_queryset", broken)
    status, is_ours, words = told(client.get(RUNS))
    assert (status, is_ours) == (500, True)
    assert "Algo deu errado no servidor." in words


def test_a_form_that_is_older_than_the_session_is_answered_with_what_to_do() -> None:
    status, is_ours, words = told(Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "ana"}))
    assert (status, is_ours) == (403, True)
    assert "Volte, carregue-a de novo e repita." in words


def test_a_form_from_an_address_that_nobody_named_is_answered_with_the_setting() -> None:
    person, address = Client(enforce_csrf_checks=True), "/admin/login/"
    token = person.get(address).cookies["csrftoken"].value
    answer = person.post(address, {"csrfmiddlewaretoken": token}, headers={"Origin": "https://treino.example.gov.br"})
    assert told(answer)[:2] == (403, True)
    assert "Veja CSRF_TRUSTED_ORIGINS." in told(answer)[2]
