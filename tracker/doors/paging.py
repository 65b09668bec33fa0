"""Lists in pages, and the query string of every list: `limit`, `after`, filters by name. Nothing is cut silently.

`next` is the id of the last item shown, or null when there is nothing more now.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from tracker.doors.problems import answer
from tracker.errors import InvalidField, NotFound
from tracker.wire import ids
from tracker.wire.times import parse_when

MAX_LIMIT: Final = 1_000
DEFAULT_LIMIT: Final = 100
MAX_WORDS: Final = 200
MAX_INT4: Final = 2**31 - 1
MAX_INT8: Final = 2**63 - 1
_NARROW: Final = frozenset({ids.ASSET, ids.DEVICE, ids.GEOFENCE, ids.HOOK, ids.TOKEN, ids.ACCOUNT})


@dataclass(frozen=True, slots=True)
class Page:
    """What a caller asks of a list that is ordered by id. Queries take `after` and `fetch`."""

    kind: str
    limit: int
    after: int  # ids above this one; 0 from the start

    @property
    def fetch(self) -> int:
        """One row more than is shown tells whether there are more."""
        return self.limit + 1

    def cut(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        """The rows to show and the value of `next`, from `fetch` rows with a column `id`."""
        if len(rows) <= self.limit:
            return rows, None
        return rows[: self.limit], ids.public_id(self.kind, rows[self.limit - 1]["id"])

    def answer(
        self, name: str, rows: Sequence[Mapping[str, Any]], form: Callable[[Mapping[str, Any]], Any]
    ) -> web.Response:
        """`{"<name>": […], "next": …}`."""
        shown, following = self.cut(rows)
        return answer({name: [form(row) for row in shown], "next": following})


def page_of(request: web.Request, kind: str, *filters: str) -> Page:
    """The page that the query string asks for; `filters` are the other parameters this list knows.

    Raises:
        InvalidField: a parameter is unknown or has no sense.
    """
    only(request, "limit", "after", *filters)
    after = request.query.get("after")
    return Page(kind, limit_of(request), number_of(kind, after, "after") if after else 0)


def only(request: web.Request, *names: str) -> None:
    """Refuses parameters that would be ignored: a misspelt filter must not answer everything.

    Raises:
        InvalidField: a parameter is not among `names`, or stands twice.
    """
    for name in request.query:
        if name not in names:
            known = ", ".join(sorted(names)) or "none"
            raise InvalidField(f"{name} is not a parameter here; known are: {known}.", field=name)
        if len(request.query.getall(name)) > 1:
            raise InvalidField(f"{name} stands twice in the query.", field=name)


def limit_of(request: web.Request) -> int:
    """How many items are asked for."""
    text = request.query.get("limit") or str(DEFAULT_LIMIT)
    if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_LIMIT)) and 1 <= int(text) <= MAX_LIMIT:
        return int(text)
    raise InvalidField(f"limit must be a whole number from 1 to {MAX_LIMIT}.", field="limit")


def words_of(request: web.Request) -> str | None:
    """What `q` looks for in names and tags, in lowercase; None when nothing is looked for."""
    words = request.query.get("q", "").strip().lower()
    if len(words) > MAX_WORDS or "\0" in words:
        raise InvalidField(f"q must be at most {MAX_WORDS} characters of a name or a tag.", field="q")
    return words or None


def time_of(request: web.Request, name: str) -> int | None:
    """A time in the query as epoch milliseconds; None when it is not given."""
    text = request.query.get(name)
    return parse_when(text, name) if text else None


def id_of(request: web.Request, kind: str, name: str) -> int | None:
    """The number behind an id in the query; None when it is not given."""
    text = request.query.get(name)
    return number_of(kind, text, name) if text else None


def number_of(kind: str, text: object, field: str) -> int:
    """The number behind an id, as wide as its column: what is wider is the id of nothing, and stays that when clamped.

    Raises:
        InvalidField: the text is not an id of this kind.
    """
    return min(ids.number_of(kind, text, field), MAX_INT4 if kind in _NARROW else MAX_INT8)


def path_id(request: web.Request, kind: str, name: str = "id") -> int:
    """The number behind the id in the path.

    Raises:
        NotFound: it is no id of this kind, so there is nothing.
    """
    try:
        return number_of(kind, request.match_info[name], name)
    except InvalidField as error:
        raise NotFound(f"There is nothing at {request.path}; ids here start with {kind}_.") from error
