"""What people call: runs, their figures, the queue and the workers."""

from collections.abc import Callable
from typing import Any

from django.db.models import Count, QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from runs_app.api.exceptions import RunsAPIView
from runs_app.api.filters import RunFilter
from runs_app.api.serializers import MetricSerializer, NewRunSerializer, ReproduceSerializer, RunSerializer
from runs_app.choices import Status
from runs_app.models import Job, Run
from runs_app.services import queue, runs, telemetry
from runs_app.services.waiting import Fleet, waiting_reason
from workers_app.api.permissions import person_of
from workers_app.api.serializers import WorkerSerializer
from workers_app.models import Worker

MAX_QUEUE_JOBS = 500

VIEW_RUN = ["runs_app.view_run"]


class ApiRoot(RunsAPIView):
    """Where everything is."""

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        """Addresses of the lists."""
        names = ("datasets", "runs", "queue-status", "workers", "schema", "docs")
        return Response({name: reverse(name, request=request) for name in names})


class RunListView(RunsAPIView, generics.ListCreateAPIView):
    """The runs, newest first; POST queues a new one."""

    serializer_class = RunSerializer
    filterset_class = RunFilter
    required_permissions = {"GET": VIEW_RUN, "POST": ["runs_app.add_run"]}

    def get_queryset(self) -> QuerySet[Run]:
        """With everything a line needs."""
        return Run.objects.with_job()

    def get_serializer_class(self) -> Any:
        """The form of the browsable API shows what a new run takes."""
        return NewRunSerializer if self.request.method == "POST" else RunSerializer

    @extend_schema(request=NewRunSerializer, responses={201: RunSerializer})
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The run and its job, in one transaction."""
        body = NewRunSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        wanted = body.validated_data
        run = runs.create_run(
            given=wanted.pop("hyperparameters"), user=person_of(request), now=timezone.now(), **wanted
        )
        return Response(RunSerializer(run).data, status=status.HTTP_201_CREATED)


class RunDetailView(RunsAPIView, generics.RetrieveAPIView):
    """One run."""

    serializer_class = RunSerializer
    required_permissions = {"GET": VIEW_RUN}

    def get_queryset(self) -> QuerySet[Run]:
        """With its job, worker and model."""
        return Run.objects.for_display()


class RunMetricsView(RunsAPIView):
    """The figures of a run, in order of step."""

    required_permissions = {"GET": VIEW_RUN}

    @extend_schema(responses={200: dict})
    def get(self, request: Request, pk: int) -> Response:
        """{run, results}."""
        run = get_object_or_404(Run, pk=pk)
        # Not through the serializer, which takes as long as everything else together for a run of thousands of steps.
        return Response({"run": run.pk, "results": list(run.epoch_metrics.values(*MetricSerializer.Meta.fields))})


class ReproduceView(RunsAPIView, generics.GenericAPIView):
    """A new run with the same inputs."""

    serializer_class = ReproduceSerializer
    required_permissions = {"GET": VIEW_RUN, "POST": ["runs_app.add_run"]}

    @extend_schema(request=ReproduceSerializer, responses={201: RunSerializer})
    def post(self, request: Request, pk: int) -> Response:
        """201 with the new run; `reproduced_from` names the source."""
        source = get_object_or_404(Run.objects.for_display(), pk=pk)
        body = ReproduceSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        name = body.validated_data["name"]
        run = runs.reproduce_run(source=source, name=name, user=person_of(request), now=timezone.now())
        return Response(RunSerializer(run).data, status=status.HTTP_201_CREATED)


class RunActionView(RunsAPIView):
    """Cancel, pause or resume: 202 while a worker must act first, 200 when it is so already."""

    required_permissions = {"GET": VIEW_RUN, "POST": ["runs_app.change_run"]}
    request_change: Callable[..., Job]

    @extend_schema(request=None, responses={200: RunSerializer, 202: RunSerializer})
    def post(self, request: Request, pk: int) -> Response:
        """The run as it is now."""
        run = get_object_or_404(Run, pk=pk)
        job = type(self).request_change(run=run, user=person_of(request), now=timezone.now())
        asked = job.status == Status.RUNNING and (job.cancel_requested_at or job.pause_requested_at)
        fresh = Run.objects.for_display().get(pk=pk)
        return Response(RunSerializer(fresh).data, status=status.HTTP_202_ACCEPTED if asked else status.HTTP_200_OK)


class CancelView(RunActionView):
    """Stop a run."""

    request_change = staticmethod(runs.request_cancel)


class PauseView(RunActionView):
    """Park a run; it keeps its checkpoint."""

    request_change = staticmethod(runs.request_pause)


class ResumeView(RunActionView):
    """Put a paused run back into the queue."""

    request_change = staticmethod(runs.resume_run)


class QueueStatusView(RunsAPIView):
    """How long the queue is and why each job waits."""

    required_permissions = {"GET": ["runs_app.view_job"]}

    @extend_schema(responses={200: dict})
    def get(self, request: Request) -> Response:
        """Counts, workers, and the jobs that are not over, in the order in which they will be taken."""
        now = timezone.now()
        queue.requeue_expired(now=now)
        counts = dict(Job.objects.order_by().values_list("status").annotate(Count("pk")))
        fleet = Fleet.now(now)
        oldest = Job.objects.filter(status=Status.PENDING).order_by("queued_at").first()
        active = Job.objects.active().select_related("run", "worker").order_by("-priority", "id")
        return Response(
            {
                **{name: counts.get(name, 0) for name in Status.values},
                "oldest_pending_seconds": (now - oldest.queued_at).total_seconds() if oldest else None,
                "workers_online": len(fleet.online),
                "workers_total": len(fleet.workers),
                "jobs": [_queue_line(job, fleet) for job in active[:MAX_QUEUE_JOBS]],
            }
        )


def _queue_line(job: Job, fleet: Fleet) -> dict[str, Any]:
    holder = job.worker.name if job.worker and job.status == Status.RUNNING else None
    return {
        "id": job.pk,
        "run": job.run_id,
        "name": job.run.name,
        "status": job.status,
        "priority": job.priority,
        "worker": holder,
        "waiting_reason": waiting_reason(job, fleet),
    }


class WorkerListView(RunsAPIView, generics.ListAPIView):
    """The workers and what each is doing."""

    serializer_class = WorkerSerializer
    queryset = Worker.objects.all()
    filter_backends: list[Any] = []
    required_permissions = {"GET": ["workers_app.view_worker"]}

    def get_serializer_context(self) -> dict[str, Any]:
        """The moment and the live jobs, read once for the page."""
        return {**super().get_serializer_context(), "now": timezone.now(), "current_jobs": telemetry.current_jobs()}
