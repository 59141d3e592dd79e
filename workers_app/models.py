"""Workers and the API tokens of people: everyone who calls with a bearer token."""

from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from workers_app.querysets import ApiTokenQuerySet, WorkerQuerySet

valid_name = RegexValidator(
    r"^[\w.\- ]+\Z", _("Use letters, digits, spaces, dots, hyphens and underscores."), code="invalid_name"
)


class Worker(models.Model):
    """A program on a PC with a GPU that fetches jobs. Its state is derived from when it was last heard of."""

    name = models.CharField(_("name"), max_length=100, unique=True, validators=[valid_name])
    description = models.CharField(_("description"), max_length=300, blank=True)
    token_prefix = models.CharField(_("token"), max_length=16, editable=False)
    token_sha256 = models.CharField(max_length=64, unique=True, editable=False)
    enabled = models.BooleanField(_("enabled"), default=True)
    draining = models.BooleanField(
        _("draining"), default=False, help_text=_("It finishes its current job and takes no other.")
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    last_seen_at = models.DateTimeField(_("last seen at"), null=True, blank=True, editable=False)
    hostname = models.CharField(_("host name"), max_length=255, blank=True, editable=False)
    # {platform, cuda, gpus: [{name, memory_bytes}]} and {python, torch, transformers, client_version}
    hardware = models.JSONField(_("hardware"), default=dict, editable=False)
    versions = models.JSONField(_("versions"), default=dict, editable=False)
    base_models = models.JSONField(_("base models"), default=list, editable=False)
    may_download = models.BooleanField(_("downloads base models"), default=True, editable=False)
    gpu_utilization = models.FloatField(_("GPU use (%)"), null=True, editable=False)
    gpu_memory_bytes = models.BigIntegerField(_("GPU memory in use (bytes)"), null=True, editable=False)

    objects = WorkerQuerySet.as_manager()

    class Meta:
        db_table = "bert_workers"
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def is_online(self, now: datetime) -> bool:
        """The same rule as `WorkerQuerySet.online`, for a row at hand."""
        limit = timedelta(seconds=settings.WORKER_OFFLINE_SECONDS)
        return self.enabled and self.last_seen_at is not None and now - self.last_seen_at <= limit

    def state(self, *, now: datetime, is_busy: bool) -> str:
        """`disabled`, `offline`, `busy` (holds a live job) or `online`."""
        if not self.enabled:
            return "disabled"
        if not self.is_online(now):
            return "offline"
        return "busy" if is_busy else "online"


class WorkerUser(AnonymousUser):
    """What `request.user` is when a worker calls: known, but nobody, and without any permission of a person."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self.worker = worker
        self.pk = f"worker-{worker.pk}"  # type: ignore[assignment]  # worker 7 and user 7 must not share a throttle

    @property
    def is_authenticated(self) -> bool:  # type: ignore[override]
        """A valid token was shown: what is missing from here on is permission (403), not identity (401)."""
        return True

    @property
    def is_anonymous(self) -> bool:  # type: ignore[override]
        """See `is_authenticated`."""
        return False

    def __str__(self) -> str:
        return f"worker {self.worker.name}"


class ApiToken(models.Model):
    """A person's token for the API: it may do what the person may do."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens", verbose_name=_("user")
    )
    token_prefix = models.CharField(_("token"), max_length=16, editable=False)
    token_sha256 = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    last_used_at = models.DateTimeField(_("last used at"), null=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, editable=False)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        db_table = "bert_api_tokens"
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.token_prefix}…"
