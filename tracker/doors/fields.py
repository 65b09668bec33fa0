"""The fields that several doors take: what a name, tags and free-form values may be."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from tracker.errors import InvalidField

MAX_FREE_FORM_BYTES: Final = 16 * 1024

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Tag = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Tags = Annotated[list[Tag], Meta(max_length=64)]
RoleName = Annotated[str, Meta(pattern="^(viewer|dispatcher|admin)\\Z")]


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """The root of every request body: a misspelt field is an error, not a wish ignored."""


def free_form(value: dict[str, Any], field: str) -> dict[str, Any]:
    """A JSON object of the caller's own, bounded.

    Raises:
        InvalidField: it is larger than 16 KiB.
    """
    if len(msgspec.json.encode(value)) > MAX_FREE_FORM_BYTES:
        raise InvalidField(f"{field} may have at most {MAX_FREE_FORM_BYTES // 1024} KiB of JSON.", field=field)
    return value


def given(value: Any) -> Any:
    """None for a field that the request leaves out."""
    return None if value is msgspec.UNSET else value
