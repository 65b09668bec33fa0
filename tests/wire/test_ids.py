"""Public ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.errors import InvalidField
from tracker.wire import ids

KINDS = [
    *(ids.ASSET, ids.DEVICE, ids.GEOFENCE, ids.EVENT, ids.VISIT),
    *(ids.HOOK, ids.DELIVERY, ids.TOKEN, ids.ACCOUNT, ids.COMMAND),
]


@given(st.sampled_from(KINDS), st.integers(0, 10**18 - 1))
def test_an_id_is_read_as_it_was_given(kind: str, number: int) -> None:
    text = ids.public_id(kind, number)
    assert ids.number_of(kind, text) == number
    for other in KINDS:
        if other != kind:
            with pytest.raises(InvalidField):
                ids.number_of(other, text)


def test_every_kind_has_its_own_prefix() -> None:
    assert len(set(KINDS)) == len(KINDS)


@pytest.mark.parametrize(
    "text",
    [
        *("", "ast", "ast_", "_5", "5", "AST_5", "ast__5", "ast_1_2", "x_ast_5", "dev_5", "ast_5\x00"),
        *("ast_00", "ast_05", "ast_-5", "ast_+5", "ast_5 ", " ast_5", "ast_5\n", "ast_5.0", "ast_²", "ast_٣"),
        *("ast_" + "9" * 19, "ast_" + "9" * 5_000, 5, None, True, ["ast_5"], b"ast_5"),
    ],
)
def test_anything_else_is_refused_with_the_field(text: object) -> None:
    with pytest.raises(InvalidField, match="asset must be an id that starts with ast_") as refused:
        ids.number_of(ids.ASSET, text, "asset")
    assert refused.value.field == "asset"


@given(st.text())
def test_no_text_raises_anything_else(text: str) -> None:
    with pytest.raises(InvalidField):
        ids.number_of(ids.DEVICE, text)
    with pytest.raises(InvalidField):
        ids.number_of(ids.DEVICE, f"dev_{text}_")
