"""Bearer tokens: 32 random bytes, shown once, of which only the SHA-256 is kept."""

import hashlib
import secrets

API_TOKEN_PREFIX = "btp_"  # noqa: S105  a person's
WORKER_TOKEN_PREFIX = "btw_"  # noqa: S105  a worker's
SHOWN_CHARS = 12  # how much of a token may be shown and searched afterwards


def new_token(prefix: str) -> str:
    """A fresh token: the prefix says whose kind it is, the rest is 256 random bits."""
    return prefix + secrets.token_urlsafe(32)


def token_sha256(token: str) -> str:
    """What the database keeps, 64 hexadecimal characters. A plain hash suffices for 256 random bits (ASVS 6.5.2)."""
    return hashlib.sha256(token.encode()).hexdigest()


def shown_prefix(token: str) -> str:
    """The part by which a person recognises a token."""
    return token[:SHOWN_CHARS]
