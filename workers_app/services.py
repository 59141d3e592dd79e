"""Registering, disabling and hearing of workers; issuing and revoking tokens."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.utils import timezone

from workers_app.models import ApiToken, Worker
from workers_app.tokens import API_TOKEN_PREFIX, WORKER_TOKEN_PREFIX, new_token, shown_prefix, token_sha256

LAST_USED_PRECISION = timedelta(minutes=1)


def register_worker(*, name: str, description: str = "") -> tuple[Worker, str]:
    """Create a worker; returns it and its token, which is not kept and cannot be shown again.

    Raises ValidationError when the name is taken or not allowed.
    """
    token = new_token(WORKER_TOKEN_PREFIX)
    worker = Worker(
        name=name.strip(), description=description, token_prefix=shown_prefix(token), token_sha256=token_sha256(token)
    )
    worker.full_clean(exclude=["token_prefix", "token_sha256", "hardware", "versions", "base_models"])
    try:
        with transaction.atomic():
            worker.save(force_insert=True)
    except IntegrityError:  # the name was taken a moment ago
        worker.validate_unique()
        raise
    return worker, token


def rotate_token(*, worker: Worker) -> str:
    """Replace the worker's token; the old one is refused from now on. Returns the new one, shown once."""
    token = new_token(WORKER_TOKEN_PREFIX)
    worker.token_prefix, worker.token_sha256 = shown_prefix(token), token_sha256(token)
    worker.save(update_fields=["token_prefix", "token_sha256"])
    return token


def set_enabled(*, worker: Worker, enabled: bool) -> None:
    """Let a worker in or keep it out: a disabled one gets 401 on its next call."""
    worker.enabled = enabled
    worker.save(update_fields=["enabled"])


def set_draining(*, worker: Worker, draining: bool) -> None:
    """Let a worker finish its run and take no other, or take runs again; it is told with its next call."""
    worker.draining = draining
    worker.save(update_fields=["draining"])


def record_machine(*, worker: Worker, facts: dict[str, Any], now: datetime) -> None:
    """Keep what the worker says of its machine at registration. `facts` is validated by the serializer."""
    worker.hostname = facts.get("hostname", "")
    worker.hardware = {key: facts.get(key) for key in ("platform", "cuda", "gpus") if facts.get(key) is not None}
    versions = ("python", "torch", "transformers", "client_version")
    worker.versions = {key: facts[key] for key in versions if facts.get(key)}
    worker.base_models = facts.get("base_models", [])
    worker.may_download = not facts.get("offline", False)
    worker.last_seen_at = now
    worker.save(update_fields=["hostname", "hardware", "versions", "base_models", "may_download", "last_seen_at"])


def touch(*, worker: Worker, now: datetime, **gpu: float | int | None) -> None:
    """The worker called: it is online. `gpu` may hold gpu_utilization (%) and gpu_memory_bytes.

    Without them, what was written a moment ago is not written again: an idle worker asks for a job each second.
    """
    given = {name: value for name, value in gpu.items() if value is not None}
    moment = timedelta(seconds=settings.WORKER_OFFLINE_SECONDS / 20)
    if not given and worker.last_seen_at is not None and timedelta() <= now - worker.last_seen_at < moment:
        return
    Worker.objects.filter(pk=worker.pk).update(last_seen_at=now, **given)


def create_api_token(*, user: AbstractBaseUser) -> tuple[ApiToken, str]:
    """Issue a token for a person; returns the row and the token, which cannot be shown again."""
    token = new_token(API_TOKEN_PREFIX)
    row = ApiToken.objects.create(user_id=user.pk, token_prefix=shown_prefix(token), token_sha256=token_sha256(token))
    return row, token


def revoke_api_tokens(*, prefix: str) -> int:
    """Revoke every valid token that starts with `prefix`; returns how many there were.

    Of a longer one only as many characters are compared as are kept; they are random enough for one token.
    """
    if not prefix:
        return 0
    meant = ApiToken.objects.filter(token_prefix__startswith=shown_prefix(prefix), revoked_at=None)
    return meant.update(revoked_at=timezone.now())


def revoke_api_token(*, token: ApiToken) -> bool:
    """Revoke this one token, whatever its prefix; False when it had been revoked before."""
    return bool(ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()))


def note_token_use(*, token: ApiToken, now: datetime) -> None:
    """Remember when a token was used, at most once a minute: a write per request would serve nobody."""
    if token.last_used_at is None or now - token.last_used_at > LAST_USED_PRECISION:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
