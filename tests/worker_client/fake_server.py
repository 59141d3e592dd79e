"""A small training server over real HTTP, after CONTRACT sections 2 to 4, that can also misbehave."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "btw_0123456789abcdef"
SHEET = b"PK\x03\x04 not read by the stub child"
API = "/bert-training/api"


@dataclass
class FakeJob:
    """A job and everything that the worker told of it."""

    id: int
    hyperparameters: dict[str, Any]
    base_model: str = "builtin/tiny-bert"
    sheet: bytes = SHEET
    dataset: dict[str, Any] = field(default_factory=dict)  # what its description says otherwise
    status: str = "pending"
    attempt: int = 0
    claim_id: str = ""
    fenced: bool = False  # the attempt lost its lease for good
    lapsed: bool = False  # the lease ran out, and the next heartbeat takes it up again
    renewals: int = 0
    cancel_requested: bool = False
    pause_requested: bool = False
    lines: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    points: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    events: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    progress: list[dict[str, Any]] = field(default_factory=list)
    counts: list[dict[str, int]] = field(default_factory=list)  # as each end of an attempt told them
    result: dict[str, Any] | None = None
    failure: dict[str, Any] | None = None
    releases: list[str] = field(default_factory=list)

    def messages(self) -> list[str]:
        """The log lines in order."""
        return [line["message"] for _, line in sorted(self.lines.items())]

    def told(self, kind: str) -> list[dict[str, Any]]:
        """The details of the events of a kind, in order."""
        return [event["details"] for _, event in sorted(self.events.items()) if event["kind"] == kind]


@dataclass
class Request:
    """One request as it came in."""

    method: str
    path: str
    body: dict[str, Any]
    at: float


class FakeServer:
    """Holds jobs for one worker. Thread-safe by one lock."""

    def __init__(self, *, heartbeat_s: float = 0.1, retries: int = 3) -> None:
        self.jobs: dict[int, FakeJob] = {}
        self.requests: list[Request] = []
        self.heartbeat_s = heartbeat_s
        self.token = TOKEN
        self.drain = False
        self.poll_s = 0.2
        self.holds_claims = False  # a claim waits `wait_seconds` for a job
        self.swallow: list[str] = []  # routes whose next answer is dropped after the work was done
        self.answers: dict[str, list[tuple[int, dict[str, Any], dict[str, str]]]] = {}  # served instead, in order
        self.sent_sheet: bytes | None = None
        self.lock = threading.Lock()
        self.port = 0
        self.start()

    # For tests.

    def add_job(self, **hyperparameters: Any) -> FakeJob:
        """Queue a job for the stub child."""
        job = FakeJob(len(self.jobs) + 1, {"batch_size": 16, **hyperparameters})
        self.jobs[job.id] = job
        return job

    def start(self) -> None:
        """Listen; after `stop` on the same port."""
        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), _handler_for(self))
        self._http.daemon_threads = True
        self.port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Away: connections are refused."""
        self._http.shutdown()
        self._http.server_close()

    @contextmanager
    def away(self, seconds: float) -> Iterator[None]:
        """Away for a while; back when the block is left."""
        self.stop()
        time.sleep(seconds)
        yield
        self.start()

    @property
    def url(self) -> str:
        """What a person would type."""
        return f"http://127.0.0.1:{self.port}"

    def calls(self, pattern: str) -> list[Request]:
        """Requests whose path matches the whole pattern."""
        return [request for request in list(self.requests) if re.fullmatch(API + pattern, request.path)]

    def wait_for(self, condition: Any, seconds: float = 15) -> None:
        """Until the condition holds; fails the test when it does not."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, [f"{r.method} {r.path} {r.body}" for r in self.requests[-10:]]
            time.sleep(0.02)

    # The routes.

    def answer(self, method: str, path: str, body: dict[str, Any], token: str) -> tuple[int, Any, dict[str, str]]:
        """Status, body and headers of one request."""
        if self.holds_claims and path == f"{API}/jobs/claim":
            deadline = time.monotonic() + body["wait_seconds"]
            while time.monotonic() < deadline and all(job.status != "pending" for job in list(self.jobs.values())):
                time.sleep(0.02)
        with self.lock:
            self.requests.append(Request(method, path, body, time.monotonic()))
            route = path.removeprefix(API)
            planned = self.answers.get(route)
            if planned:
                return planned.pop(0)
            if token != f"Bearer {self.token}":
                return _error(401, "authentication_failed", "Unknown token.")
            for pattern, handler in ROUTES.items():
                if match := re.fullmatch(pattern, route):
                    return handler(self, body, *(int(group) for group in match.groups()))
            return _error(404, "not_found", "No such route.")

    def register(self, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        held = next((job for job in self.jobs.values() if job.status == "running" and not job.fenced), None)
        paces = {
            "poll_seconds": self.poll_s,
            "heartbeat_seconds": self.heartbeat_s,
            "lease_seconds": 5,
            "upload_seconds": 0.1,
        }
        if held is None:
            return 200, {"id": 1, "name": "pc-1", **paces, "held_job": None}, {}
        told = {"held_job": {"job": held.id, "attempt": held.attempt}, "held_until": f"renewed {held.renewals} times"}
        return 200, {"id": 1, "name": "pc-1", **paces, **told}, {}

    def heartbeat(self, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        job = self.jobs.get(body.get("job", 0))
        if job:
            if self._is_fenced(job, body):
                return LEASE_LOST
            job.lapsed = False
            job.renewals += 1
        return 200, self._directives(job), {}

    def claim(self, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        claim_id = body["claim_id"]
        held = next((job for job in self.jobs.values() if job.status == "running" and not job.fenced), None)
        if held and held.claim_id != claim_id:
            return _error(409, "busy", f"This worker holds job {held.id}.")
        job = held or next((job for job in self.jobs.values() if job.status == "pending"), None)
        if job is None:
            return 204, None, {}
        if held is None:
            job.status, job.claim_id, job.attempt, job.fenced = "running", claim_id, job.attempt + 1, False
        return 200, self._job(job), {}

    def download(self, body: dict[str, Any], dataset: int) -> tuple[int, Any, dict[str, str]]:
        job = self.jobs[dataset]
        if job.status != "running" or job.fenced:
            return _error(403, "permission_denied", "Not a dataset of a job that this worker holds.")
        return 200, job.sheet if self.sent_sheet is None else self.sent_sheet, {}

    def progress(self, body: dict[str, Any], job_id: int) -> tuple[int, Any, dict[str, str]]:
        job = self.jobs[job_id]
        if self._is_refused(job, body):
            return LEASE_LOST
        job.progress.append(body)
        return 200, self._directives(job), {}

    def metrics(self, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        job = self.jobs[body["job"]]
        if self._is_refused(job, body):
            return LEASE_LOST
        new = [point for point in body["metrics"] if (point["split"], point["step"]) not in job.points]
        job.points.update({(point["split"], point["step"]): point for point in new})
        duplicates = len(body["metrics"]) - len(new)
        return (
            200,
            {"accepted": len(new), "duplicates": duplicates, "cancel_requested": job.cancel_requested},
            {},
        )

    def logs(self, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        job, attempt = self.jobs[body["job"]], body["attempt"]
        assert len(body["lines"]) <= 1000
        return self._numbered(job, attempt, body["lines"], job.lines)

    def events(self, body: dict[str, Any], job_id: int) -> tuple[int, Any, dict[str, str]]:
        assert len(body["events"]) <= 100
        job = self.jobs[job_id]
        return self._numbered(job, body["attempt"], body["events"], job.events)

    def _numbered(
        self, job: FakeJob, attempt: int, given: list[dict[str, Any]], held: dict[tuple[int, int], dict[str, Any]]
    ) -> tuple[int, Any, dict[str, str]]:
        new = [record for record in given if (attempt, record["seq"]) not in held]
        held.update({(attempt, record["seq"]): record for record in new})
        next_seq = 1
        while (attempt, next_seq) in held:
            next_seq += 1
        counts = {"accepted": len(new), "duplicates": len(given) - len(new)}
        return 200, {**counts, "next_seq": next_seq, "cancel_requested": job.cancel_requested}, {}

    def complete(self, body: dict[str, Any], job_id: int) -> tuple[int, Any, dict[str, str]]:
        job = self.jobs[job_id]
        if self._is_refused(job, body, ended="completed"):
            return LEASE_LOST
        job.counts.append(body.get("counts", {}))
        job.status, job.result = "completed", job.result or body
        return 200, {"status": "completed"}, {}

    def fail(self, body: dict[str, Any], job_id: int) -> tuple[int, Any, dict[str, str]]:
        job = self.jobs[job_id]
        if self._is_refused(job, body):
            return LEASE_LOST
        job.counts.append(body.get("counts", {}))
        job.failure = body
        job.status = "pending" if body["retryable"] and job.attempt < 2 else "failed"
        return 200, {"status": job.status}, {}

    def release(self, body: dict[str, Any], job_id: int) -> tuple[int, Any, dict[str, str]]:
        job = self.jobs[job_id]
        if self._is_refused(job, body):
            return LEASE_LOST
        job.counts.append(body.get("counts", {}))
        job.releases.append(body["reason"])
        job.status = {"cancelled": "cancelled", "paused": "paused"}.get(body["reason"], "pending")
        return 200, {"status": job.status}, {}

    def _is_fenced(self, job: FakeJob, body: dict[str, Any]) -> bool:
        return job.fenced or job.status != "running" or body["attempt"] != job.attempt

    def _is_refused(self, job: FakeJob, body: dict[str, Any], ended: str = "") -> bool:
        repeat = job.status == ended and body["attempt"] == job.attempt
        return not repeat and (job.lapsed or self._is_fenced(job, body))

    def _directives(self, job: FakeJob | None) -> dict[str, Any]:
        return {
            "server_time": "2026-01-01T00:00:00Z",
            "lease_expires_at": "2026-01-01T00:10:00Z",
            "cancel_requested": bool(job and job.cancel_requested),
            "pause_requested": bool(job and job.pause_requested),
            "drain": self.drain,
        }

    def _job(self, job: FakeJob) -> dict[str, Any]:
        return {
            "job": {
                "id": job.id,
                "attempt": job.attempt,
                "lease_expires_at": "2026-01-01T00:10:00Z",
                "lease_seconds": 5,
                "heartbeat_seconds": self.heartbeat_s,
            },
            "run": {
                "id": job.id + 100,
                "name": f"run {job.id}",
                "task_type": "text_classification",
                "base_model": job.base_model,
                "base_model_revision": "",
                "seed": 1,
                "hyperparameters": job.hyperparameters,
            },
            "dataset": {
                "id": job.id,
                "sha256": hashlib.sha256(job.sheet).hexdigest(),
                "size_bytes": len(job.sheet),
                "filename": "andamentos.xlsx",
                "sheet": "Plan1",
                "columns": {"text": "texto", "label": "classe"},
                "labels": [{"name": "a", "count": 2}, {"name": "b", "count": 2}],
                "num_rows": 4,
                "download_url": f"http://example.invalid{API}/datasets/{job.id}/download",
                **job.dataset,
            },
            "resume": {"same_worker": job.attempt > 1, "previous_attempts": job.attempt - 1},
        }


ROUTES: dict[str, Any] = {
    "/workers/register": FakeServer.register,
    "/workers/heartbeat": FakeServer.heartbeat,
    "/jobs/claim": FakeServer.claim,
    r"/datasets/(\d+)/download": FakeServer.download,
    r"/jobs/(\d+)/progress": FakeServer.progress,
    "/metrics": FakeServer.metrics,
    "/logs/batch": FakeServer.logs,
    r"/jobs/(\d+)/events": FakeServer.events,
    r"/jobs/(\d+)/complete": FakeServer.complete,
    r"/jobs/(\d+)/fail": FakeServer.fail,
    r"/jobs/(\d+)/release": FakeServer.release,
}


def _error(status: int, code: str, detail: str) -> tuple[int, Any, dict[str, str]]:
    return status, {"code": code, "detail": detail}, {}


LEASE_LOST = _error(409, "lease_lost", "This attempt no longer holds the job.")


def _handler_for(server: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve({})

        def do_POST(self) -> None:
            self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _serve(self, body: dict[str, Any]) -> None:
            status, answer, headers = server.answer(
                self.command, self.path, body, self.headers.get("Authorization", "")
            )
            route = self.path.removeprefix(API)
            if route in server.swallow:
                server.swallow.remove(route)
                self.close_connection = True
                return
            content = answer if isinstance(answer, bytes) else b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(BrokenPipeError):  # a client that did not wait
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
