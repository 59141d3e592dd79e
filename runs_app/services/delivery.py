"""Sends what is in the outbox: each message a bounded number of times, with growing pauses, by whoever comes first."""

import logging
from datetime import datetime, timedelta
from threading import Lock, Thread
from time import monotonic
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import DatabaseError, connections
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import override

from config.fields import storable
from runs_app.choices import NotificationChannel
from runs_app.models import Notification
from runs_app.services.notifications import channels
from runs_app.services.webhook import post

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 8
FIRST_PAUSE = timedelta(minutes=1)  # doubles with each attempt: the last one comes after about two hours
MAX_ERROR_CHARS = 200

_at_work = Lock()


class NobodyToTell(Exception):
    """The message has no receiver, and will have none later."""


def deliver_soon() -> None:
    """Send what is due in a thread of its own, one per process: no answer waits for a slow receiver."""
    if not _at_work.acquire(blocking=False):
        return
    try:
        Thread(target=_deliver_and_let_go, name="notifications", daemon=True).start()
    except RuntimeError:  # no thread to be had: what is due stays due
        _at_work.release()
        logger.exception("notifications could not be delivered")


def wait_for_delivery() -> None:
    """Until the thread is done, for a command that would end before it."""
    with _at_work:
        pass


def look_for_due(now: datetime) -> None:
    """The same where something is due. Asks the database nothing while notifications are off."""
    if channels() and Notification.objects.due(now).exists():
        deliver_soon()


def _deliver_and_let_go() -> None:
    try:
        deliver_due(now=timezone.now())
    except Exception:  # the thread has nobody above it; what is due stays due
        logger.exception("notifications could not be delivered")
    finally:
        connections.close_all()
        _at_work.release()


def deliver_due(*, now: datetime) -> int:
    """Send every message that is due, each once; returns how many arrived."""
    due = Notification.objects.due(now).filter(channel__in=channels()).order_by("due_at")
    began, arrived = monotonic(), 0
    for pk in list(due.values_list("pk", flat=True)):
        try:
            # A slow receiver takes long: the pause of the next message begins when that is sent.
            arrived += _deliver(pk, now + timedelta(seconds=monotonic() - began))
        except DatabaseError:
            logger.exception("notification %s", pk)
    return arrived


def _deliver(pk: Any, now: datetime) -> bool:
    message = _taken(pk, now)
    if message is None:
        return False
    mine = Notification.objects.filter(pk=pk)
    try:
        SENDERS[NotificationChannel(message.channel)](message)
    except NobodyToTell as reason:
        mine.update(given_up_at=now, error=str(reason)[:MAX_ERROR_CHARS])
        return False
    except Exception as error:  # a library may raise anything; the message is tried again
        logger.warning("notification %s, attempt %d: %s", pk, message.attempts, error)
        is_last = message.attempts >= MAX_ATTEMPTS
        mine.update(given_up_at=now if is_last else None, error=storable(str(error))[:MAX_ERROR_CHARS])
        return False
    mine.update(delivered_at=now, error="")
    return True


def _taken(pk: Any, now: datetime) -> Notification | None:
    """The message for this process alone: counted before it is sent, so that a crash in between counts as well."""
    message = Notification.objects.due(now).select_related("run__created_by").filter(pk=pk).first()
    if message is None:
        return None
    pause = FIRST_PAUSE * 2**message.attempts
    mine = Notification.objects.due(now).filter(pk=pk, attempts=message.attempts)
    if not mine.update(attempts=message.attempts + 1, due_at=now + pause):
        return None
    message.attempts += 1
    return message


def _send_email(message: Notification) -> None:
    author = message.run.created_by
    if author is None or not author.is_active or not author.email:
        raise NobodyToTell("the author has no e-mail address")
    with override(settings.LANGUAGE_CODE):
        greeting = _("This message was sent by the training server because you queued the run.")
    told = message.payload
    parts = [told["text"], told["run"]["url"], greeting]
    subject = f"[BERT Training] {told['text']}"
    EmailMessage(subject, "\n\n".join(part for part in parts if part), to=[author.email]).send()


def _send_webhook(message: Notification) -> None:
    post(str(message.pk), {"id": str(message.pk), **message.payload}, now=timezone.now())


SENDERS = {NotificationChannel.EMAIL: _send_email, NotificationChannel.WEBHOOK: _send_webhook}
