"""Runs, their jobs and attempts, and what workers report. Only `runs_app.services` writes a status."""

import uuid
from typing import Any

from django.conf import settings
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from datasets_app.models import Dataset, TaskType
from runs_app.choices import (
    AttemptOutcome,
    FailureReason,
    JobKind,
    NotificationChannel,
    NotificationEvent,
    Split,
    Status,
)
from runs_app.hyperparameters import HYPERPARAMETERS
from runs_app.querysets import BaseModelQuerySet, JobQuerySet, NotificationQuerySet, RunQuerySet
from workers_app.models import Worker

BUILTIN_TINY_BERT = "builtin/tiny-bert"

valid_model_id = RegexValidator(
    r"^[A-Za-z0-9][\w.\-]*(/[A-Za-z0-9][\w.\-]*)?\Z",
    _("Enter a model id such as organisation/name."),
    code="invalid_id",
)
valid_revision = RegexValidator(
    r"^[A-Za-z0-9][\w.\-]*\Z",
    _("Enter a commit of the hub, such as 94d69c95f98f, or the name of a branch."),
    code="invalid_revision",
)


class BaseModel(models.Model):
    """One entry of the catalogue: a pretrained model that a run may start from."""

    model_id = models.CharField(_("model id"), max_length=200, unique=True, validators=[valid_model_id])
    revision = models.CharField(
        _("revision"),
        max_length=64,
        blank=True,
        help_text=_("The commit whose weights every worker uses."),
        validators=[valid_revision],
    )
    label = models.CharField(_("short name"), max_length=100, blank=True)
    use = models.CharField(_("use"), max_length=300, blank=True)
    parameter_count = models.BigIntegerField(_("parameters"), null=True, blank=True, validators=[MinValueValidator(1)])
    size_bytes = models.BigIntegerField(
        _("download size (bytes)"), null=True, blank=True, validators=[MinValueValidator(1)]
    )
    max_length = models.PositiveIntegerField(
        _("maximum length (tokens)"), default=512, validators=[MinValueValidator(1)]
    )
    recommended = models.BooleanField(_("recommended"), default=False)
    enabled = models.BooleanField(_("enabled"), default=True)

    objects = BaseModelQuerySet.as_manager()

    class Meta:
        db_table = "bert_base_models"
        verbose_name = _("base model")
        verbose_name_plural = _("base models")
        ordering = ["-recommended", "id"]

    def __str__(self) -> str:
        return self.label or self.model_id


