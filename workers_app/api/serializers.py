"""Workers on the wire."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from config.fields import BoundedIntegerField
from workers_app.models import Worker, valid_name

MAX_BYTES = 2**63 - 1


class NewWorkerSerializer(serializers.Serializer[Any]):
    """What a person says of a worker to register."""

    name = serializers.CharField(max_length=100, validators=[valid_name])
    description = serializers.CharField(max_length=300, required=False, allow_blank=True, default="")


class RegisteredWorkerSerializer(serializers.Serializer[Any]):
    """The new worker with its token: the only time that it is shown."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    token = serializers.CharField()


class GpuSerializer(serializers.Serializer[Any]):
    """One GPU."""

    name = serializers.CharField(max_length=200)
    memory_bytes = BoundedIntegerField(max_value=MAX_BYTES, required=False, allow_null=True)


class MachineSerializer(serializers.Serializer[Any]):
    """What a worker says of its machine."""

    hostname = serializers.CharField(max_length=255, required=False, allow_blank=True, default="")
    platform = serializers.CharField(max_length=255, required=False, allow_blank=True)
    python = serializers.CharField(max_length=100, required=False, allow_blank=True)
    torch = serializers.CharField(max_length=100, required=False, allow_blank=True, allow_null=True)
    transformers = serializers.CharField(max_length=100, required=False, allow_blank=True, allow_null=True)
    cuda = serializers.CharField(max_length=100, required=False, allow_blank=True, allow_null=True)
    gpus = GpuSerializer(many=True, required=False)
    client_version = serializers.CharField(max_length=100, required=False, allow_blank=True)
    base_models = serializers.ListField(
        child=serializers.CharField(max_length=300), required=False, default=list, max_length=1000
    )
    offline = serializers.BooleanField(required=False, default=False, help_text=_("It downloads no base model."))
    protocol = BoundedIntegerField(min_value=1, required=False, default=1)


class WorkerSerializer(serializers.ModelSerializer[Worker]):
    """A worker as people see it; `state` and `current_job` come from the view's context."""

    state = serializers.SerializerMethodField()
    current_job = serializers.SerializerMethodField()

    class Meta:
        model = Worker
        fields = [
            "id",
            "name",
            "description",
            "state",
            "last_seen_at",
            "current_job",
            "hostname",
            "hardware",
            "versions",
            "base_models",
            "gpu_utilization",
            "gpu_memory_bytes",
            "draining",
        ]

    def get_state(self, worker: Worker) -> str:
        """online, busy, offline or disabled."""
        return worker.state(now=self.context["now"], is_busy=worker.pk in self.context["current_jobs"])

    def get_current_job(self, worker: Worker) -> dict[str, Any] | None:
        """{id, run, attempt} of the job that it holds."""
        job = self.context["current_jobs"].get(worker.pk)
        return {"id": job.pk, "run": job.run_id, "attempt": job.attempt} if job else None
