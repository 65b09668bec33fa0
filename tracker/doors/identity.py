"""Who is calling: the bearer token or the session cookie of a request, and the Origin check that a cookie needs.

A credential is looked up only for handlers that ask for a role, so that what is public works without a database.
"""

from collections.abc import Mapping
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from tracker.access.roles import CALLER, PUBLIC_MARK, ROLE_MARK, Caller, Kind
from tracker.access.tokens import Access
from tracker.errors import ForeignOrigin, Unauthenticated

ACCESS: Final = web.AppKey("access", Access)
# What the caller showed: seals what is kept for it (see `idempotency`), and never leaves the request.
CREDENTIAL: Final = web.RequestKey("credential", str)

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
COOKIE: Final = "tracker_session"
SECURE_COOKIE: Final = "__Host-tracker_session"
COOKIE_LIFE_S: Final = 30 * 24 * 3600
_DEFAULT_PORTS: Final[Mapping[str, str]] = {"http": ":80", "https": ":443"}


@web.middleware
async def identity_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Puts the caller into the request for handlers marked by `require`; an unmarked one is a mistake, for nobody."""
    target = request.match_info.handler
    if hasattr(target, ROLE_MARK):
        caller = await identify(request)
        if caller is not None:
            request[CALLER] = caller
            if caller.kind is Kind.SESSION and request.method not in SAFE_METHODS:
                check_origin(request)
        elif _wants_page(request):
            raise web.HTTPSeeOther("/sign-in")
    elif not (hasattr(target, PUBLIC_MARK) or _is_static_or_missing(request)):
        raise RuntimeError(f"the handler of {request.path} does not say who may call it")
    return await handler(request)


def _is_static_or_missing(request: web.Request) -> bool:
    if request.match_info.http_exception is not None:
        return True
    return isinstance(request.match_info.route.resource, web.StaticResource)


def _wants_page(request: web.Request) -> bool:
    return (
        request.method == "GET"
        and not request.path.startswith("/v1/")
        and "text/html" in request.headers.get("Accept", "")
    )


async def identify(request: web.Request) -> Caller | None:
    """The caller by `Authorization: Bearer`, else by the session cookie; None when there is neither.

    Raises:
        Unauthenticated: the credential is not known, or no longer.
    """
    access = request.app[ACCESS]
    header = request.headers.get("Authorization")
    if header is not None:
        secret = bearer(header)
        request[CREDENTIAL] = secret
        return await access.caller(secret)
    cookie = session_cookie(request)
    if not cookie:
        return None
    request[CREDENTIAL] = cookie
    return await access.session(cookie)


def bearer(header: str) -> str:
    """The token of an Authorization header."""
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthenticated("The Authorization header must read: Bearer <token>.")
    return secret.strip()


def check_origin(request: web.Request) -> None:
    """A browser sends the cookie with requests that other sites' pages make; only pages of this host may use it.

    Behind a proxy that ends TLS we see http where the page is https; the other way round would be a downgrade.

    Raises:
        ForeignOrigin: the Origin is missing or another's.
    """
    origin = request.headers.get("Origin")
    if origin is None:
        raise ForeignOrigin("A request with a session cookie must carry the Origin header; scripts use a bearer token.")
    scheme, separator, place = origin.lower().partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    same_place = port is not None and place.removesuffix(port) == request.host.lower().removesuffix(port)
    if not separator or not same_place or (request.secure and scheme != "https"):
        raise ForeignOrigin(f"A page of {origin[:200]} may not use this server with its visitor's session.")


def session_cookie(request: web.Request) -> str | None:
    """The session cookie, if the browser sent one."""
    return request.cookies.get(SECURE_COOKIE if request.secure else COOKIE)


def set_session_cookie(request: web.Request, response: web.StreamResponse, cookie: str) -> None:
    """Lets the browser hold the session: out of scripts' reach, and not sent with other sites' unsafe requests."""
    response.set_cookie(
        SECURE_COOKIE if request.secure else COOKIE,
        cookie,
        max_age=COOKIE_LIFE_S,
        path="/",
        secure=request.secure,
        httponly=True,
        samesite="Lax",
    )


def drop_session_cookie(request: web.Request, response: web.StreamResponse) -> None:
    """Makes the browser forget the session."""
    name = SECURE_COOKIE if request.secure else COOKIE
    response.del_cookie(name, path="/", secure=request.secure, httponly=True, samesite="Lax")