class Run(models.Model):
    """One experiment: inputs that are never edited, and what came of them."""

    name = models.CharField(_("name"), max_length=200)
    notes = models.TextField(_("notes"), blank=True)
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="runs", verbose_name=_("dataset"))
    dataset_sha256 = models.CharField(_("SHA-256 of the sheet"), max_length=64)
    task_type = models.CharField(_("task"), max_length=32, choices=TaskType.choices)
    base_model = models.CharField(_("base model"), max_length=200)
    base_model_revision = models.CharField(_("revision of the base model"), max_length=64, blank=True)
    seed = models.PositiveIntegerField(_("seed"), default=42)

    learning_rate = models.FloatField(_("learning rate"))
    batch_size = models.PositiveIntegerField(_("batch size"), validators=[MinValueValidator(1)])
    epochs = models.PositiveIntegerField(_("epochs"), validators=[MinValueValidator(1)])
    max_length = models.PositiveIntegerField(_("maximum length (tokens)"))
    train_split = models.FloatField(_("training share"))
    weight_decay = models.FloatField(_("weight decay"))
    warmup_ratio = models.FloatField(_("warm-up share"))
    lr_scheduler = models.CharField(_("learning-rate schedule"), max_length=32)
    early_stopping_patience = models.PositiveIntegerField(_("early-stopping patience"))
    metric_for_best = models.CharField(_("metric that chooses the best epoch"), max_length=32)
    class_weights = models.CharField(_("class weights"), max_length=16)
    long_text = models.CharField(_("long texts"), max_length=16)
    window_stride = models.PositiveIntegerField(_("window stride (tokens)"))
    precision = models.CharField(_("numeric precision"), max_length=8)
    gradient_checkpointing = models.BooleanField(_("gradient checkpointing"))
    save_every_minutes = models.FloatField(_("minutes between checkpoints"))
    label_smoothing = models.FloatField(_("label smoothing"))
    layer_lr_decay = models.FloatField(_("learning-rate decay by layer"))

    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.PENDING)
    metrics = models.JSONField(_("final metrics"), default=dict)
    f1 = models.FloatField("F1", null=True, editable=False)  # that of `metrics`: what lists sort by
    best_epoch = models.FloatField(_("best epoch"), null=True)
    failure_reason = models.CharField(_("failure reason"), max_length=32, choices=FailureReason.choices, blank=True)
    error = models.TextField(_("error"), blank=True)
    traceback = models.TextField(_("traceback"), blank=True)
    report = models.JSONField(_("report"), default=dict)
    environment = models.JSONField(_("environment"), default=dict)
    reproduced_from = models.ForeignKey(
        "self",
        null=True,
        on_delete=models.SET_NULL,
        related_name="reproductions",
        verbose_name=_("reproduced from"),
        db_index=False,
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        verbose_name=_("created by"),
        db_index=False,
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    started_at = models.DateTimeField(_("started at"), null=True)
    finished_at = models.DateTimeField(_("finished at"), null=True)
    archived_at = models.DateTimeField(_("archived at"), null=True)  # over, and left out of the lists

    objects = RunQuerySet.as_manager()

    class Meta:
        db_table = "bert_runs"
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        ordering = ["-id"]
        # A claim writes its run into each of them anew, but for those that hold only what is over, or was reproduced.
        indexes = [
            models.Index(fields=["status"], name="ix_bert_runs_status"),
            models.Index(
                fields=["reproduced_from"],
                name="ix_bert_runs_reproduced",
                condition=Q(reproduced_from__isnull=False),
            ),
            models.Index(
                fields=["status", "-finished_at"], name="ix_bert_runs_finished", condition=Q(finished_at__isnull=False)
            ),
            models.Index(
                fields=["base_model", "status", "-finished_at"],
                name="ix_bert_runs_of_base_model",
                condition=Q(finished_at__isnull=False),
            ),
            # All that a list filters, searches or sorts by: counting and sorting reads this and not the wide rows.
            models.Index(
                fields=[
                    *("archived_at", "status", "task_type", "base_model", "dataset", "created_at", "f1", "name", "id"),
                ],
                name="ix_bert_runs_listed",
            ),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=Status.values), name="ck_bert_runs_status"),
            models.CheckConstraint(
                condition=Q(batch_size__gte=1, epochs__gte=1, learning_rate__gt=0, max_length__gte=1),
                name="ck_bert_runs_positive",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """All of them by name, as the API and the worker know them."""
        return {name: getattr(self, name) for name in HYPERPARAMETERS}

    @property
    def model_path(self) -> str:
        """The folder of the trained model on its worker; empty before there is one."""
        return self.model.path if hasattr(self, "model") else ""


class TrainedModel(models.Model):
    """Where a run's weights lie. They never leave the worker."""

    run = models.OneToOneField(Run, on_delete=models.CASCADE, related_name="model", verbose_name=_("run"))
    worker = models.ForeignKey(
        Worker, null=True, on_delete=models.SET_NULL, related_name="models", verbose_name=_("worker")
    )
    path = models.CharField(_("folder"), max_length=1000)
    sha256 = models.CharField(_("SHA-256 of the weights"), max_length=64, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        db_table = "bert_trained_models"
        verbose_name = _("trained model")
        verbose_name_plural = _("trained models")
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.path


class Job(models.Model):
    """A run's place in the queue, and the lease of the worker that has it."""

    run = models.OneToOneField(Run, on_delete=models.CASCADE, related_name="job", verbose_name=_("run"))
    kind = models.CharField(_("kind"), max_length=16, choices=JobKind.choices, default=JobKind.TRAINING)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.PENDING)
    priority = models.SmallIntegerField(_("priority"), default=0, help_text=_("Higher comes first."))
    attempt = models.PositiveIntegerField(_("attempt"), default=0)  # the fencing number: grows with every claim
    loss_count = models.PositiveIntegerField(_("losses"), default=0)
    worker = models.ForeignKey(  # who holds it, or held it last
        Worker, null=True, on_delete=models.SET_NULL, related_name="jobs", verbose_name=_("worker"), db_index=False
    )
    lease_expires_at = models.DateTimeField(_("lease expires at"), null=True)
    cancel_requested_at = models.DateTimeField(_("cancel requested at"), null=True)
    pause_requested_at = models.DateTimeField(_("pause requested at"), null=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    queued_at = models.DateTimeField(_("queued at"))
    not_before = models.DateTimeField(_("not before"), null=True)  # back-off after reported failures
    # Until then only `worker` may claim it: the checkpoint of this step lies on its disk.
    reserved_until = models.DateTimeField(_("reserved until"), null=True)
    checkpoint_step = models.PositiveIntegerField(_("checkpoint at step"), null=True)

    phase = models.CharField(_("phase"), max_length=32, blank=True)
    epoch = models.FloatField(_("epoch"), null=True)
    step = models.PositiveIntegerField(_("step"), null=True)
    total_steps = models.PositiveIntegerField(_("steps in all"), null=True)
    eta_seconds = models.FloatField(_("remaining time (s)"), null=True)
    progress_message = models.CharField(_("message"), max_length=500, blank=True)
    progress_at = models.DateTimeField(_("progress at"), null=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        db_table = "bert_jobs"
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["status"], name="ix_bert_jobs_status"),
            models.Index(fields=["-priority", "id"], name="ix_bert_jobs_pending", condition=Q(status=Status.PENDING)),
            models.Index(
                fields=["worker"],
                name="ix_bert_jobs_held_before",
                condition=Q(status=Status.PENDING, worker__isnull=False),
            ),
            # Only who runs has a lease. Asked with the status, PostgreSQL may read all that run in the status's index.
            models.Index(
                fields=["lease_expires_at"], name="ix_bert_jobs_lease", condition=Q(lease_expires_at__isnull=False)
            ),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=Status.values), name="ck_bert_jobs_status"),
            models.CheckConstraint(
                condition=Q(status=Status.RUNNING, lease_expires_at__isnull=False)
                | ~Q(status=Status.RUNNING) & Q(lease_expires_at__isnull=True),
                name="ck_bert_jobs_running_has_lease",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} #{self.pk}"

    @property
    def progress(self) -> dict[str, Any]:
        """How far the current attempt is; the values are null before the first report."""
        names = ("phase", "epoch", "step", "total_steps", "eta_seconds")
        values = {name: getattr(self, name) for name in names}
        return {**values, "message": self.progress_message, "updated_at": self.progress_at}


