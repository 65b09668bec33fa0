"""Every error this program raises on purpose: one tree, and one table that says what each means at the edges.

A message is one clear sentence for the person who can act on it. Unexpected exceptions never reach a client as text.
"""

from dataclasses import dataclass


class TrackerError(Exception):
    """The root of the tree; `field` names the offending input where there is one."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class SetupError(TrackerError):
    """The machine lacks something that only its owner can give; the message is the line to run."""


class StoreError(TrackerError):
    """The database said no, or is away; the cause is chained."""


class StoreUnavailable(StoreError):
    """The database cannot be reached now; trying again later is right."""


class LockLost(StoreError):
    """Another server writes to this database."""


class RefusedByDatabase(StoreError):
    """The database refuses this very data; trying again cannot help."""


class RequestError(TrackerError):
    """A caller's mistake."""

    code = "bad_request"


class MalformedMessage(RequestError):
    """A body or frame that cannot be read at all."""

    code = "malformed"


class InvalidField(RequestError):
    """A field with a value that is not allowed."""

    code = "invalid_field"


class InvalidGeometry(RequestError):
    """A geofence whose shape is not acceptable; the message says where."""

    code = "invalid_geometry"


class Unauthenticated(RequestError):
    """No credential, or one that is not known."""

    code = "unauthenticated"


class Forbidden(RequestError):
    """A known caller who may not do this."""

    code = "forbidden"


class ForeignOrigin(Forbidden):
    """A browser request from a page of another site."""

    code = "foreign_origin"


class NotFound(RequestError):
    """There is no such object, or none that this caller may see."""

    code = "not_found"


class Conflict(RequestError):
    """The request disagrees with the state it meets."""

    code = "conflict"


class TooLarge(RequestError):
    """More than the documented limit."""

    code = "too_large"


class TooManyRequests(RequestError):
    """Over the rate limit."""

    code = "too_many_requests"


class Superseded(TrackerError):
    """A newer socket took over this stream."""


class SlowClient(TrackerError):
    """A client that did not read what it asked for."""


@dataclass(frozen=True, slots=True)
class Edge:
    """What an error means outside: HTTP status, WebSocket close code, and whether the same may succeed later."""

    status: int
    close_code: int
    retry: bool


EDGES: dict[type[TrackerError], Edge] = {
    TrackerError: Edge(500, 1011, True),
    StoreError: Edge(503, 1013, True),
    RefusedByDatabase: Edge(422, 1007, False),
    RequestError: Edge(400, 1007, False),
    InvalidField: Edge(422, 1007, False),
    InvalidGeometry: Edge(422, 1007, False),
    Unauthenticated: Edge(401, 4401, False),
    Forbidden: Edge(403, 4403, False),
    NotFound: Edge(404, 4404, False),
    Conflict: Edge(409, 4409, False),
    TooLarge: Edge(413, 1009, False),
    TooManyRequests: Edge(429, 4429, True),
    Superseded: Edge(409, 4009, False),
    SlowClient: Edge(408, 4008, True),
}


def edge(error: TrackerError) -> Edge:
    """The row of the nearest ancestor that has one."""
    return next(EDGES[kind] for kind in type(error).__mro__ if kind in EDGES)
