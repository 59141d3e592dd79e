"""The sheet itself, byte for byte: for people with permission, and for the worker that holds the job."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.core.files import File
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header, quote_etag
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.request import Request

from config.renderers import FileAnyhow
from datasets_app.models import Dataset
from runs_app.api.exceptions import RunsAPIView
from runs_app.choices import Status
from runs_app.models import Job
from workers_app.api.permissions import PersonOrWorker, is_worker, worker_of

XLSX_MIME = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CHUNK_BYTES = 256 * 1024


class DatasetDownloadView(RunsAPIView):
    """A worker reads only the sheet of a job that it holds at the moment."""

    permission_classes = [PersonOrWorker]
    content_negotiation_class = FileAnyhow
    required_permissions = {"GET": ["datasets_app.view_dataset"]}

    @extend_schema(responses={(200, XLSX_MIME): OpenApiTypes.BINARY})
    def get(self, request: Request, pk: int) -> HttpResponseBase:
        """200 with the file, 304 when the caller has it already, 403 for a worker that does not hold it."""
        if is_worker(request):
            _check_held(request, pk)
        try:
            return sheet_response(request._request, get_object_or_404(Dataset, pk=pk))
        except FileNotFoundError as error:
            raise NotFound(_("The file of this dataset is not in the server's storage any more.")) from error


def _check_held(request: Request, dataset_id: int) -> None:
    held = Job.objects.filter(worker=worker_of(request), status=Status.RUNNING, lease_expires_at__gt=timezone.now())
    if not held.filter(run__dataset=dataset_id).exists():
        raise PermissionDenied(_("This worker holds no job with this dataset."))


def sheet_response(request: Any, dataset: Dataset) -> HttpResponseBase:
    """The stored bytes as an attachment that no browser will run; `ETag` is their SHA-256."""
    etag = quote_etag(dataset.sha256_hash)
    not_needed = get_conditional_response(request, etag=etag)
    if not_needed is not None:
        not_needed.headers["ETag"] = etag
        return not_needed
    response: HttpResponseBase
    if request.method == "HEAD":
        response = HttpResponse()
    else:
        file = dataset.file.open("rb")
        chunks = _async_chunks(file) if isinstance(request, ASGIRequest) else _chunks(file)
        response = StreamingHttpResponse(chunks)
    name = dataset.original_filename or f"dataset-{dataset.pk}.xlsx"
    headers = {
        "Content-Type": XLSX_MIME,
        "Content-Length": str(dataset.size_bytes),
        "Content-Disposition": content_disposition_header(True, name) or "attachment",
        "ETag": etag,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
        "Content-Security-Policy": "sandbox",
    }
    for header, value in headers.items():
        response.headers[header] = value
    return response


def _chunks(file: File) -> Iterator[bytes]:
    with file:
        yield from file.chunks(CHUNK_BYTES)


async def _async_chunks(file: File) -> AsyncIterator[bytes]:
    """Django would read a plain iterator to its end before sending the first byte under ASGI."""
    with file:
        while chunk := await sync_to_async(file.read, thread_sensitive=False)(CHUNK_BYTES):
            yield chunk
