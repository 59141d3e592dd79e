"""What workers call. Every view parses, calls one service, answers."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from config.api import CodedError
from datasets_app.models import Dataset
from runs_app.api.exceptions import RunsAPIView
from runs_app.api.serializers import (
    ClaimSerializer,
    CompleteSerializer,
    EventsSerializer,
    FailSerializer,
    HeartbeatSerializer,
    LogsSerializer,
    MetricsSerializer,
    ProgressSerializer,
    ReleaseSerializer,
)
from runs_app.choices import FailureReason, ReleaseReason
from runs_app.hyperparameters import as_ordered
from runs_app.models import Attempt, Job, Run
from runs_app.services import queue, telemetry
from workers_app import services as workers
from workers_app.api.permissions import IsWorker, PersonOrWorker, is_worker, worker_of
from workers_app.api.serializers import MachineSerializer, NewWorkerSerializer, RegisteredWorkerSerializer
from workers_app.models import Worker

PROTOCOL = 1  # of the newest worker that this server understands; it understands all older ones


class WorkerView(RunsAPIView):
    """A route for workers: the body is judged by `serializer_class`, the caller is `self.worker`."""

    permission_classes = [IsWorker]
    serializer_class: type[serializers.Serializer[Any]]

    @property
    def worker(self) -> Worker:
        """Who calls."""
        return worker_of(self.request)

    def read(self, request: Request) -> dict[str, Any]:
        """The body, judged. Every call counts as a sign of life. Raises ValidationError."""
        serializer = self.serializer_class(data=request.data)
        serializer.is_valid(raise_exception=True)
        workers.touch(worker=self.worker, now=timezone.now())
        return serializer.validated_data


class RegisterView(RunsAPIView):
    """A person's token creates a worker and shows its token once; a worker's own token reports its machine."""

    permission_classes = [PersonOrWorker]
    required_permissions = {"GET": ["workers_app.view_worker"], "POST": ["workers_app.add_worker"]}

    @extend_schema(request=NewWorkerSerializer, responses={201: RegisteredWorkerSerializer})
    def post(self, request: Request) -> Response:
        """201 for a person, 200 for a worker."""
        return self._announce(request) if is_worker(request) else self._create(request)

    def _create(self, request: Request) -> Response:
        body = NewWorkerSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        try:
            worker, token = workers.register_worker(**body.validated_data)
        except DjangoValidationError as error:
            raise ValidationError(error.message_dict) from error
        answer = {"id": worker.pk, "name": worker.name, "token": token}
        return Response(answer, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})

    def _announce(self, request: Request) -> Response:
        worker = worker_of(request)
        body = MachineSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        _refuse_newer(body.validated_data["protocol"])
        workers.record_machine(worker=worker, facts=body.validated_data, now=timezone.now())
        live = queue.live_attempt(worker)
        return Response(
            {
                "id": worker.pk,
                "name": worker.name,
                "poll_seconds": settings.JOB_POLL_SECONDS,
                "heartbeat_seconds": settings.JOB_HEARTBEAT_SECONDS,
                "lease_seconds": settings.JOB_LEASE_SECONDS,
                "upload_seconds": settings.JOB_UPLOAD_SECONDS,
                "held_job": {"job": live.job_id, "attempt": live.number} if live else None,
                **({"held_until": live.job.lease_expires_at} if live else {}),
            }
        )


def _refuse_newer(protocol: int) -> None:
    """426 to a worker of a later release, before it takes a job that this server would misunderstand."""
    if protocol > PROTOCOL:
        detail = _("This worker speaks protocol %(worker)d, this server %(server)d. Update the server first.")
        raise CodedError(
            code="worker_too_new",
            detail=detail % {"worker": protocol, "server": PROTOCOL},
            status_code=status.HTTP_426_UPGRADE_REQUIRED,
        )


class HeartbeatView(WorkerView):
    """I am alive; renews the lease of the job named."""

    serializer_class = HeartbeatSerializer

    @extend_schema(request=HeartbeatSerializer, responses={200: dict})
    def post(self, request: Request) -> Response:
        """The server's time, the lease and what is asked of the worker."""
        body, now = self.read(request), timezone.now()
        gpu = {name: body.get(name) for name in ("gpu_utilization", "gpu_memory_bytes")}
        workers.touch(worker=self.worker, now=now, **gpu)
        job = None
        if body.get("job") is not None:
            job = queue.renew_lease(job_id=body["job"], attempt=body["attempt"], worker=self.worker, now=now)
            telemetry.record_gpu_use(job=job, now=now, **gpu)
        queue.requeue_expired(now=now)
        return Response(directives(self.worker, job))


