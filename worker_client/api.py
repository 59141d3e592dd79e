"""HTTP to the server: one method per endpoint. Holds no state and never sleeps in a loop."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from worker_client import __version__
from worker_client.errors import ApiError, Rejected, Retryable, error_for
from worker_client.protocol import Directives, JobSpec, Registration, sendable
from worker_client.settings import is_loopback
from worker_client.transport import Deadline, PunctualAdapter

T = TypeVar("T")
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
ANSWER_FACTOR = 2  # a whole answer may take so many read timeouts
DOWNLOAD_READ_TIMEOUT_S = 10.0  # a cancel is not seen while a download stands still
DOWNLOAD_S = 120.0
CHUNK_BYTES = 256 * 1024
MAX_DETAIL_CHARS = 300
FOREIGN_STATUS = frozenset({400, 404, 405, 410})  # of a proxy or a wrong host name; others mean this very body
REGISTER_PATH = "/workers/register"
POOL_PREFIX = re.compile(r"^\w+\(host=[^)]*\): ")


class BearerToken(AuthBase):
    """Sends the token. As an auth object, so that a ~/.netrc entry for the host cannot replace it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header to one request."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class ApiClient:
    """The worker's side of every endpoint it uses.

    Every method raises the classes of `worker_client.errors`: `Retryable` when the server is away or busy,
    `Unauthorized`, `LeaseLost`, `Busy`, or `Rejected`. Not for use by several threads at once: see `twin`.
    """

    def __init__(
        self, api_url: str, token: str, *, read_timeout_s: float = READ_TIMEOUT_S, connection_retries: int = 2
    ) -> None:
        self.api_url = api_url
        self._token = token
        self._timeouts = (CONNECT_TIMEOUT_S, read_timeout_s)
        self._deadline = Deadline(ANSWER_FACTOR * read_timeout_s)
        self._session = _session(api_url, token, connection_retries, self._deadline)

    def twin(self, *, read_timeout_s: float = READ_TIMEOUT_S, connection_retries: int = 0) -> "ApiClient":
        """The same server and token with a connection of its own, for another thread."""
        return ApiClient(
            self.api_url, self._token, read_timeout_s=read_timeout_s, connection_retries=connection_retries
        )

    def register(self, facts: dict[str, Any]) -> Registration:
        """Say what this machine is; returns the paces that the server wants and the job it thinks is held."""
        return _understood(Registration.from_wire, self._post(REGISTER_PATH, facts))

    def heartbeat(
        self,
        *,
        job_id: int | None = None,
        attempt: int | None = None,
        gpu_utilization: float | None = None,
        gpu_memory_bytes: int | None = None,
    ) -> Directives:
        """Say that the worker lives, and renew the lease of the job it holds."""
        body = {
            "state": "idle" if job_id is None else "busy",
            "job": job_id,
            "attempt": attempt,
            "gpu_utilization": gpu_utilization,
            "gpu_memory_bytes": gpu_memory_bytes,
        }
        known = {key: value for key, value in body.items() if value is not None}
        return Directives.from_wire(self._post("/workers/heartbeat", known))

    def claim(self, claim_id: str, *, wait_seconds: float = 0) -> JobSpec | None:
        """The next job, or None when nothing waits. The same `claim_id` again returns the same job.

        wait_seconds: how long the server may hold the answer back for a job to come.
        """
        answer = self._post("/jobs/claim", {"claim_id": claim_id, "wait_seconds": wait_seconds})
        return _understood(JobSpec.from_wire, answer) if answer else None

    @contextmanager
    def download_dataset(self, dataset_id: int, *, seconds: float = DOWNLOAD_S) -> Iterator[Iterator[bytes]]:
        """The bytes of a held job's sheet as they come. A cut in mid-stream, or `seconds` gone, raises Retryable.

        The path is built from the id: the token never goes to an address that the server merely names.
        """
        timeouts = (CONNECT_TIMEOUT_S, DOWNLOAD_READ_TIMEOUT_S)
        response = self._send("GET", f"/datasets/{dataset_id}/download", stream=True, timeout=timeouts)
        with response:
            if response.status_code != 200:
                raise _error_of(response)
            yield _chunks(response, time.monotonic() + seconds)

    def progress(self, *, job_id: int, attempt: int, progress: dict[str, Any]) -> Directives:
        """How far the training is; answered like a heartbeat."""
        return Directives.from_wire(self._post(f"/jobs/{job_id}/progress", {"attempt": attempt, **progress}))

    def metrics(self, *, job_id: int, attempt: int, metrics: list[dict[str, Any]]) -> dict[str, Any]:
        """Figures of epochs; returns accepted, duplicates and cancel_requested."""
        return self._post("/metrics", {"job": job_id, "attempt": attempt, "metrics": metrics})

    def logs(self, *, job_id: int, attempt: int, lines: list[dict[str, Any]]) -> dict[str, Any]:
        """Numbered log lines; returns accepted, duplicates, next_seq and cancel_requested."""
        return self._post("/logs/batch", {"job": job_id, "attempt": attempt, "lines": lines})

    def events(self, *, job_id: int, attempt: int, events: list[dict[str, Any]]) -> dict[str, Any]:
        """Numbered events of the attempt; answered like log lines."""
        return self._post(f"/jobs/{job_id}/events", {"attempt": attempt, "events": events})

    def complete(self, *, job_id: int, attempt: int, result: dict[str, Any]) -> None:
        """The attempt made a model."""
        self._post(f"/jobs/{job_id}/complete", {"attempt": attempt, **result})

    def fail(self, *, job_id: int, attempt: int, failure: dict[str, Any]) -> str:
        """The attempt made none; returns the job's status: `pending` when it is tried again, else `failed`."""
        return str(self._post(f"/jobs/{job_id}/fail", {"attempt": attempt, **failure}).get("status", ""))

    def release(self, *, job_id: int, attempt: int, reason: str, **more: Any) -> None:
        """Give the job back: cancelled, paused, shutdown or crashed. more: `counts`."""
        self._post(f"/jobs/{job_id}/release", {"attempt": attempt, "reason": reason, **more})

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        response = self._send("POST", path, json=sendable(body))
        if response.status_code == 204:
            return {}
        if not 200 <= response.status_code < 300:
            raise _error_of(response)
        answer = _json_of(response)
        if answer is None:
            # A proxy's or a portal's page instead of the server's answer: not the server's word, so ask again.
            raise Retryable(response.status_code, "bad_answer", "the answer is not JSON")
        return answer

    def _send(self, method: str, path: str, **options: Any) -> requests.Response:
        options = {"timeout": self._timeouts, "allow_redirects": False, **options}
        try:
            return self._session.request(method, self.api_url + path, **options)
        except requests.RequestException as error:
            raise Retryable(0, "unreachable", _cause_of(error)) from error
        finally:
            self._deadline.end()


