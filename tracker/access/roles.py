"""Who a request comes from and what that allows. Every handler says who may call it, or it is for nobody.

`require` and `public` mark handlers; `doors.identity` looks the caller up and refuses a handler without a mark.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from tracker.errors import Forbidden, Unauthenticated

ROLE_MARK: Final = "requires_role"
PUBLIC_MARK: Final = "is_public"


class Role(enum.IntEnum):
    """Each may do what those below may: a viewer reads, a dispatcher works with the fleet, an admin does everything."""

    VIEWER = 1
    DISPATCHER = 2
    ADMIN = 3

    @property
    def label(self) -> str:
        """The word for it on the wire and in the tables."""
        return self.name.lower()

    @classmethod
    def of(cls, label: str) -> "Role":
        return cls[label.upper()]


class Kind(enum.Enum):
    """The credential that a request came with."""

    API_TOKEN = "api token"  # noqa: S105 - its name
    SESSION = "session"
    DEVICE = "device token"
    GATEWAY = "gateway token"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a request comes from. `role` is None for devices and gateways: they send, and read nothing."""

    kind: Kind
    role: Role | None
    name: str
    token_id: int | None = None  # None for the administrator's preset token
    account_id: int | None = None
    session: bytes | None = None  # the hash of its cookie
    expires_at: float | None = None  # epoch seconds

    @property
    def key(self) -> str:
        """One text per caller, the same at each of its requests."""
        if self.session is not None:
            return f"session:{self.session.hex()}"
        return f"token:{self.token_id or 'preset'}"


CALLER: Final = web.RequestKey("caller", Caller)


def authorize(caller: Caller | None, role: Role) -> Caller:
    """The caller, if it may do what `role` may.

    Raises:
        Unauthenticated: nobody is known to be calling.
        Forbidden: the caller may not do this.
    """
    if caller is None:
        raise Unauthenticated("This needs a token (Authorization: Bearer …) or a signed-in session.")
    if caller.role is None:
        raise Forbidden(f"A {caller.kind.value} sends fixes to /v1/ingest and may do nothing else.")
    if caller.role < role:
        raise Forbidden(f"This needs the role {role.label}; the caller has the role {caller.role.label}.")
    return caller


def require(role: Role) -> Callable[[Handler], Handler]:
    """Marks a handler as open to this role and those above it."""

    def decorate(handler: Handler) -> Handler:
        @wraps(handler)
        async def guarded(request: web.Request) -> web.StreamResponse:
            authorize(request.get(CALLER), role)
            return await handler(request)

        setattr(guarded, ROLE_MARK, role)
        return guarded

    return decorate


def public(handler: Handler) -> Handler:
    """Marks a handler that is for everybody, or that checks a credential of its own; no caller is looked up for it."""
    setattr(handler, PUBLIC_MARK, True)
    return handler
