"""The words of the state machine (CONTRACT section 4), with the groups that code asks for by name."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Status(models.TextChoices):
    """Status of a job and of its run; both change in the same transaction."""

    PENDING = "pending", _("Queued")
    PAUSED = "paused", _("Paused")
    RUNNING = "running", _("Running")
    COMPLETED = "completed", _("Completed")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


WAITING = (Status.PENDING, Status.PAUSED)
ACTIVE = (Status.PENDING, Status.PAUSED, Status.RUNNING)
TERMINAL = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


class JobKind(models.TextChoices):
    """What a job asks of a worker."""

    TRAINING = "training", _("Training")


class FailureReason(models.TextChoices):
    """Why a job ended without a model."""

    INVALID_DATA = "invalid_data", _("Invalid data")
    OUT_OF_MEMORY = "out_of_memory", _("Not enough memory")
    BASE_MODEL_UNAVAILABLE = "base_model_unavailable", _("Base model unavailable")
    DATASET_MISMATCH = "dataset_mismatch", _("The sheet arrived changed")
    DISK_FULL = "disk_full", _("The worker's disk is full")
    NAN_LOSS = "nan_loss", _("The loss became not a number")
    KILLED = "killed", _("The training process was killed")
    WORKER_LOST = "worker_lost", _("The worker stopped answering")
    INTERNAL_ERROR = "internal_error", _("Unexpected error")


# Worth another try, perhaps on another worker; the others would end the same way again.
RETRIED_REASONS = (
    FailureReason.WORKER_LOST,
    FailureReason.KILLED,
    FailureReason.DISK_FULL,
    FailureReason.BASE_MODEL_UNAVAILABLE,
)
# Of these, what another machine may have where this one lacks it.
MACHINE_REASONS = (FailureReason.DISK_FULL, FailureReason.BASE_MODEL_UNAVAILABLE)


class ReleaseReason(models.TextChoices):
    """Why a worker gave a job back."""

    CANCELLED = "cancelled", _("Cancelled")
    PAUSED = "paused", _("Paused")
    SHUTDOWN = "shutdown", _("The worker was shut down")
    CRASHED = "crashed", _("The worker crashed")


class AttemptOutcome(models.TextChoices):
    """How one claim of a job ended."""

    COMPLETED = "completed", _("Completed")
    FAILED = "failed", _("Failed")
    RELEASED = "released", _("Released")
    LOST = "lost", _("Lost")


class NotificationEvent(models.TextChoices):
    """What of a run is told outside."""

    COMPLETED = "run.completed", _("Completed")
    FAILED = "run.failed", _("Failed")
    WORKER_LOST = "run.worker_lost", _("The worker stopped answering")


class NotificationChannel(models.TextChoices):
    """How it is told."""

    EMAIL = "email", _("E-mail")
    WEBHOOK = "webhook", _("Webhook")


class Split(models.TextChoices):
    """The part of the sheet that a figure was measured on."""

    TRAIN = "train", _("Training")
    VALIDATION = "validation", _("Validation")
    TEST = "test", _("Test")
