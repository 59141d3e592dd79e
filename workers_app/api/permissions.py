"""Who may: people by Django's model permissions, for reading too; workers on the worker routes only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import AbstractBaseUser
from rest_framework.permissions import BasePermission

from workers_app.models import Worker, WorkerUser

if TYPE_CHECKING:  # DRF imports this module, named in its settings, while `rest_framework.views` is half read
    from rest_framework.request import Request
    from rest_framework.views import APIView


def is_worker(request: Request) -> bool:
    """Whether a worker's token was shown."""
    return isinstance(request.user, WorkerUser)


def worker_of(request: Request) -> Worker:
    """The worker that calls. Only for views that let nobody else in."""
    assert isinstance(request.user, WorkerUser)
    return request.user.worker


def person_of(request: Request) -> AbstractBaseUser:
    """The person who calls. Only for views that let nobody else in."""
    assert isinstance(request.user, AbstractBaseUser)
    return request.user


class PersonWithPermission(BasePermission):
    """A person who holds the permissions that the view names per method.

    `required_permissions = {"GET": ["runs_app.view_run"]}`; a view that names none is open to every person.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        """False is a 401 without a token and a 403 with one."""
        if not request.user or not request.user.is_authenticated or is_worker(request):
            return False
        needed: dict[str, list[str]] = getattr(view, "required_permissions", {})
        method = "GET" if request.method in ("HEAD", "OPTIONS") else request.method
        return request.user.has_perms(needed.get(method or "", []))


class IsWorker(BasePermission):
    """A worker, whatever it is about to do."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """See the class."""
        return is_worker(request)


class PersonOrWorker(PersonWithPermission):
    """Either kind; the view tells them apart."""

    def has_permission(self, request: Request, view: APIView) -> Any:
        """See the class."""
        return is_worker(request) or super().has_permission(request, view)
