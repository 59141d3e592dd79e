"""Runs, jobs and what workers report, on the wire."""

from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from config.fields import BoundedIntegerField, FiniteFloatField, LogTextField, StorableJSONField
from datasets_app.models import Dataset
from runs_app.choices import FailureReason, ReleaseReason, Split
from runs_app.hyperparameters import HYPERPARAMETERS
from runs_app.models import EpochMetric, Job, LogEntry, Run
from runs_app.services.runs import DEFAULT_SEED, MAX_NAME_CHARS, MAX_PRIORITY

MAX_LINES = 1000
MAX_POINTS = 5000
MAX_EVENTS = 100
MAX_EVENTS_OF_ATTEMPT = 10_000
MAX_MESSAGE_CHARS = 10_000
EARLIEST, LATEST = datetime(1971, 1, 1, tzinfo=UTC), datetime(9990, 1, 1, tzinfo=UTC)

# People


class JobSerializer(serializers.ModelSerializer[Job]):
    """The place of a run in the queue."""

    worker = serializers.CharField(source="worker.name", default=None)
    progress = serializers.JSONField(read_only=True)

    class Meta:
        model = Job
        fields = ["id", "status", "attempt", "worker", "priority", "loss_count", "progress"]


class RunSerializer(serializers.ModelSerializer[Run]):
    """One run, whole."""

    job = JobSerializer(read_only=True)
    hyperparameters = serializers.JSONField(read_only=True)
    model_path = serializers.CharField(read_only=True)
    created_by = serializers.CharField(source="created_by.username", default=None)

    class Meta:
        model = Run
        fields = [
            "id",
            "name",
            "status",
            "task_type",
            "dataset",
            "dataset_sha256",
            "base_model",
            "base_model_revision",
            "seed",
            "hyperparameters",
            "job",
            "metrics",
            "best_epoch",
            "failure_reason",
            "error",
            "traceback",
            "model_path",
            "report",
            "environment",
            "notes",
            "reproduced_from",
            "created_by",
            "created_at",
            "started_at",
            "finished_at",
        ]


class NewRunSerializer(serializers.Serializer[Any]):
    """What a person asks for; hyperparameters not named take their defaults."""

    # The field for the key refuses what the database cannot look up, such as 1e999.
    dataset = serializers.PrimaryKeyRelatedField(queryset=Dataset.objects.all(), pk_field=BoundedIntegerField())
    name = serializers.CharField(max_length=MAX_NAME_CHARS, required=False, allow_blank=True, default="")
    base_model = serializers.CharField(max_length=200)
    seed = BoundedIntegerField(required=False, default=DEFAULT_SEED)
    hyperparameters = serializers.DictField(
        child=serializers.JSONField(),
        required=False,
        default=dict,
        help_text=_("Known: %(names)s.") % {"names": ", ".join(HYPERPARAMETERS)},
    )
    priority = BoundedIntegerField(required=False, default=0, min_value=-MAX_PRIORITY, max_value=MAX_PRIORITY)
    notes = serializers.CharField(max_length=10_000, required=False, allow_blank=True, default="")


class ReproduceSerializer(serializers.Serializer[Any]):
    """An optional name for the new run."""

    name = serializers.CharField(max_length=MAX_NAME_CHARS, required=False, allow_blank=True, default="")


class MetricSerializer(serializers.ModelSerializer[EpochMetric]):
    """The figures of one (split, step)."""

    class Meta:
        model = EpochMetric
        fields = ["epoch", "step", "split", "values", "created_at"]


class LogSerializer(serializers.ModelSerializer[LogEntry]):
    """One log line."""

    class Meta:
        model = LogEntry
        fields = ["id", "timestamp", "level", "message", "attempt"]


# Workers


class AttemptSerializer(serializers.Serializer[Any]):
    """Every worker write carries the fencing number."""

    attempt = BoundedIntegerField(min_value=1)


class JobAttemptSerializer(AttemptSerializer):
    """As above, where the job is not in the address."""

    job = BoundedIntegerField(min_value=1)


