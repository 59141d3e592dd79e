"""The Content Security Policy: what the header says, who may differ, and that no page needs what it forbids."""

import re

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from config.csp import CSP, ContentSecurityPolicyMiddleware, Policy, build_policy, csp_override
from tests.admin_client import signed_in
from tests.factories import make_run
from tests.screenshot_seed import first_day, sow

HEADER = "Content-Security-Policy"


@pytest.mark.parametrize(
    ("policy", "header"),
    [
        ({"default-src": [CSP.SELF], "object-src": [CSP.NONE]}, "default-src 'self'; object-src 'none'"),
        ({"img-src": (CSP.SELF, "data:")}, "img-src 'self' data:"),
        ({"img-src": {"https://b.example", "https://a.example"}}, "img-src https://a.example https://b.example"),
        ({"img-src": "data:"}, "img-src data:"),
        ({"upgrade-insecure-requests": True, "img-src": False, "font-src": None}, "upgrade-insecure-requests"),
    ],
)
def test_a_policy_is_written_as_django_6_writes_it(policy: Policy, header: str) -> None:
    assert build_policy(policy) == header


def answered(response: HttpResponse) -> HttpResponse:
    """`response` as the middleware lets it out."""
    request: HttpRequest = RequestFactory().get("/")
    return ContentSecurityPolicyMiddleware(lambda _request: response)(request)  # type: ignore[return-value]


def test_scripts_and_styles_come_from_our_files_only() -> None:
    assert answered(HttpResponse())[HEADER] == (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    )


def test_a_page_with_a_policy_of_its_own_keeps_it() -> None:
    view = csp_override({"default-src": [CSP.NONE]})(lambda: HttpResponse())
    assert answered(view())[HEADER] == "default-src 'none'"


def test_a_page_with_an_empty_policy_sends_none() -> None:
    assert HEADER not in answered(csp_override({})(lambda: HttpResponse())()).headers


def test_a_header_that_a_view_wrote_itself_stands() -> None:
    assert answered(HttpResponse(headers={HEADER: "default-src 'none'"}))[HEADER] == "default-src 'none'"


@pytest.mark.parametrize("status", [404, 500])
def test_django_s_own_error_pages_are_left_alone_on_a_developer_s_machine(status: int, settings: object) -> None:
    settings.DEBUG = True  # type: ignore[attr-defined]
    assert HEADER not in answered(HttpResponse(status=status)).headers


@pytest.mark.django_db
def test_every_page_of_the_admin_has_the_header_and_nothing_inline(media: object) -> None:
    empty_pages, _session = first_day()
    client = signed_in()
    for name, path in {"login": "/admin/login/", **empty_pages, **sow()}.items():
        response = (Client() if name == "login" else client).get(path)
        assert response.status_code == 200, name
        assert "script-src 'self'; style-src 'self';" in response[HEADER], name
        html = response.content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)", html), name
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html), name


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["docs", "runs"])
def test_the_pages_for_developers_may_style_inline_but_not_script(path: str, media: object) -> None:
    make_run()
    response = signed_in().get(f"/bert-training/api/{path}", headers={"Accept": "text/html"})
    assert response.status_code == 200
    assert "script-src 'self'; style-src 'self' 'unsafe-inline';" in response[HEADER]
    assert not re.search(r"<script(?![^>]*\b(src=|type=\"application/json\"))", response.content.decode())


@pytest.mark.django_db
def test_json_and_errors_carry_the_header_too() -> None:
    for path in ("/healthz", "/nowhere", "/bert-training/api/runs"):
        assert "default-src 'self'" in Client().get(path)[HEADER]
