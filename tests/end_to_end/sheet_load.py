"""What a busy day does to the server: clients that send awkward sheets without end, and a worker that claims."""

import csv
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import requests

from tests.end_to_end.site import Site
from tests.sheet_factories import inline, parts, sheet_xml, write_parts

CORPUS = Path(__file__).resolve().parents[1] / "data" / "nasty"
ANSWER_S = 120
API = "/bert-training/api"


def corpus_cases() -> list[dict[str, str]]:
    """The lines of the manifest."""
    with (CORPUS / "manifest.csv").open(encoding="utf-8", newline="") as manifest:
        return list(csv.DictReader(manifest))


def honest_sheet(path: Path, rows: int) -> Path:
    """A sheet that can be used, of texts of about 400 characters."""
    rng = random.Random(7)
    words = [f"{a}{b}{c}" for a in ("pro", "con", "re", "jul") for b in ("cess", "tra", "vist") for c in range(300)]
    cells = {1: inline("A1", "text") + inline("B1", "label")}
    for row in range(2, rows + 2):
        text = " ".join(rng.choices(words, k=50))
        cells[row] = inline(f"A{row}", text) + inline(f"B{row}", rng.choice(["provido", "negado"]))
    return write_parts(path, parts(sheet_xml(cells)))


class Load:
    """Clients of one person that validate the corpus again and again. `answers`: (line of the manifest, status)."""

    def __init__(self, site: Site, clients: int) -> None:
        self.cases = corpus_cases()
        self.answers: list[tuple[dict[str, str], int]] = []
        self._site, self._stop = site, threading.Event()
        self._token = site.manage("create_api_token", "ana").strip()
        self._threads = [threading.Thread(target=self._loop, args=(n,)) for n in range(clients)]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Afterwards every client has had its last answer."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(ANSWER_S)

    def is_through(self) -> bool:
        """Each line was answered at least once."""
        answered = [case for case, status in self.answers if status != 503]
        return all(case in answered for case in self.cases)

    def validate(self, path: Path, **fields: str) -> requests.Response:
        """POST /datasets/validate."""
        return requests.post(
            f"{self._site.address}{API}/datasets/validate",
            headers={"Authorization": f"Bearer {self._token}"},
            data=fields,
            files={"file": (path.name, path.read_bytes())},
            timeout=ANSWER_S,
        )

    def _loop(self, offset: int) -> None:
        at = offset * len(self.cases) // len(self._threads)
        while not self._stop.is_set():
            case = self.cases[at % len(self.cases)]
            answer = self.validate(CORPUS / case["file"], task_type=case["task"], **dict(parse_qsl(case["params"])))
            self.answers.append((case, answer.status_code))
            at += 1


def claim_seconds(site: Site, worker: str, *, until: Callable[[], bool]) -> list[float]:
    """How long each claim took of a new worker that takes the one job and gives it back, again and again."""
    token = site.post("/workers/register", {"name": worker}).json()["token"]
    http = requests.Session()
    http.headers["Authorization"] = f"Bearer {token}"

    def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = http.post(f"{site.address}{API}{path}", json=body, timeout=ANSWER_S)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    seconds: list[float] = []
    while not until():
        began = time.monotonic()
        job = post("/jobs/claim", {"claim_id": str(uuid.uuid4())})["job"]
        seconds.append(time.monotonic() - began)
        post(f"/jobs/{job['id']}/release", {"attempt": job["attempt"], "reason": "shutdown"})
        time.sleep(0.05)
    return seconds
