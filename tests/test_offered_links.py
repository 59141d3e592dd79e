"""No page offers a way to what is then refused: many kinds of people follow every link, from the home page on."""

import html
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from runs_app.choices import FailureReason
from runs_app.models import Job
from runs_app.services import queue
from tests.admin_client import signed_in
from tests.factories import make_api_token, make_dataset, make_job, make_running_job, make_worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]

ADDRESS = re.compile(r' (?:href|action|data-[a-z-]*(?:url|refresh|preview))="([^"]+)"')
FOLLOWED = re.compile(r"[^?]*(\?(dataset|source|previous)=\d+)?")  # what orders or filters a list leads nowhere else
KINDS = {
    "dataset": "datasets_app",
    "run": "runs_app",
    "job": "runs_app",
    "trainedmodel": "runs_app",
    "basemodel": "runs_app",
    "worker": "workers_app",
    "apitoken": "workers_app",
    "user": "auth",
    "group": "auth",
}
PEOPLE = {
    **{f"sees {kind}": [f"{app}.view_{kind}"] for kind, app in KINDS.items()},
    **{f"changes {kind}": [f"{app}.change_{kind}"] for kind, app in KINDS.items()},
    "trains": ["datasets_app.add_dataset", "datasets_app.view_dataset", "runs_app.add_run", "runs_app.view_run"],
    "only uploads": ["datasets_app.add_dataset"],
    "only queues": ["runs_app.add_run"],
    "only connects": ["workers_app.add_worker"],
}


@pytest.fixture
def rows() -> None:
    """Runs in several states, workers, datasets, tokens."""
    held = [_running("Em curso"), _running("Falhou"), _running("Feito")]
    failed, done = [{"job_id": job.pk, "attempt": 1, "worker": job.worker, "now": timezone.now()} for job in held[1:]]
    queue.fail_job(**failed, reason=FailureReason.NAN_LOSS, message="nan")
    queue.complete_job(**done, result=queue.Result(model_path="/modelos/run-3", metrics={"f1": 0.9}))
    make_job(name="Espera")
    make_dataset()
    make_api_token()


def _running(name: str) -> Job:
    return make_running_job(make_worker(f"worker de {name}", last_seen_at=timezone.now())[0], name=name)


def links_of(path: str, answer: Any) -> Iterator[str]:
    """Where a page or a redirect leads, within the site."""
    if answer.status_code in (301, 302):
        yield urljoin(path, answer["Location"])
    elif answer.headers["Content-Type"].startswith("text/html") and not answer.streaming:
        for found in ADDRESS.findall(answer.content.decode()):
            address = urljoin(path, html.unescape(found)).partition("#")[0]
            outside = urlsplit(address).netloc or address.startswith("/static/") or "logout" in address
            if not outside and FOLLOWED.fullmatch(address):
                yield address


def refused_of(client: Client) -> list[tuple[str, str, int]]:
    """(page, link on it, status) of each that is not answered with a page or the way to one."""
    seen, to_do, refused = set(), [("", "/admin/")], []
    while to_do:
        origin, path = to_do.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = client.get(path)
        if answer.status_code >= 400 or path.startswith("/admin/login"):
            refused.append((origin, path, answer.status_code))
        else:
            to_do += [(path, link) for link in links_of(path, answer)]
    return refused


@pytest.mark.parametrize("person", PEOPLE)
def test_no_page_offers_what_is_refused(person: str, rows: None) -> None:
    assert refused_of(signed_in(*PEOPLE[person])) == []


def test_no_page_offers_a_superuser_what_is_refused(rows: None) -> None:
    assert refused_of(signed_in()) == []
