from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.vector_tile import Feature, read
from tracker.wire.mvt import LINE, POINT, POLYGON, Layer

numbers = st.one_of(st.integers(-5, 5), st.integers(-(2**20), 2**20))
places = st.tuples(numbers, numbers)
properties = st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=9), st.integers(0, 2**63 - 1)), max_size=3)
shapes = st.one_of(
    st.tuples(st.just(POINT), places.map(lambda place: [[place]])),
    st.tuples(st.just(LINE), st.lists(st.lists(places, min_size=2, max_size=6), min_size=1, max_size=3)),
    st.tuples(st.just(POLYGON), st.lists(st.lists(places, min_size=3, max_size=6), min_size=1, max_size=3)),
)


@given(st.lists(st.tuples(shapes, properties), min_size=1, max_size=5))
def test_a_reader_of_the_specification_finds_what_was_added(
    wanted: list[tuple[tuple[int, list[Any]], dict[str, str | int]]],
) -> None:
    layer = Layer("täglich", 4096)
    for (kind, parts), each in wanted:
        layer.add(kind, [np.array(part) for part in parts], each)
    found = read(layer.encode())["täglich"]
    assert (found.version, found.extent) == (2, 4096)
    assert found.features == [
        Feature(kind, [part + part[:1] if kind == POLYGON else part for part in parts], each)
        for (kind, parts), each in wanted
    ]


def test_a_layer_without_features_is_an_empty_tile() -> None:
    assert Layer("tracks", 4096).encode() == b""