def _session(api_url: str, token: str, connection_retries: int, deadline: Deadline) -> requests.Session:
    """POST is retried too, because every worker endpoint is repeatable; statuses are left to the callers."""
    retry = Retry(
        total=connection_retries,
        status=0,
        redirect=0,
        allowed_methods=None,
        backoff_factor=0.2,
        respect_retry_after_header=False,
        raise_on_status=False,
        raise_on_redirect=False,
    )
    session = requests.Session()
    # An office proxy in the environment must not catch requests to this very machine.
    session.trust_env = not is_loopback(urlsplit(api_url).hostname or "")
    session.auth = BearerToken(token)
    session.headers.update(
        {
            "Accept": "application/json",
            "Accept-Language": "en",  # as all of this program's log
            "User-Agent": f"bert-worker/{__version__}",
        }
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, PunctualAdapter(deadline, max_retries=retry))
    return session


def _chunks(response: requests.Response, deadline: float) -> Iterator[bytes]:
    """Whatever has come, so that a caller who must stop learns of it between two packets."""
    try:
        while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
            yield chunk
            if time.monotonic() > deadline:
                raise Retryable(0, "unreachable", "the download was too slow")
    except (HTTPError, OSError) as error:
        raise Retryable(0, "unreachable", f"the download was cut: {_cause_of(error)}") from error


def _error_of(response: requests.Response) -> ApiError:
    status = response.status_code
    if 300 <= status < 400:
        where = response.headers.get("Location", "elsewhere")
        return Rejected(status, "redirect", f"the server redirects to {where}; give that address as --api-url")
    body = _json_of(response) or {}
    is_foreign = status in FOREIGN_STATUS and "code" not in body
    if is_foreign and not response.url.endswith(REGISTER_PATH):
        # The server's own carry a code: a proxy whose backend is being started. At registration the address is wrong.
        return Retryable(status, f"http_{status}", "the answer is not the training server's")
    code = str(body.get("code") or f"http_{status}")
    detail = str(body.get("detail") or response.reason or "no detail")
    if body.get("errors"):
        detail = f"{detail} {json.dumps(body['errors'], ensure_ascii=False)}"
    return error_for(status, code, detail[:MAX_DETAIL_CHARS], _retry_after(response.headers.get("Retry-After")))


def _understood(read: Callable[[dict[str, Any]], T], answer: dict[str, Any]) -> T:
    """The answer as an object. One that makes no sense is asked for again: nothing was done by it."""
    try:
        return read(answer)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Retryable(200, "bad_answer", f"the answer cannot be read: {error!r}") from error


def _json_of(response: requests.Response) -> dict[str, Any] | None:
    try:
        body = response.json()
    except (requests.RequestException, ValueError):
        return None
    return body if isinstance(body, dict) else None


def _retry_after(header: str | None) -> float | None:
    """Seconds to wait, from either form of the header; None when there is none or it cannot be read."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _cause_of(error: Exception) -> str:
    """The innermost reason in a few words: requests and urllib3 wrap it several times."""
    cause: Any = error
    while isinstance(inner := getattr(cause, "reason", None) or (cause.args[0] if cause.args else None), Exception):
        cause = inner
    return POOL_PREFIX.sub("", str(cause).strip())[:MAX_DETAIL_CHARS] or type(cause).__name__