def directives(worker: Worker, job: Job | None) -> dict[str, Any]:
    """What rides on an answer to a worker: its lease, and whether it is to stop or to take no more."""
    return {
        "server_time": timezone.now(),
        "lease_expires_at": job.lease_expires_at if job else None,
        "cancel_requested": bool(job and job.cancel_requested_at),
        "pause_requested": bool(job and job.pause_requested_at),
        "drain": worker.draining,
    }


class ClaimView(WorkerView):
    """The next job, or 204. `waiting_claims`, in front of Django, asks again for up to `wait_seconds`."""

    serializer_class = ClaimSerializer

    @extend_schema(request=ClaimSerializer, responses={200: dict, 204: None})
    def post(self, request: Request) -> Response:
        """The job with all that the worker needs to begin."""
        body = self.read(request)
        job = queue.claim_job(worker=self.worker, claim_id=body["claim_id"], now=timezone.now())
        if job is None:
            return Response(status=status.HTTP_204_NO_CONTENT)
        return Response(claim_answer(job, self.worker, request))


def claim_answer(job: Job, worker: Worker, request: Request) -> dict[str, Any]:
    """Job, run, dataset and what earlier attempts left."""
    run = Run.objects.select_related("dataset").get(pk=job.run_id)
    last = job.attempts.filter(number=job.attempt - 1).first() if job.attempt > 1 else None
    return {
        "job": {
            "id": job.pk,
            "attempt": job.attempt,
            "kind": job.kind,
            "lease_expires_at": job.lease_expires_at,
            "lease_seconds": settings.JOB_LEASE_SECONDS,
            "heartbeat_seconds": settings.JOB_HEARTBEAT_SECONDS,
        },
        "run": _run_facts(run),
        "dataset": _dataset_facts(run.dataset, request),
        "resume": {
            "same_worker": last is not None and last.worker_id == worker.pk,
            "previous_attempts": job.attempt - 1,
        },
    }


def _run_facts(run: Run) -> dict[str, Any]:
    return {
        "id": run.pk,
        "name": run.name,
        "task_type": run.task_type,
        "base_model": run.base_model,
        "base_model_revision": run.base_model_revision,
        "seed": run.seed,
        "hyperparameters": as_ordered(run.hyperparameters),
    }


def _dataset_facts(dataset: Dataset, request: Request) -> dict[str, Any]:
    return {
        "id": dataset.pk,
        "sha256": dataset.sha256_hash,
        "size_bytes": dataset.size_bytes,
        "filename": dataset.original_filename,
        "sheet": dataset.sheet,
        "columns": dataset.columns,
        "labels": dataset.labels,
        "num_rows": dataset.num_rows,
        "repair_bio": dataset.repair_bio,
        "download_url": reverse("dataset-download", args=[dataset.pk], request=request),
    }


class ProgressView(WorkerView):
    """How far the attempt is."""

    serializer_class = ProgressSerializer

    @extend_schema(request=ProgressSerializer, responses={200: dict})
    def post(self, request: Request, pk: int) -> Response:
        """As heartbeat."""
        body, now = self.read(request), timezone.now()
        with transaction.atomic():
            job = queue.held_job(job_id=pk, attempt=body["attempt"], worker=self.worker, now=now)
            telemetry.record_progress(job=job, progress=body, now=now)
        return Response(directives(self.worker, job))