class HeartbeatSerializer(serializers.Serializer[Any]):
    """I am alive; with `job` and `attempt`, also: renew my lease."""

    job = BoundedIntegerField(min_value=1, required=False, allow_null=True)
    attempt = BoundedIntegerField(min_value=1, required=False, allow_null=True)
    state = serializers.ChoiceField(choices=["idle", "busy"], required=False)
    gpu_utilization = FiniteFloatField(min_value=0, max_value=100, required=False, allow_null=True)
    gpu_memory_bytes = BoundedIntegerField(max_value=2**63 - 1, required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A job needs its attempt: a heartbeat without the fence renews nothing."""
        if (attrs.get("job") is None) != (attrs.get("attempt") is None):
            raise serializers.ValidationError({"attempt": [_("Send job and attempt together, or neither.")]})
        return attrs


class ClaimSerializer(serializers.Serializer[Any]):
    """`claim_id` makes the claim repeatable."""

    claim_id = serializers.UUIDField()
    wait_seconds = FiniteFloatField(min_value=0, max_value=30, required=False, default=0)


class ProgressSerializer(AttemptSerializer):
    """How far the attempt is."""

    epoch = FiniteFloatField(min_value=0, required=False, allow_null=True)
    step = BoundedIntegerField(required=False, allow_null=True)
    total_steps = BoundedIntegerField(required=False, allow_null=True)
    phase = serializers.CharField(max_length=32)
    eta_seconds = FiniteFloatField(min_value=0, required=False, allow_null=True)
    message = LogTextField(max_length=500, required=False, allow_blank=True, allow_null=True)
    checkpoint_step = BoundedIntegerField(
        required=False, allow_null=True, help_text=_("Step of the newest checkpoint on the worker's disk.")
    )


class PointSerializer(serializers.Serializer[Any]):
    """The figures of one (split, step)."""

    epoch = FiniteFloatField(min_value=0)
    step = BoundedIntegerField()
    split = serializers.ChoiceField(choices=Split.choices)
    values = serializers.DictField(child=FiniteFloatField(allow_null=True), allow_empty=False)

    def validate_values(self, values: dict[str, float | None]) -> dict[str, float | None]:
        """Few and shortly named."""
        if len(values) > 100 or any(not name.isascii() or len(name) > 100 or "\x00" in name for name in values):
            raise serializers.ValidationError(_("At most 100 figures, with ASCII names of at most 100 characters."))
        return values


class MetricsSerializer(JobAttemptSerializer):
    """A batch of figures."""

    metrics = PointSerializer(many=True, max_length=MAX_POINTS)  # type: ignore[call-arg]  # becomes a ListSerializer


class LineSerializer(serializers.Serializer[Any]):
    """One log line; `level` is one of logging's, in any case."""

    seq = BoundedIntegerField(min_value=1)
    timestamp = serializers.DateTimeField()
    level = serializers.CharField(max_length=16)
    message = LogTextField(max_length=MAX_MESSAGE_CHARS, allow_blank=True, trim_whitespace=False)

    def validate_level(self, level: str) -> str:
        """In upper case, as logging writes it."""
        return level.upper()

    def validate_timestamp(self, timestamp: datetime) -> datetime:
        """Within what both databases can hold in UTC."""
        if not EARLIEST <= timestamp <= LATEST:
            raise serializers.ValidationError(_("This time is out of range."))
        return timestamp


class LogsSerializer(JobAttemptSerializer):
    """A batch of log lines."""

    lines = LineSerializer(many=True, max_length=MAX_LINES)  # type: ignore[call-arg]  # as above


class EventSerializer(serializers.Serializer[Any]):
    """Something that the worker did by itself, such as halving its batch."""

    seq = BoundedIntegerField(min_value=1, max_value=MAX_EVENTS_OF_ATTEMPT)
    timestamp = serializers.DateTimeField()
    kind = serializers.RegexField(r"^[a-z_]{1,32}\Z")
    details = StorableJSONField(required=False, default=dict, max_bytes=2_000)

    def validate_details(self, details: dict[str, Any]) -> dict[str, Any]:
        """Numbers and short texts by name."""
        if not all(isinstance(value, int | float | str) for value in details.values()):
            raise serializers.ValidationError(_("Numbers and texts only."))
        return details


class EventsSerializer(AttemptSerializer):
    """A batch of events."""

    events = EventSerializer(many=True, max_length=MAX_EVENTS)  # type: ignore[call-arg]  # as above


class CountsSerializer(serializers.Serializer[Any]):
    """What the worker sent of this attempt: the server then knows whether something is missing."""

    log_lines = BoundedIntegerField(required=False)
    left_out = BoundedIntegerField(required=False, help_text=_("Lines that the worker dropped: its disk was full."))
    metric_points = BoundedIntegerField(required=False)
    events = BoundedIntegerField(required=False)


class CompleteSerializer(AttemptSerializer):
    """The result of a finished training."""

    metrics = StorableJSONField()
    best_epoch = FiniteFloatField(min_value=0, required=False, allow_null=True, default=None)
    model_path = LogTextField(max_length=1000)
    model_sha256 = serializers.RegexField(r"^[0-9a-f]{64}\Z", required=False, allow_blank=True, default="")
    report = StorableJSONField(required=False, default=dict, max_bytes=4_000_000)
    environment = StorableJSONField(required=False, default=dict)
    counts = CountsSerializer(required=False, default=dict)
    may_resend = serializers.BooleanField(
        required=False, default=False, help_text=_("409 telemetry_missing is understood, should counts not be met.")
    )


class FailSerializer(AttemptSerializer):
    """Why an attempt ended without a model."""

    reason = serializers.ChoiceField(choices=FailureReason.choices)
    message = LogTextField(max_length=MAX_MESSAGE_CHARS, allow_blank=True)
    traceback = LogTextField(max_length=100_000, required=False, allow_blank=True, allow_null=True, default="")
    retryable = serializers.BooleanField(required=False, default=True)
    counts = CountsSerializer(required=False, default=dict)


class ReleaseSerializer(AttemptSerializer):
    """Why a worker gives a job back."""

    reason = serializers.ChoiceField(choices=ReleaseReason.choices)
    counts = CountsSerializer(required=False, default=dict)
