"""manage.py create_api_token, revoke_api_token, register_worker, disable_worker, enable_worker."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.factories import client_for, make_api_token, make_user, make_worker
from workers_app.models import ApiToken, Worker

pytestmark = pytest.mark.django_db

API = "/bert-training/api"


def run(command: str, *arguments: Any) -> str:
    """stdout of a command that succeeds."""
    out = StringIO()
    call_command(command, *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_a_token_is_printed_alone_and_works() -> None:
    make_user(username="ana", is_superuser=True)
    out = run("create_api_token", "ana")
    assert out.startswith("btp_")
    assert out.count("\n") == 1
    assert client_for(out.strip()).get(f"{API}/runs").status_code == 200


def test_no_token_for_a_user_that_does_not_exist() -> None:
    with pytest.raises(CommandError, match="nobody") as failure:
        run("create_api_token", "nobody")
    assert failure.value.returncode == 1
    assert not ApiToken.objects.exists()


def test_a_revoked_token_works_no_more() -> None:
    token, other = make_api_token(), make_api_token()
    assert run("revoke_api_token", token[:12]) == ""
    assert client_for(token).get(f"{API}/runs").status_code == 401
    assert client_for(other).get(f"{API}/runs").status_code == 200


@pytest.mark.parametrize("chars", [8, 13, 20, None])
def test_as_much_of_a_token_as_a_person_has_may_be_given_to_revoke_it(chars: int | None) -> None:
    token = make_api_token()
    run("revoke_api_token", token[:chars])
    assert client_for(token).get(f"{API}/runs").status_code == 401


@pytest.mark.parametrize("prefix", ["", "btp_", "btp_abc", "btp_doesnotexist", "btw_12345678"])
def test_revoking_what_fits_no_token_or_everybodys_fails(prefix: str) -> None:
    make_api_token()
    with pytest.raises(CommandError):
        run("revoke_api_token", prefix)
    assert ApiToken.objects.get().revoked_at is None


def test_a_revoked_token_cannot_be_revoked_again() -> None:
    token = make_api_token()
    run("revoke_api_token", token[:12])
    with pytest.raises(CommandError):
        run("revoke_api_token", token[:12])


def test_a_new_worker_is_printed_as_its_token_alone() -> None:
    out = run("register_worker", "gpu-1")
    assert out.startswith("btw_")
    assert out.count("\n") == 1
    answer = client_for(out.strip()).post(f"{API}/workers/register", {}, format="json")
    assert answer.json()["name"] == "gpu-1"


@pytest.mark.parametrize("name", ["gpu-1", "", "  ", " gpu-1", "a/b", "x" * 101])
def test_a_name_that_is_taken_or_not_allowed_is_refused(name: str) -> None:
    make_worker("gpu-1")
    with pytest.raises(CommandError) as failure:
        run("register_worker", name)
    assert failure.value.returncode == 1
    assert Worker.objects.count() == 1


def test_a_worker_is_called_by_its_name_without_blanks_around_it() -> None:
    run("register_worker", " gpu-1 ")
    run("disable_worker", "gpu-1")
    assert Worker.objects.filter(name="gpu-1", enabled=False).exists()


def test_a_worker_is_disabled_and_enabled_by_name() -> None:
    _worker, token = make_worker("gpu-1")
    assert run("disable_worker", "gpu-1") == ""
    assert client_for(token).post(f"{API}/workers/heartbeat", {}, format="json").status_code == 401
    run("enable_worker", "gpu-1")
    assert client_for(token).post(f"{API}/workers/heartbeat", {}, format="json").status_code == 200


@pytest.mark.parametrize("command", ["disable_worker", "enable_worker"])
def test_a_worker_that_does_not_exist_is_named_with_those_that_do(command: str) -> None:
    make_worker("gpu-1")
    with pytest.raises(CommandError, match=r"gpu-2.*gpu-1"):
        run(command, "gpu-2")
