"""Is the process alive, and can it do its work? No token needed; nothing secret said."""

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from config.outages import RETRY_AFTER_S


def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """Database reachable, migrations applied, storage writable; 503 names what is not."""
    checks = {"database": _database, "migrations": _migrations, "storage": _storage}
    results = {name: _outcome(check) for name, check in checks.items()}
    ready = all(result == "ok" for result in results.values())
    if ready:
        return JsonResponse({"status": "ok", "checks": results})
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return JsonResponse({"status": "unavailable", "checks": results}, status=503, headers=headers)


def _outcome(check: object) -> str:
    try:
        return check() or "ok"  # type: ignore[operator]
    except Exception as error:
        # Whatever keeps a part from working is what this page is asked for; the class name says enough to a stranger.
        return f"failed: {type(error).__name__}"


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _migrations() -> str | None:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return f"{len(missing)} not applied: run `python manage.py migrate`" if missing else None


def _storage() -> None:
    name = default_storage.save("readyz/probe", ContentFile(b"ok"))
    default_storage.delete(name)