class Attempt(models.Model):
    """One claim of a job, kept for ever: who, from when to when, how it ended."""

    job = models.ForeignKey(  # the unique (job, number) is its index
        Job, on_delete=models.CASCADE, related_name="attempts", verbose_name=_("job"), db_index=False
    )
    number = models.PositiveIntegerField(_("attempt"))
    worker = models.ForeignKey(
        Worker, null=True, on_delete=models.SET_NULL, related_name="attempts", verbose_name=_("worker")
    )
    claim_id = models.UUIDField()
    started_at = models.DateTimeField(_("started at"))
    ended_at = models.DateTimeField(_("ended at"), null=True)
    outcome = models.CharField(_("outcome"), max_length=16, choices=AttemptOutcome.choices, blank=True)
    reason = models.CharField(_("reason"), max_length=32, blank=True)
    status_after = models.CharField(max_length=16, blank=True)  # what a repeat of the ending call is answered
    counts = models.JSONField(_("sent by the worker"), default=dict)  # what the server must have: see telemetry.Gaps

    class Meta:
        db_table = "bert_attempts"
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ["job", "number"]
        constraints = [
            models.UniqueConstraint(fields=["job", "number"], name="uq_bert_attempts_number"),
            # Numbers begin at 1. The second condition keeps PostgreSQL from reading all live attempts in this index,
            # which it does while it believes them to be few, to find those of one worker.
            models.UniqueConstraint(
                fields=["job"], condition=Q(ended_at=None, number__gt=0), name="uq_bert_attempts_live_per_job"
            ),
            models.UniqueConstraint(
                fields=["worker"], condition=Q(ended_at=None), name="uq_bert_attempts_live_per_worker"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job_id}/{self.number}"


class JobEvent(models.Model):
    """Append-only: every transition and every request, written in the transaction that makes it true."""

    job = models.ForeignKey(  # the unique (job, attempt, seq) is its index
        Job, on_delete=models.CASCADE, related_name="events", verbose_name=_("job"), db_index=False
    )
    at = models.DateTimeField(_("at"))
    actor = models.CharField(_("by"), max_length=150)  # "user:ana", "worker:gpu-1" or "server"
    from_status = models.CharField(_("from"), max_length=16, blank=True)
    to_status = models.CharField(_("to"), max_length=16)
    attempt = models.PositiveIntegerField(_("attempt"))
    reason = models.CharField(_("reason"), max_length=64, blank=True)
    seq = models.PositiveIntegerField(_("number"), null=True)  # of what a worker tells; null for the server's own
    details = models.JSONField(_("details"), default=dict)

    class Meta:
        db_table = "bert_job_events"
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["job", "attempt", "seq"], name="uq_bert_job_events_seq")]

    def __str__(self) -> str:
        return f"{self.from_status} -> {self.to_status}"


