"""Connections whose answers have a deadline: a read timeout alone starts anew with every byte that trickles in."""

import socket
import threading
from contextlib import suppress
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class Deadline:
    """Cuts the connection when an answer is not there in time. For the calls of one client, one after the other."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer: threading.Timer | None = None

    def begin(self, connection: socket.socket) -> None:
        """The request is sent; from now on the answer must come."""
        self.end()
        self._timer = threading.Timer(self._seconds, _cut, [connection])
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        """The answer is here, or the call has failed."""
        if self._timer:
            self._timer.cancel()
            self._timer = None


class PunctualAdapter(HTTPAdapter):
    """The library's adapter with the deadline put on every connection, through a proxy too."""

    def __init__(self, deadline: Deadline, **options: Any) -> None:
        self._pools = _pools_with(deadline)
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Called once by the library."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **options: Any) -> PoolManager:
        """Called by the library where the environment names a proxy."""
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager


def _pools_with(deadline: Deadline) -> dict[str, Any]:
    class Plain(HTTPConnection):
        def getresponse(self) -> Any:
            deadline.begin(self.sock)
            return super().getresponse()

    class Secure(HTTPSConnection):
        def getresponse(self) -> Any:
            deadline.begin(self.sock)
            return super().getresponse()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _cut(connection: socket.socket) -> None:
    # By the base class: a TLS socket's own method would take its state away from the thread that reads.
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
