"""The admin as a whole: every page opens, the menu is in the order of work, nobody sees more than they may."""

import re

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse

from config.admin import GROUP_OF
from config.templatetags.product import labelled
from runs_app.models import BaseModel
from tests.admin_client import messages_of, signed_in, text_of
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


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("runs_app_run", "status__exact"),
        ("runs_app_run", "base_model"),
        ("runs_app_job", "status"),
        ("runs_app_trainedmodel", "run__task_type"),
        ("datasets_app_dataset", "task_type"),
        ("workers_app_worker", "name"),
        ("auth_group", "name"),
    ],
)
def test_a_list_filtered_by_what_no_text_holds_is_refused(model: str, name: str) -> None:
    assert signed_in().get(reverse(f"admin:{model}_changelist"), {name: "\x00"}).status_code == 400


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


@pytest.mark.parametrize("model", ["datasets_app_dataset", "workers_app_worker", "runs_app_basemodel"])
def test_what_no_form_of_ours_sends_is_no_error(model: str, rows: None) -> None:
    found = next(m for m in admin.site._registry if f"{m._meta.app_label}_{m._meta.model_name}" == model)
    count = found.objects.count()
    url = reverse(f"admin:{model}_change", args=[found.objects.first().pk])
    client = signed_in()
    assert client.post(url, {"name": "x", "max_length": 1, "_saveasnew": "1"}).status_code == 400
    assert found.objects.count() == count
    assert client.get(url, {"_to_field": ""}).status_code == 200


@pytest.mark.parametrize("model", FORMS)
def test_every_form_opens(model: str) -> None:
    page = signed_in().get(reverse(f"admin:{model}_add"))
    assert page.status_code == 200


def menu_of(client: Client, url: str = "/admin/") -> list[tuple[str, list[str]]]:
    """Groups and lines as they are shown, the present one in brackets."""
    menu = client.get(url).context["menu"]
    return [(str(title), [f"[{i.label}]" if i.is_current else str(i.label) for i in items]) for title, items in menu]


def test_the_menu_follows_the_order_of_work() -> None:
    assert menu_of(signed_in()) == [
        ("", ["[Painel]"]),
        ("Treinar", ["Conjuntos de dados", "Treinamentos", "Comparar", "Modelos treinados"]),
        ("Operar", ["Fila", "Workers", "Modelos base"]),
        ("Administrar", ["Usuários", "Grupos", "Tokens de API"]),
    ]


def test_who_may_only_add_has_no_line_to_a_list() -> None:
    assert menu_of(signed_in("workers_app.add_worker")) == [("", ["[Painel]"])]


def test_the_menu_marks_where_one_is() -> None:
    groups = menu_of(signed_in(), reverse("admin:runs_app_run_add"))
    assert groups[0] == ("", ["Painel"])
    assert "[Treinamentos]" in groups[1][1]


def test_every_registered_model_is_in_the_menu() -> None:
    assert {model._meta.object_name for model in admin.site._registry} == set(GROUP_OF)


def test_the_menu_shows_only_what_one_may_see() -> None:
    assert menu_of(signed_in("runs_app.view_run")) == [("", ["[Painel]"]), ("Treinar", ["Treinamentos", "Comparar"])]


def test_the_page_of_an_app_leads_to_the_home_page() -> None:
    assert signed_in().get("/admin/runs_app/")["Location"] == "/admin/"


def crumbs_of(url: str) -> str:
    html = signed_in().get(url).content.decode()
    found = re.search(r'<div class="breadcrumbs">(.*?)</div>', html, re.DOTALL)
    assert found
    return " ".join(re.sub(r"<[^>]+>", " ", found[1]).replace("&rsaquo;", "›").split())


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("runs_app_run_changelist", "Painel › Treinar › Treinamentos"),
        ("runs_app_run_add", "Painel › Treinar › Treinamentos › Novo treinamento"),
        ("runs_app_job_changelist", "Painel › Operar › Fila"),
        ("datasets_app_dataset_changelist", "Painel › Treinar › Conjuntos de dados"),
        ("workers_app_apitoken_changelist", "Painel › Administrar › Tokens de API"),
        ("auth_user_add", "Painel › Administrar › Usuários › Novo usuário"),
    ],
)
def test_a_path_names_the_group_of_the_menu(address: str, path: str) -> None:
    assert crumbs_of(reverse(f"admin:{address}")) == path


@pytest.mark.parametrize(
    ("page", "last"), [("change", "gpu-1"), ("history", "gpu-1 › Histórico"), ("delete", "gpu-1 › Apagar")]
)
def test_the_path_of_an_object_ends_with_it_or_with_what_is_done_to_it(page: str, last: str) -> None:
    worker = make_worker("gpu-1")[0]
    url = reverse(f"admin:workers_app_worker_{page}", args=[worker.pk])
    assert crumbs_of(url) == f"Painel › Operar › Workers › {last}"


def test_the_path_to_a_new_password_leads_back_to_the_person() -> None:
    ana = make_user(username="ana")
    assert crumbs_of(reverse("admin:auth_user_password_change", args=[ana.pk])).endswith(
        "Usuários › ana › Alterar senha"
    )