class EpochMetric(models.Model):
    """The figures of one (split, step) of a run; a repeat changes nothing."""

    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="epoch_metrics", verbose_name=_("run"), db_index=False
    )
    attempt = models.PositiveIntegerField(_("attempt"))
    epoch = models.FloatField(_("epoch"))
    step = models.PositiveIntegerField(_("step"))
    split = models.CharField(_("part"), max_length=16, choices=Split.choices)
    values = models.JSONField(_("values"), default=dict)  # {name: number, or null where it was not finite}
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        db_table = "bert_metrics"
        verbose_name = _("metric")
        verbose_name_plural = _("metrics")
        ordering = ["step", "id"]
        indexes = [
            models.Index(fields=["run"], name="ix_bert_metrics_run_id"),
            models.Index(fields=["run", "id"], name="ix_bert_metrics_as_they_came"),
        ]
        constraints = [models.UniqueConstraint(fields=["run", "split", "step"], name="uq_bert_metrics_point")]

    def __str__(self) -> str:
        return f"{self.split} @ {self.step}"


class GpuSample(models.Model):
    """What a heartbeat told of the GPU while it held a job."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="gpu_samples", verbose_name=_("job"))
    at = models.DateTimeField(_("at"))
    utilization = models.FloatField(_("GPU use"), null=True)
    memory_bytes = models.BigIntegerField(_("GPU memory in use"), null=True)

    class Meta:
        db_table = "bert_gpu_samples"
        verbose_name = _("GPU sample")
        verbose_name_plural = _("GPU samples")
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.at:%H:%M:%S} {self.utilization} %"


class LogEntry(models.Model):
    """One line that a worker wrote about an attempt."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="logs", verbose_name=_("job"), db_index=False)
    attempt = models.PositiveIntegerField(_("attempt"))
    seq = models.PositiveIntegerField(_("number"))
    timestamp = models.DateTimeField(_("time"))  # by the worker's clock: shown, never decided upon
    level = models.CharField(_("level"), max_length=16)
    message = models.TextField(_("message"))

    class Meta:
        db_table = "bert_logs"
        verbose_name = _("log line")
        verbose_name_plural = _("log lines")
        ordering = ["id"]
        indexes = [
            models.Index(fields=["timestamp"], name="ix_bert_logs_timestamp"),
            models.Index(fields=["job", "id"], name="ix_bert_logs_as_they_came"),  # a stream's next lines
        ]
        constraints = [models.UniqueConstraint(fields=["job", "attempt", "seq"], name="uq_bert_logs_seq")]

    def __str__(self) -> str:
        return self.message


class Notification(models.Model):
    """One message of the outbox: written in the transaction of what it tells, sent after it (services.delivery)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)  # the event's, the same at each attempt
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="notifications", verbose_name=_("run"))
    event = models.CharField(_("event"), max_length=32, choices=NotificationEvent.choices)
    channel = models.CharField(_("channel"), max_length=16, choices=NotificationChannel.choices)
    payload = models.JSONField(_("content"))
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    due_at = models.DateTimeField(_("due at"))
    delivered_at = models.DateTimeField(_("delivered at"), null=True)
    given_up_at = models.DateTimeField(_("given up at"), null=True)
    error = models.CharField(_("last error"), max_length=200, blank=True)

    objects = NotificationQuerySet.as_manager()

    class Meta:
        db_table = "bert_notifications"
        default_permissions = ()
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        indexes = [
            models.Index(
                fields=["due_at"],
                name="ix_bert_notifications_due",
                condition=Q(delivered_at__isnull=True, given_up_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} ({self.channel})"
