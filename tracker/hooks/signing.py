"""Standard Webhooks signatures (https://www.standardwebhooks.com): the secret, and the headers of one attempt."""

import base64
import hmac
import secrets
from typing import Final

KEY_BYTES: Final = 32
PREFIX: Final = "whsec_"


def new_key() -> bytes:
    """A key for one hook."""
    return secrets.token_bytes(KEY_BYTES)


def secret_of(key: bytes) -> str:
    """The text that the owner of the hook is given, once."""
    return PREFIX + base64.b64encode(key).decode()


def signature_headers(key: bytes, message_id: str, at_s: int, body: bytes) -> dict[str, str]:
    """Who this message is, when it was sent, and the proof of both and of the body."""
    digest = hmac.digest(key, f"{message_id}.{at_s}.".encode() + body, "sha256")
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
