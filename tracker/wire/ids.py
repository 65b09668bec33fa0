"""Public ids: opaque to callers, a kind and a number to us, so that a wrong kind of id is told apart from a missing
object.
"""

import re
from typing import Final

from tracker.errors import InvalidField

ASSET: Final = "ast"
DEVICE: Final = "dev"
GEOFENCE: Final = "gf"
EVENT: Final = "evt"
VISIT: Final = "vis"
HOOK: Final = "hook"
DELIVERY: Final = "dlv"
TOKEN: Final = "tok"  # noqa: S105 - the prefix of an id
ACCOUNT: Final = "usr"
COMMAND: Final = "cmd"

_SHAPE = re.compile(r"0|[1-9][0-9]{0,17}")  # 0 is nobody's: "after 0" is "from the beginning"


def public_id(kind: str, number: int) -> str:
    """The text that stands for object `number` of this kind."""
    return f"{kind}_{number}"


def number_of(kind: str, text: object, field: str = "id") -> int:
    """The number behind a public id of this kind.

    Raises:
        InvalidField: the text is not an id of this kind.
    """
    if isinstance(text, str):
        prefix, _, digits = text.rpartition("_")
        if prefix == kind and _SHAPE.fullmatch(digits):
            return int(digits)
    raise InvalidField(f"{field} must be an id that starts with {kind}_, as the server gave it", field=field)
