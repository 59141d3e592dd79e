"""One signed POST to WEBHOOK_URL: over TLS, to the address that was checked, without following redirects."""

import hashlib
import hmac
import http.client
import ipaddress
import json
import socket
import ssl
from contextlib import suppress
from datetime import datetime
from threading import Timer
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

TIMEOUT_S = 5.0  # of each step: connecting, sending, a part of the answer
MOST_ADDRESSES = 3  # tried of one host: each may take TIMEOUT_S
DEADLINE_S = 15.0  # of the whole: an answer may trickle


class NotDelivered(Exception):
    """The receiver did not take it, or must not be asked; says why, without the address."""


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Hex HMAC-SHA256 of `timestamp`, a point and the body."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def post(event_id: str, payload: dict[str, Any], *, now: datetime) -> None:
    """Send the payload as JSON. Raises NotDelivered for any answer but 2xx, and what sockets raise."""
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    timestamp = str(int(now.timestamp()))
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "bert-training",
        "X-Bert-Event": payload["event"],
        "X-Bert-Event-Id": event_id,
        "X-Bert-Timestamp": timestamp,
        "X-Bert-Signature": f"sha256={signature(settings.WEBHOOK_SECRET, timestamp, body)}",
    }
    status = _answer(settings.WEBHOOK_URL, headers, body)
    if not 200 <= status < 300:
        raise NotDelivered(f"HTTP {status}")


def _answer(url: str, headers: dict[str, str], body: bytes) -> int:
    parts = urlsplit(url)
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and settings.DEBUG)):
        raise NotDelivered("WEBHOOK_URL must begin with https://")
    is_tls = parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    connection = http.client.HTTPConnection(parts.hostname, port, timeout=TIMEOUT_S)
    # Opened here and not by the library, which would look the name up again: the answer may have changed meanwhile.
    connection.sock = _opened(parts.hostname, port, is_tls=is_tls)
    watch = Timer(DEADLINE_S, connection.sock.shutdown, [socket.SHUT_RDWR])
    watch.daemon = True
    watch.start()
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, headers)
        return connection.getresponse().status
    finally:
        watch.cancel()
        connection.close()


def _opened(host: str, port: int, *, is_tls: bool) -> socket.socket:
    plain = _connected(_checked_addresses(host, port), port)
    if not is_tls:
        return plain
    try:
        return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _connected(addresses: list[str], port: int) -> socket.socket:
    """To the first of the addresses that takes the connection. Raises what the last one tried raised."""
    *others, last = addresses[:MOST_ADDRESSES]
    for address in others:
        with suppress(OSError):
            return socket.create_connection((address, port), timeout=TIMEOUT_S)
    return socket.create_connection((last, port), timeout=TIMEOUT_S)


def _checked_addresses(host: str, port: int) -> list[str]:
    """The host's, in the system's order. Raises NotDelivered where one is not public and that is not allowed."""
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    found = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
    if not settings.WEBHOOK_ALLOW_PRIVATE and not all(_is_public(address) for address in found):
        raise NotDelivered("the address is private (WEBHOOK_ALLOW_PRIVATE=1 allows it)")
    return found


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return ip.is_global and not ip.is_multicast