def test_a_cell_of_a_list_names_its_column_for_a_phone(rows: None) -> None:
    html = signed_in().get(reverse("admin:runs_app_run_changelist")).content.decode()
    assert re.search(r'<td data-label="Situação" class="field-state">', html)
    assert re.search(r'<td data-label="F1" data-nothing class="field-test_f1', html)
    assert '<td class="action-checkbox">' in html


def test_yes_and_no_are_no_empty_cells() -> None:
    (cell,) = labelled(['<td><img src="icon-no.svg" alt="False"></td>'], [{"text": "Ativo"}])
    assert "data-nothing" not in cell


def test_a_list_counts_its_rows_once_and_offers_all_only_after_a_search(rows: None) -> None:
    url = reverse("admin:runs_app_run_changelist")
    assert "Mostrar tudo" not in text_of(signed_in().get(url))
    assert "Mostrar tudo" in text_of(signed_in().get(url, {"q": "x"}))


def test_the_column_s_name_is_escaped() -> None:
    (cell,) = labelled(['<td class="x">1</td>'], [{"text": '"<b>&'}])
    assert cell == '<td data-label="&quot;&amp;" class="x">1</td>'


@pytest.mark.parametrize("model", LISTS)
@pytest.mark.parametrize("page", ["changelist", "change"])
def test_pages_bring_no_script_that_they_do_not_use(model: str, page: str, rows: None) -> None:
    found = next(m for m in admin.site._registry if f"{m._meta.app_label}_{m._meta.model_name}" == model)
    args = [found.objects.first().pk] if page == "change" else []
    html = signed_in().get(reverse(f"admin:{model}_{page}", args=args), follow=True).content.decode()
    assert "menu.js" in html
    assert "jquery" not in html
    assert "prepopulate" not in html


def test_rows_are_selected_by_django_s_script(rows: None) -> None:
    assert "admin/js/actions.js" in signed_in().get(reverse("admin:runs_app_run_changelist")).content.decode()


def test_only_a_person_who_never_did_anything_is_deleted() -> None:
    new, old = make_user(username="nova"), make_user(username="antiga")
    LogEntry.objects.log_actions(old.pk, [new], CHANGE, "x")
    client = signed_in()
    urls = [reverse("admin:auth_user_delete", args=[user.pk]) for user in (new, old)]
    assert [client.post(url, {"post": "yes"}).status_code for url in urls] == [302, 403]
    assert "delete_selected" not in client.get(reverse("admin:auth_user_changelist")).content.decode()


def test_a_person_is_given_groups_by_ticking_boxes() -> None:
    group, ana = Group.objects.create(name="Procuradoria"), make_user(username="ana", is_staff=True)
    client, url = signed_in(), reverse("admin:auth_user_change", args=[ana.pk])
    html = client.get(url).content.decode()
    assert f'<input type="checkbox" name="groups" value="{group.pk}"' in html
    assert "jquery" not in html
    saved = client.post(url, {"username": "ana", "is_active": "on", "is_staff": "on", "groups": [group.pk]})
    assert saved.status_code == 302
    assert list(ana.groups.all()) == [group]


def test_a_group_is_given_permissions_by_ticking_boxes() -> None:
    permission = Permission.objects.get(codename="view_run")
    signed_in().post(reverse("admin:auth_group_add"), {"name": "Leitores", "permissions": [permission.pk]})
    assert list(Group.objects.get(name="Leitores").permissions.all()) == [permission]


def test_permissions_are_said_in_the_reader_s_language() -> None:
    words = text_of(signed_in().get(reverse("admin:auth_group_add")))
    assert "Treinamento: ver" in words
    assert "Can view" not in words


def test_permissions_begin_with_those_of_the_menu_in_its_order() -> None:
    words = text_of(signed_in().get(reverse("admin:auth_group_add")))
    places = [
        words.index(text) for text in ("Conjunto de dados: ver", "Worker: ver", "Grupo: ver", "Entrada de log: ver")
    ]
    assert places == sorted(places)


def test_a_page_is_called_what_it_is_about_and_has_one_button_that_saves() -> None:
    client, model = signed_in(), BaseModel.objects.get(label="BERTimbau large")
    for url, title in (
        (reverse("admin:runs_app_basemodel_change", args=[model.pk]), "BERTimbau large"),
        (reverse("admin:auth_group_add"), "Novo grupo"),
    ):
        page = client.get(url)
        assert f"<h1>{title}</h1>" in page.content.decode()
        assert page.content.decode().count('type="submit" value="Salvar') == 1


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


def test_a_form_sent_after_the_session_has_ended_is_said_to_be_lost() -> None:
    answer = Client().post(reverse("admin:runs_app_run_add"), {"name": "Muito trabalho"}, follow=True)
    assert answer.request["PATH_INFO"] == reverse("admin:login")
    assert messages_of(answer) == ["Sua sessão tinha terminado. Entre e envie o formulário de novo."]


def test_to_log_out_twice_is_told_of_no_lost_form() -> None:
    assert messages_of(Client().post(reverse("admin:logout"), follow=True)) == []


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
