"""Errors as callers see them, RFC 9457 problem details, and the one way a JSON body is read.

What was not raised on purpose is logged under an incident id; its text stays here.
"""

import logging
import re
import secrets
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from tracker.errors import InvalidField, MalformedMessage, RequestError, StoreError, TooLarge, TrackerError, edge

log = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
CONTENT_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 1

_STATUS_CODES: Final = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}
_PATH = re.compile(r" - at `\$(?:\.|(?=\[))?(?P<path>[^`]*)`$")
_NAMED = re.compile(r"^Object (?:missing required|contains unknown) field `(?P<name>[^`]*)`")
_RAW_BODY: Final = web.RequestKey("raw_body", bytes)

T = TypeVar("T")


class Problem(msgspec.Struct, omit_defaults=True):
    """RFC 9457, with a stable `code` and the offending `field`."""

    title: str
    status: int
    detail: str
    code: str
    field: str | None = None


def problem(
    status: int, code: str, detail: str, *, field: str | None = None, headers: dict[str, str] | None = None
) -> web.Response:
    """The answer for an error. Its type is `about:blank`: the status says the kind, `code` the cause."""
    content = Problem(HTTPStatus(status).phrase, status, detail, code, field)
    body = msgspec.json.encode({"type": "about:blank", **msgspec.to_builtins(content)})
    return web.Response(status=status, body=body, content_type=CONTENT_TYPE, headers=headers)


def problem_of(error: TrackerError) -> web.Response:
    """The answer for one of our errors, by the table in `errors`."""
    known = edge(error)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if known.retry and known.status in (429, 503) else {}
    if known.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="tracker"'
    if isinstance(error, RequestError):
        return problem(known.status, error.code, error.message, field=error.field, headers=headers)
    incident = _report(error)
    if isinstance(error, StoreError) and known.retry:
        return problem(
            known.status,
            "unavailable",
            f"The database does not answer; try again soon. Incident {incident}.",
            headers=headers,
        )
    if isinstance(error, StoreError):
        return problem(known.status, "refused", f"The database refuses this data. Incident {incident}.")
    return problem(known.status, "internal", f"The server failed; its log has the cause as incident {incident}.")


def _report(error: BaseException) -> str:
    incident = secrets.token_hex(4)
    log.error("action=request_failed incident=%s", incident, exc_info=error)
    return incident


def _problem_of_http(request: web.Request, error: web.HTTPException) -> web.Response:
    code = _STATUS_CODES.get(
        error.status, "bad_request" if error.status < HTTPStatus.INTERNAL_SERVER_ERROR else "internal"
    )
    details = {404: f"There is nothing at {request.path}.", 405: f"{request.path} does not take {request.method}."}
    allow = error.headers.get("Allow")
    return problem(
        error.status, code, details.get(error.status, error.reason), headers={"Allow": allow} if allow else None
    )


@web.middleware
async def problems_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Outermost: whatever a handler raises before its answer has begun becomes a problem document."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return _problem_of_http(request, error)
    except TrackerError as error:
        return problem_of(error)
    except RecursionError:
        return problem_of(MalformedMessage("The body is nested too deeply."))
    except ConnectionResetError:
        log.info("action=client_left path=%s", request.path)
        return web.Response(status=400)  # nobody is there to read it
    except Exception as error:  # noqa: BLE001 - the top of a request: logged with its traceback, and no text leaves
        return problem(500, "internal", f"The server failed; its log has the cause as incident {_report(error)}.")


async def raw_body(request: web.Request) -> bytes:
    """The whole body, read once.

    Raises:
        TooLarge: it has more than 4 MiB.
    """
    if _RAW_BODY in request:
        return request[_RAW_BODY]
    too_large = TooLarge(f"The body has more than {MAX_BODY_BYTES // 2**20} MiB; send it in several requests.")
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise too_large
    chunks = bytearray()
    async for chunk in request.content.iter_any():
        chunks += chunk
        if len(chunks) > MAX_BODY_BYTES:
            raise too_large
    request[_RAW_BODY] = raw = bytes(chunks)
    return raw


async def body(request: web.Request, type_: type[T]) -> T:
    """The JSON body as `type_`, whose structs forbid unknown fields; the Content-Type is not looked at.

    Raises:
        MalformedMessage, InvalidField, TooLarge
    """
    return decode(await raw_body(request), type_)


def decode(raw: bytes, type_: type[T]) -> T:
    """JSON text as `type_`. Never raises anything but `MalformedMessage` and `InvalidField`.

    PostgreSQL stores no NUL in a text, so none is let in.
    """
    try:
        value = msgspec.json.decode(raw, type=type_)
        if b"\\u0000" in raw:
            _refuse_nul(msgspec.json.decode(raw), "")
    except msgspec.ValidationError as error:
        raise invalid_field(error) from error
    except (msgspec.DecodeError, ValueError) as error:  # ValueError: bad UTF-8, or a number of more than 4,300 digits
        raise MalformedMessage(f"The body is not valid JSON: {error}.") from error
    except RecursionError as error:
        raise MalformedMessage("The body is nested too deeply.") from error
    return value


def invalid_field(error: msgspec.ValidationError) -> InvalidField:
    """What msgspec found, with the path of the field in front."""
    text = str(error)
    at = _PATH.search(text)
    path = at["path"] if at else ""
    text = text[: at.start()] if at else text
    named = _NAMED.match(text)
    if named:
        path = f"{path}.{named['name']}" if path else named["name"]
        text = "is required" if "missing" in text else "is not a field of this request"
    elif "matching regex" in text:
        text = "holds characters or a word that are not allowed here"
    else:
        text = text[:1].lower() + text[1:].replace("`", "")
    return InvalidField(f"{path or 'The body'}: {text}.", field=path or None)


def _refuse_nul(value: Any, path: str) -> None:
    if isinstance(value, str) and "\x00" in value:
        raise InvalidField(f"{path or 'The body'}: a text may not contain the character U+0000.", field=path or None)
    if isinstance(value, dict):
        for name, item in value.items():
            _refuse_nul(name, path)
            _refuse_nul(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_nul(item, f"{path}[{index}]")


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer from builtins or structs."""
    return web.Response(
        status=status, body=msgspec.json.encode(value), content_type="application/json", headers=headers
    )
