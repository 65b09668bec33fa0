"""`Idempotency-Key`: a write that is sent again gets the answer of the first time, and happens once.

Only successes are kept, for a day. An answer may hold a token that is shown once, so it is sealed with the caller's own
credential, of which the database has no more than a hash.
"""

import hashlib
import logging
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from tracker.access.roles import CALLER
from tracker.doors.identity import CREDENTIAL
from tracker.doors.keys import DATABASE
from tracker.doors.problems import raw_body
from tracker.errors import Conflict, InvalidField, StoreError

log = logging.getLogger(__name__)

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"
MAX_KEY_LENGTH: Final = 255
METHODS: Final = frozenset({"POST", "PATCH", "DELETE"})
NONCE_BYTES: Final = 16


@web.middleware
async def idempotency_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Innermost, for callers who are known; the ingest door numbers fixes instead."""
    key = request.headers.get(HEADER)
    caller = request.get(CALLER)
    if key is None or caller is None or request.method not in METHODS or not request.path.startswith("/v1/"):
        return await handler(request)
    if not (0 < len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
        raise InvalidField(f"{HEADER} must have 1 to {MAX_KEY_LENGTH} printable ASCII characters.", field=HEADER)
    database, place = request.app[DATABASE], (caller.key, key)
    asked = await _fingerprint(request)
    if await database.row("claim_idempotency_key", *place, asked) is None:
        return _replay(request, await database.row("idempotent_answer", *place), asked)
    try:
        response = await handler(request)
    except StoreError:
        raise  # it may have been done all the same: the key stays taken, so that nothing is done twice
    except BaseException:
        await _release(request, place)
        raise
    if isinstance(response, web.Response) and response.status < HTTPStatus.BAD_REQUEST:
        body = response.body if isinstance(response.body, bytes) else b""
        await database.execute("keep_idempotent_answer", *place, response.status, _sealed(request, body))
    else:
        await _release(request, place)
    return response


async def _fingerprint(request: web.Request) -> bytes:
    head = f"{request.method} {request.path_qs}\n".encode("utf-8", "replace")
    return hashlib.sha256(head + await raw_body(request)).digest()


def _replay(request: web.Request, kept: Mapping[str, Any] | None, asked: bytes) -> web.Response:
    if kept is None:
        raise Conflict("The first request with this key has just failed; send it again.")
    if kept["request"] != asked:
        raise InvalidField(f"{HEADER} was used for another request; take a new key for a new request.", field=HEADER)
    if kept["status"] is None:
        raise Conflict(
            "The first request with this key is still under way, or was cut short when the server stopped:"
            " wait, or look whether it took effect and take a new key."
        )
    body = _opened(request, kept["body"])
    return web.Response(
        status=kept["status"],
        body=body or None,
        content_type="application/json" if body else None,
        headers={REPLAYED: "true"},
    )


async def _release(request: web.Request, place: tuple[str, str]) -> None:
    """The request did nothing, so the key is free again."""
    try:
        await request.app[DATABASE].execute("release_idempotency_key", *place)
    except StoreError as error:
        # The handler's own error is the one to tell; the key stays taken until the keeper removes it.
        log.warning("action=idempotency_key_not_released", exc_info=error)


def _sealed(request: web.Request, body: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + _xor(request, nonce, body)


def _opened(request: web.Request, sealed: bytes) -> bytes:
    return _xor(request, sealed[:NONCE_BYTES], sealed[NONCE_BYTES:])


def _xor(request: web.Request, nonce: bytes, body: bytes) -> bytes:
    """A keyed sponge as a stream cipher: the key has 256 bits, the nonce is never used twice."""
    key = hashlib.sha256(request[CREDENTIAL].encode("utf-8", "replace")).digest()
    stream = hashlib.shake_256(b"idempotent answer" + key + nonce).digest(len(body))
    return (int.from_bytes(body) ^ int.from_bytes(stream)).to_bytes(len(body))
