"""The admin as a whole: every page opens, the menu is in the order of work, nobody sees more than they may."""

import re

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from runs_app.models import BaseModel
from tests.admin_client import signed_in, text_of
from tests.factories import make_api_token, make_dataset, make_run, make_user, make_worker

pytestmark = pytest.mark.django_db

MODELS = sorted(f"{model._meta.app_label}_{model._meta.model_name}" for model in admin.site._registry)
LISTS = ["datasets_app_dataset", "runs_app_run", "runs_app_job", "runs_app_basemodel", "workers_app_worker"]
FORMS = ["datasets_app_dataset", "runs_app_run", "runs_app_basemodel", "workers_app_worker", "workers_app_apitoken"]


@pytest.fixture
def rows(media: object) -> None:
    """One of everything."""
    make_run(make_dataset())
    make_worker()
    make_api_token()


@pytest.mark.parametrize("model", MODELS)
def test_every_registered_list_opens(model: str, rows: None) -> None:
    page = signed_in().get(reverse(f"admin:{model}_changelist"))
    assert page.status_code == 200


@pytest.mark.parametrize("model", MODELS)
def test_every_registered_list_opens_when_it_is_empty(model: str) -> None:
    BaseModel.objects.all().delete()
    page = signed_in().get(reverse(f"admin:{model}_changelist"), {"q": "nada disso"})
    assert page.status_code == 200


@pytest.mark.parametrize("model", LISTS)
def test_every_object_has_a_page(model: str, rows: None) -> None:
    found = next(m for m in admin.site._registry if f"{m._meta.app_label}_{m._meta.model_name}" == model)
    page = signed_in().get(reverse(f"admin:{model}_change", args=[found.objects.first().pk]), follow=True)
    assert page.status_code == 200


@pytest.mark.parametrize("model", LISTS)
@pytest.mark.parametrize("pk", ["0", "abc", "99999999999999999999999", "%00"])
def test_an_object_that_is_not_there_is_said_so_and_never_an_error(model: str, pk: str) -> None:
    page = signed_in().get(reverse(f"admin:{model}_changelist") + f"{pk}/change/", follow=True)
    assert page.status_code in (200, 404)


@pytest.mark.parametrize("model", FORMS)
def test_every_form_opens(model: str) -> None:
    page = signed_in().get(reverse(f"admin:{model}_add"))
    assert page.status_code == 200


def test_the_menu_follows_the_order_of_work() -> None:
    page = signed_in().get(reverse("admin:index"))
    names = re.findall(r'class="section"[^>]*>([^<]+)<', page.content.decode())
    assert names == ["Treinar", "Dados", "Operar", "Administrar"]


@pytest.mark.parametrize("app", ["datasets_app", "runs_app", "workers_app", "auth"])
def test_every_app_of_a_breadcrumb_has_a_page(app: str) -> None:
    assert signed_in().get(reverse("admin:app_list", args=[app])).status_code == 200


def test_the_menu_holds_no_figures_and_no_log_lines() -> None:
    words = text_of(signed_in().get(reverse("admin:index")))
    assert "Fila" in words
    assert "Métricas" not in words
    assert "Linhas do registro" not in words


def test_the_menu_shows_only_what_one_may_see() -> None:
    page = signed_in("runs_app.view_run").get(reverse("admin:index"))
    assert re.findall(r'class="section"[^>]*>([^<]+)<', page.content.decode()) == ["Treinar"]


def test_a_breadcrumb_does_not_repeat_itself() -> None:
    words = text_of(signed_in().get(reverse("admin:runs_app_run_changelist")))
    assert "Treinar › Treinamentos" in words


@pytest.mark.parametrize("model", LISTS)
def test_a_page_has_no_inline_script_or_style(model: str, rows: None) -> None:
    found = next(m for m in admin.site._registry if f"{m._meta.app_label}_{m._meta.model_name}" == model)
    client = signed_in()
    for url in (
        reverse(f"admin:{model}_changelist"),
        reverse(f"admin:{model}_change", args=[found.objects.first().pk]),
    ):
        page = client.get(url, follow=True).content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)", page)
        assert not re.search(r"<style|\sstyle=|\son\w+=", page)


@pytest.mark.parametrize("model", MODELS)
def test_a_stranger_is_sent_to_the_login(model: str) -> None:
    page = Client().get(reverse(f"admin:{model}_changelist"))
    assert page.status_code == 302
    assert page["Location"].startswith(reverse("admin:login"))


@pytest.mark.parametrize("row", ["x", "²", "9" * 40, "-1"])
def test_an_action_on_rows_that_cannot_be_is_refused(row: str) -> None:
    make_run()
    for model, action in (("runs_app_run", "cancel_selected"), ("workers_app_worker", "switch_off")):
        words = {"action": action, "_selected_action": row, "confirmed": "yes"}
        assert signed_in().post(reverse(f"admin:{model}_changelist"), words).status_code == 400


@pytest.mark.parametrize("place", ["//elsewhere.example", "https://elsewhere.example/", "/\\elsewhere.example"])
def test_the_login_leads_to_no_other_site(place: str) -> None:
    make_user(username="ana", is_superuser=True)
    words = {"username": "ana", "password": "not-a-secret", "next": place}
    assert Client().post(reverse("admin:login"), words)["Location"] == reverse("admin:index")


def test_the_language_follows_the_reader(rows: None) -> None:
    client = signed_in()
    url = reverse("admin:runs_app_run_changelist")
    assert "Na fila" in text_of(client.get(url))
    assert "Queued" in text_of(client.get(url, headers={"Accept-Language": "en"}))