class MetricsView(WorkerView):
    """Figures of epochs."""

    serializer_class = MetricsSerializer

    @extend_schema(request=MetricsSerializer, responses={200: dict})
    def post(self, request: Request) -> Response:
        """How many were new."""
        body, now = self.read(request), timezone.now()
        with transaction.atomic():
            job = queue.held_job(job_id=body["job"], attempt=body["attempt"], worker=self.worker, now=now)
            done = telemetry.record_metrics(job=job, points=body["metrics"])
        answer = {"accepted": done.accepted, "duplicates": done.duplicates}
        return Response({**answer, "cancel_requested": job.cancel_requested_at is not None})


class LogsView(WorkerView):
    """Log lines; those of an ended attempt are still taken from the worker that held it."""

    serializer_class = LogsSerializer

    @extend_schema(request=LogsSerializer, responses={200: dict})
    def post(self, request: Request) -> Response:
        """How many were new, and which line the server wants next."""
        body = self.read(request)
        attempt = queue.attempt_of(job_id=body["job"], attempt=body["attempt"], worker=self.worker)
        return Response(taken(attempt, *telemetry.record_logs(attempt=attempt, lines=body["lines"])))


class EventsView(WorkerView):
    """What the worker did by itself: a batch halved, a checkpoint taken up. Taken of ended attempts too."""

    serializer_class = EventsSerializer

    @extend_schema(request=EventsSerializer, responses={200: dict})
    def post(self, request: Request, pk: int) -> Response:
        """As for log lines."""
        body, now = self.read(request), timezone.now()
        attempt = queue.attempt_of(job_id=pk, attempt=body["attempt"], worker=self.worker)
        told = telemetry.record_events(attempt=attempt, worker=self.worker, events=body["events"], now=now)
        return Response(taken(attempt, *told))


def taken(attempt: Attempt, done: telemetry.Ingested, next_seq: int) -> dict[str, Any]:
    """The answer to numbered lines or events; an attempt that ended is asked for nothing more."""
    cancelled = attempt.ended_at is None and attempt.job.cancel_requested_at is not None
    counted = {"accepted": done.accepted, "duplicates": done.duplicates, "next_seq": next_seq}
    return {**counted, "cancel_requested": cancelled}


class CompleteView(WorkerView):
    """The training is finished."""

    serializer_class = CompleteSerializer

    @extend_schema(request=CompleteSerializer, responses={200: dict})
    def post(self, request: Request, pk: int) -> Response:
        """A repeat changes nothing."""
        body = self.read(request)
        attempt = body.pop("attempt")
        result = queue.Result(**body)
        job = queue.complete_job(job_id=pk, attempt=attempt, worker=self.worker, result=result, now=timezone.now())
        return Response({"status": job.status})


class FailView(WorkerView):
    """The attempt ended without a model."""

    serializer_class = FailSerializer

    @extend_schema(request=FailSerializer, responses={200: dict})
    def post(self, request: Request, pk: int) -> Response:
        """`pending` when it goes back to the queue, else `failed`."""
        body = self.read(request)
        job = queue.fail_job(
            job_id=pk,
            attempt=body["attempt"],
            worker=self.worker,
            reason=FailureReason(body["reason"]),
            message=body["message"],
            traceback=body.get("traceback") or "",
            retryable=body["retryable"],
            counts=body["counts"],
            now=timezone.now(),
        )
        return Response({"status": job.status})


class ReleaseView(WorkerView):
    """The worker gives the job back."""

    serializer_class = ReleaseSerializer

    @extend_schema(request=ReleaseSerializer, responses={200: dict})
    def post(self, request: Request, pk: int) -> Response:
        """Cancelled, paused, or in the queue again."""
        body = self.read(request)
        reason = ReleaseReason(body["reason"])
        job = queue.release_job(
            job_id=pk,
            attempt=body["attempt"],
            worker=self.worker,
            reason=reason,
            counts=body["counts"],
            now=timezone.now(),
        )
        return Response({"status": job.status})
