"""What keeps the server from its work for a while, and how a client is told: come again later, nothing was changed."""

import errno
from dataclasses import dataclass

from django.db import InterfaceError, OperationalError
from django.utils.translation import gettext as _

RETRY_AFTER_S = 5
FULL_RETRY_AFTER_S = 60  # somebody must make room first
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Outage:
    """One answer: status code, `code` and `detail` of the body, seconds for Retry-After."""

    status: int
    code: str
    detail: str
    retry_after_s: int

    @property
    def headers(self) -> dict[str, str]:
        """For the answer."""
        return {"Retry-After": str(self.retry_after_s)}


def outage_of(error: BaseException) -> Outage | None:
    """The outage that an exception means; None for one that is a mistake of ours or of the client."""
    if isinstance(error, OperationalError | InterfaceError):
        return _database_full() if _says_full(error) else _database_away()
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        detail = _("The server's disk is full; nothing was stored. Tell its administrator, and try again later.")
        return Outage(507, "insufficient_storage", detail, FULL_RETRY_AFTER_S)
    return None


def _says_full(error: Exception) -> bool:
    # SQLite's words, and the class of psycopg's error for PostgreSQL's 53100.
    return "disk is full" in str(error) or type(error.__cause__).__name__ == "DiskFull"


def _database_full() -> Outage:
    detail = _("The disk of the server's database is full; nothing was stored. Tell its administrator.")
    return Outage(503, "unavailable", detail, FULL_RETRY_AFTER_S)


def _database_away() -> Outage:
    detail = _("The database cannot be reached at the moment. Try again in a few seconds.")
    return Outage(503, "unavailable", detail, RETRY_AFTER_S)
