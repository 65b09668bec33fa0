"""What jsonb does not take, or nobody could read again."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.wire.jsonb import MAX_DEPTH, fault


def wrong(value: object) -> str | None:
    return fault(value, msgspec.json.encode(value))


def wrapped(depth: int, *, kind: str) -> object:
    value: object = 5
    for level in range(depth):
        value = {"a": value} if kind == "object" or (kind == "mixed" and level % 2) else [value]
    return value


@pytest.mark.parametrize("kind", ["object", "list", "mixed"])
def test_depth_is_bounded(kind: str) -> None:
    assert wrong(wrapped(MAX_DEPTH, kind=kind)) is None
    assert wrong(wrapped(MAX_DEPTH + 1, kind=kind)) == "must not be nested more than 32 deep"
    assert wrong([1, {}, wrapped(MAX_DEPTH, kind=kind)]) == "must not be nested more than 32 deep"


def test_width_is_not() -> None:
    assert wrong([{"a": []}] * 10_000) is None


@given(st.recursive(st.text("\x00\\u0a"), lambda inner: st.lists(inner) | st.dictionaries(st.text("\x00\\u0a"), inner)))
def test_nul_is_found_wherever_it_stands_and_nothing_else(value: object) -> None:
    assert (wrong(value) is not None) == ("\x00" in flat(value))


def flat(value: object) -> str:
    if isinstance(value, dict):
        return "".join(key + flat(each) for key, each in value.items())
    if isinstance(value, list):
        return "".join(map(flat, value))
    return str(value)
