"""Secrets as they are made and as the tables keep them. Each is 256 random bits, so that a plain SHA-256 is enough."""

import secrets
from hashlib import sha256
from typing import Final

TOKEN_PREFIX: Final = "trk_"  # noqa: S105 - what every token begins with
MAX_SECRET_LENGTH: Final = 256


def new_secret() -> str:
    """For cookies and sign-in codes."""
    return secrets.token_urlsafe(32)


def new_token() -> str:
    """For the Authorization header; the prefix lets scanners of leaked secrets know it."""
    return TOKEN_PREFIX + new_secret()


def hash_of(secret: str) -> bytes:
    """What the tables keep. What is too long to be ours is not hashed whole."""
    return sha256(secret[: MAX_SECRET_LENGTH + 1].encode("utf-8", "replace")).digest()
