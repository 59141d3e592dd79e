"""API tokens of people in the admin."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from tests.admin_client import messages_of, signed_in, text_of
from tests.factories import client_for, make_api_token, make_user
from workers_app.models import ApiToken
from workers_app.tokens import token_sha256

pytestmark = pytest.mark.django_db

LIST = reverse("admin:workers_app_apitoken_changelist")
ADD = reverse("admin:workers_app_apitoken_add")
OWN = ("workers_app.view_apitoken", "workers_app.add_apitoken", "workers_app.delete_apitoken")


def client_of(user: object) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_a_new_token_is_shown_once_and_works() -> None:
    user = make_user(*OWN, "runs_app.view_run", is_staff=True)
    client = client_of(user)
    page = client.post(ADD, {"user": user.pk})
    found = re.search(r'id="token"[^>]*>(btp_[\w-]+)<', page.content.decode())
    assert found is not None
    assert "no-store" in page["Cache-Control"]
    assert client_for(found.group(1)).get("/bert-training/api/runs").status_code == 200
    assert found.group(1) not in client.get(LIST).content.decode()


def test_one_makes_a_token_only_for_oneself() -> None:
    user, other = make_user(*OWN, is_staff=True), make_user()
    page = client_of(user).post(ADD, {"user": other.pk})
    assert "Por favor corrija o erro abaixo" in text_of(page)
    assert not ApiToken.objects.exists()


def test_a_superuser_makes_a_token_for_anyone() -> None:
    other = make_user()
    signed_in().post(ADD, {"user": other.pk})
    assert ApiToken.objects.get().user == other


def test_one_sees_only_ones_own_tokens() -> None:
    user = make_user(*OWN, is_staff=True)
    mine, others = make_api_token(user), make_api_token()
    words = text_of(client_of(user).get(LIST))
    assert mine[:12] in words
    assert others[:12] not in words


def test_revoking_asks_first_and_is_final() -> None:
    user = make_user(*OWN, is_staff=True)
    token = make_api_token(user)
    row = ApiToken.objects.get(token_sha256=token_sha256(token))
    client = client_of(user)
    asked = client.post(LIST, {"action": "revoke", "_selected_action": [row.pk]})
    assert "Isto não pode ser desfeito" in text_of(asked)
    row.refresh_from_db()
    assert row.revoked_at is None
    data = {"action": "revoke", "_selected_action": [row.pk], "confirmed": "yes"}
    assert messages_of(client.post(LIST, data, follow=True)) == [f"Token {token[:12]}… revogado."]
    assert client_for(token).get("/bert-training/api").status_code == 401
    assert "já estava revogado" in messages_of(client.post(LIST, data, follow=True))[0]


def test_nobody_revokes_a_token_of_somebody_else() -> None:
    make_api_token()
    row = ApiToken.objects.get()
    data = {"action": "revoke", "_selected_action": [row.pk], "confirmed": "yes"}
    client_of(make_user(*OWN, is_staff=True)).post(LIST, data)
    row.refresh_from_db()
    assert row.revoked_at is None


def test_who_may_not_revoke_is_not_offered_it() -> None:
    user = make_user("workers_app.view_apitoken", is_staff=True)
    make_api_token(user)
    assert "Revogar" not in text_of(client_of(user).get(LIST))


def test_a_token_is_neither_edited_nor_deleted() -> None:
    make_api_token()
    row = ApiToken.objects.get()
    client = signed_in()
    assert client.post(reverse("admin:workers_app_apitoken_change", args=[row.pk]), {}).status_code == 403
    assert client.post(reverse("admin:workers_app_apitoken_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
    assert (
        row.token_sha256 not in client.get(reverse("admin:workers_app_apitoken_change", args=[row.pk])).content.decode()
    )


def test_revoking_one_token_spares_another_of_the_same_prefix() -> None:
    make_api_token(), make_api_token()
    ApiToken.objects.update(token_prefix="btp_alike")
    chosen, spared = ApiToken.objects.order_by("pk")
    signed_in().post(LIST, {"action": "revoke", "_selected_action": [chosen.pk], "confirmed": "yes"})
    assert [token.revoked_at is None for token in (ApiToken.objects.get(pk=t.pk) for t in (chosen, spared))] == [
        False,
        True,
    ]
