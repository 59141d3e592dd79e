"""Every route of the API with a body that it takes, for tests that go through all of them."""

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from django.core.files.uploadedfile import SimpleUploadedFile

from tests.factories import make_dataset, make_running_job, sheet_bytes
from workers_app.models import Worker

API = "/bert-training/api"
PERSON, WORKER, EITHER = "person", "worker", "either"


@dataclass(frozen=True)
class Route:
    """One method of one address. `permission` is what a person needs for it."""

    method: str
    path: str
    who: str
    permission: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    multipart: bool = False

    @property
    def url(self) -> str:
        """The address."""
        return f"{API}/{self.path}"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


ROUTES = [
    Route("GET", "datasets", PERSON, "datasets_app.view_dataset"),
    Route("GET", "datasets/{dataset}", PERSON, "datasets_app.view_dataset"),
    Route("GET", "datasets/{dataset}/download", EITHER, "datasets_app.view_dataset"),
    Route("POST", "datasets/validate", PERSON, "datasets_app.add_dataset", multipart=True),
    Route("POST", "datasets/annotate", PERSON, "datasets_app.add_dataset", multipart=True),
    Route("POST", "datasets/upload", PERSON, "datasets_app.add_dataset", {"name": "sheet"}, multipart=True),
    Route("GET", "runs", PERSON, "runs_app.view_run"),
    Route("POST", "runs", PERSON, "runs_app.add_run", {"dataset": 0, "base_model": "builtin/tiny-bert"}),
    Route("GET", "runs/{run}", PERSON, "runs_app.view_run"),
    Route("GET", "runs/{run}/metrics", PERSON, "runs_app.view_run"),
    Route("GET", "runs/{run}/logs?format=json", PERSON, "runs_app.view_run"),
    Route("POST", "runs/{run}/reproduce", PERSON, "runs_app.add_run"),
    Route("POST", "runs/{run}/pause", PERSON, "runs_app.change_run"),
    Route("POST", "runs/{run}/resume", PERSON, "runs_app.change_run"),
    Route("POST", "runs/{run}/cancel", PERSON, "runs_app.change_run"),
    Route("GET", "queue/status", PERSON, "runs_app.view_job"),
    Route("GET", "workers", PERSON, "workers_app.view_worker"),
    Route("POST", "workers/register", EITHER, "workers_app.add_worker", {"name": "gpu-9", "hostname": "pc"}),
    Route("POST", "workers/heartbeat", WORKER, body={"state": "idle"}),
    Route("POST", "jobs/claim", WORKER, body={"claim_id": str(uuid4())}),
    Route("POST", "jobs/{job}/progress", WORKER, body={"attempt": 1, "phase": "training"}),
    Route("POST", "metrics", WORKER, body={"job": 0, "attempt": 1, "metrics": []}),
    Route("POST", "logs/batch", WORKER, body={"job": 0, "attempt": 1, "lines": []}),
    Route("POST", "jobs/{job}/complete", WORKER, body={"attempt": 1, "metrics": {}, "model_path": "m"}),
    Route("POST", "jobs/{job}/fail", WORKER, body={"attempt": 1, "reason": "killed", "message": ""}),
    Route("POST", "jobs/{job}/events", WORKER, body={"attempt": 1, "events": []}),
    Route("POST", "jobs/{job}/release", WORKER, body={"attempt": 1, "reason": "shutdown"}),
]


def prepare(route: Route, worker: Worker) -> tuple[str, dict[str, Any]]:
    """Address and body of `route` for a new dataset, with a run that `worker` holds."""
    dataset = make_dataset()
    job = make_running_job(worker, dataset=dataset)
    url = route.url.format(dataset=dataset.pk, run=job.run_id, job=job.pk)
    numbers = {"dataset": dataset.pk, "job": job.pk}
    return url, {name: numbers.get(name, value) for name, value in route.body.items()}


def sheet_file() -> Any:
    """A file to send as a form field."""
    return SimpleUploadedFile("sheet.xlsx", sheet_bytes())
