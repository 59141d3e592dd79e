"""System checks: a misconfiguration is said by `manage.py check`, before the first request."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

POSITIVE = (
    "JOB_LEASE_SECONDS",
    "JOB_HEARTBEAT_SECONDS",
    "JOB_UPLOAD_SECONDS",
    "JOB_POLL_SECONDS",
    "JOB_MAX_ATTEMPTS",
    "WORKER_OFFLINE_SECONDS",
    "MAX_UPLOAD_MB",
    "MAX_DATASET_ROWS",
)


@register()
def check_limits(**kwargs: Any) -> list[CheckMessage]:
    """Any positive interval or limit works, but a lease under three heartbeats is easily lost."""
    errors: list[CheckMessage] = [
        Error(f"{name} must be positive.", hint=f"Set {name} to a number above zero.", id="bert.E001")
        for name in POSITIVE
        if getattr(settings, name) <= 0
    ]
    if settings.JOB_LEASE_SECONDS < 3 * settings.JOB_HEARTBEAT_SECONDS:
        errors.append(
            Warning(
                "JOB_LEASE_SECONDS is under three times JOB_HEARTBEAT_SECONDS: two late heartbeats lose a job.",
                hint="Raise JOB_LEASE_SECONDS or lower JOB_HEARTBEAT_SECONDS.",
                id="bert.W001",
            )
        )
    return errors
