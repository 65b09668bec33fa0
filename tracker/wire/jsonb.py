"""What JSON of others may not hold if PostgreSQL's jsonb is to keep it and every reader to get it back."""

import re
from typing import Final

MAX_DEPTH: Final = 32  # objects and lists within each other: whoever reads them again does so by recursion
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # not the text of a backslash and "u0000"


def fault(value: object, encoded: bytes) -> str | None:
    """What is wrong with a value and its compact JSON, as the end of a sentence; None when nothing is."""
    if _NUL.search(encoded):
        return "must not contain the character NUL"
    if encoded.count(b"{") + encoded.count(b"[") > MAX_DEPTH and _is_deep(value):
        return f"must not be nested more than {MAX_DEPTH} deep"
    return None


def _is_deep(value: object) -> bool:
    layer = [value]
    for _ in range(MAX_DEPTH):
        inner = [each.values() if isinstance(each, dict) else each for each in layer if isinstance(each, dict | list)]
        layer = [child for children in inner for child in children]
    return any(isinstance(each, dict | list) for each in layer)
