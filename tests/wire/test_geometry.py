"""Geometries of GeoJSON: what is taken, what is refused and where, and what repair makes of it."""

import json
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.scenes import box
from tracker.domain.shape import Circle, Corridor, Shape, polygon
from tracker.errors import InvalidField, InvalidGeometry, TrackerError
from tracker.wire.geometry import (
    Areas,
    Geometry,
    Polygon,
    asked_area_of,
    asked_shape_of,
    check_sizes,
    geometry_json,
    shape_of,
)

SQUARE: dict[str, Any] = {"type": "Polygon", "coordinates": [box(0, 0, 40, 40)]}
OPEN: dict[str, Any] = {"type": "Polygon", "coordinates": [box(0, 0, 40, 40)[:-1]]}
POINT: dict[str, Any] = {"type": "Point", "coordinates": [13.4, 52.5]}
LINE: dict[str, Any] = {"type": "LineString", "coordinates": [[13.4, 52.5], [13.5, 52.6]]}
REMEDY = "; with ?repair=true it would be accepted"


@dataclass
class Sizes:
    radius_m: float | None = None
    buffer_m: float | None = None


def decode(geometry: Any) -> Geometry | None:
    found: Geometry | None = msgspec.json.decode(msgspec.json.encode(geometry), type=Geometry | None)
    return found


def read(geometry: Any, **sizes: float) -> Shape:
    return shape_of(decode(geometry), Sizes(**sizes))


def mend(geometry: Any, **sizes: float) -> tuple[Shape, list[str]]:
    return asked_shape_of(decode(geometry), Sizes(**sizes), repair=True)


def refusal(geometry: Any, **sizes: float) -> InvalidGeometry:
    with pytest.raises(InvalidGeometry) as refused:
        asked_shape_of(decode(geometry), Sizes(**sizes), repair=False)
    return refused.value


@pytest.mark.parametrize(
    ("geometry", "sizes", "shape"),
    [
        (POINT, {"radius_m": 5.0}, Circle(13.4, 52.5, 5.0)),
        (LINE, {"buffer_m": 5.0}, Corridor(((13.4, 52.5), (13.5, 52.6)), 5.0)),
        (SQUARE, {}, polygon([[box(0, 0, 40, 40)]])),
        ({"type": "MultiPolygon", "coordinates": [[box(0, 0, 40, 40)]]}, {}, polygon([[box(0, 0, 40, 40)]])),
    ],
)
def test_each_kind_of_geometry_becomes_its_shape(geometry: Any, sizes: dict[str, float], shape: Shape) -> None:
    assert read(geometry, **sizes) == shape
    assert mend(geometry, **sizes) == (shape, [])
    assert read(json.loads(json.dumps(geometry_json(shape))), **sizes) == shape


@pytest.mark.parametrize(
    ("geometry", "properties", "field"),
    [
        (None, None, "geometry"),
        (POINT, None, "properties.radius_m"),
        (POINT, {"radius_m": 0}, "properties.radius_m"),
        ({"type": "Point", "coordinates": []}, {"radius_m": 5}, "geometry.coordinates"),
        ({"type": "Point", "coordinates": [190, 0]}, {"radius_m": 5}, "geometry.coordinates"),
        ({"type": "Polygon", "coordinates": []}, None, "geometry.coordinates"),
        ({"type": "Polygon", "coordinates": [[]]}, None, "geometry.coordinates[0]"),
        ({"type": "Polygon", "coordinates": [box(0, 0, 1, 1)[:-1]]}, None, "geometry.coordinates[0]"),
        ({"type": "Polygon", "coordinates": [box(0, 0, 9, 9), [[0, 99]] * 4]}, None, "geometry.coordinates[1][0]"),
        ({"type": "MultiPolygon", "coordinates": []}, None, "geometry.coordinates"),
        ({"type": "MultiPolygon", "coordinates": [[]]}, None, "geometry.coordinates[0]"),
        ({"type": "MultiPolygon", "coordinates": [[box(0, 0, 1, 1)[:-1]]]}, None, "geometry.coordinates[0][0]"),
        ({"type": "MultiPolygon", "coordinates": [[[[0, 99]] * 4]]}, None, "geometry.coordinates[0][0][0]"),
        ({"type": "MultiPolygon", "coordinates": [[box(0, 0, 1, 1)], []]}, None, "geometry.coordinates[1]"),
    ],
)
def test_a_shape_that_is_none_is_refused_at_its_place(geometry: Any, properties: Any, field: str) -> None:
    with pytest.raises(InvalidGeometry) as refused:
        read(geometry, **properties or {})
    assert refused.value.field == field


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "MultiPoint", "coordinates": [[0, 0], [1, 1]]},
        {"type": "GeometryCollection", "geometries": {}},
        {"type": "Polygon"},
        {"type": "Polygon", "coordinates": None},
        {"type": "Polygon", "coordinates": [[[0, "0"], [1, 0], [1, 1], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[[0, True], [1, 0], [1, 1], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[None]]},
        {"type": "Polygon", "coordinates": [[0, 0]]},
        {"type": "polygon", "coordinates": []},
        {"coordinates": [0, 0]},
        [],
        "POINT(0 0)",
    ],
)
def test_what_is_no_geometry_is_refused_by_its_type(geometry: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(geometry, radius_m=1.0)


@pytest.mark.parametrize(
    ("geometry", "sizes", "field"),
    [
        (SQUARE, {"radius_m": 5.0}, "properties.radius_m"),
        (LINE, {"radius_m": 5.0, "buffer_m": 5.0}, "properties.radius_m"),
        (SQUARE, {"buffer_m": 5.0}, "properties.buffer_m"),
        (POINT, {"radius_m": 5.0, "buffer_m": 5.0}, "properties.buffer_m"),
        ({"type": "GeometryCollection", "geometries": [SQUARE]}, {"radius_m": 5.0}, "properties.radius_m"),
    ],
)
@pytest.mark.parametrize("repair", [False, True])
def test_a_size_that_belongs_to_another_geometry_is_refused(
    geometry: Any, sizes: dict[str, float], field: str, repair: bool
) -> None:
    with pytest.raises(InvalidField) as refused:
        asked_shape_of(decode(geometry), Sizes(**sizes), repair=repair)
    assert refused.value.field == field


def test_sizes_may_be_checked_before_there_is_a_shape() -> None:
    check_sizes(Polygon([]), Sizes())
    with pytest.raises(InvalidField, match="belongs to a LineString"):
        check_sizes(Polygon([]), Sizes(buffer_m=1.0))


@pytest.mark.parametrize(
    ("geometry", "place"),
    [
        (OPEN, "geometry.coordinates[0]"),
        (
            {"type": "Polygon", "coordinates": [[[170, 0], [-170, 0], [-170, 9], [170, 9], [170, 0]]]},
            "geometry.coordinates[0][1]",
        ),
        ({"type": "Polygon", "coordinates": [[[190, 0], [191, 0], [191, 9], [190, 0]]]}, "geometry.coordinates[0][0]"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]}, "geometry.coordinates"),
        ({"type": "GeometryCollection", "geometries": [POINT, SQUARE]}, "geometry"),
    ],
)
def test_a_refusal_names_the_place_and_says_that_repair_would_help(geometry: Any, place: str) -> None:
    refused = refusal(geometry)
    assert refused.field == place
    assert refused.message.endswith(REMEDY)
    shape, notes = mend(geometry)
    assert notes
    assert read(geometry_json(shape)) == shape


@pytest.mark.parametrize(
    ("geometry", "sizes"),
    [
        (None, {}),
        (POINT, {}),
        (POINT, {"radius_m": 0.0}),
        (LINE, {}),
        ({"type": "Point", "coordinates": [0, 91]}, {"radius_m": 5.0}),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [2, 2], [0, 0]]]}, {}),
        ({"type": "GeometryCollection", "geometries": [POINT, LINE]}, {}),
        ({"type": "GeometryCollection", "geometries": []}, {}),
    ],
)
def test_a_refusal_does_not_promise_what_repair_cannot_do(geometry: Any, sizes: dict[str, float]) -> None:
    assert "repair" not in refusal(geometry, **sizes).message
    with pytest.raises(InvalidGeometry):
        mend(geometry, **sizes)


def test_round_shapes_are_wrapped_onto_the_map() -> None:
    shape, notes = mend({"type": "Point", "coordinates": [190, 5]}, radius_m=10.0)
    assert shape == Circle(-170.0, 5.0, 10.0)
    assert notes == ["geometry.coordinates: [190, 5] wrapped to [-170, 5]"]
    shape, notes = mend({"type": "LineString", "coordinates": [[170, 5], [190, 5]]}, buffer_m=10.0)
    assert shape == Corridor(((170.0, 5.0), (-170.0, 5.0)), 10.0)
    assert notes == ["geometry.coordinates[1]: [190, 5] wrapped to [-170, 5]"]
    assert refusal({"type": "Point", "coordinates": [190, 5]}, radius_m=10.0).message.endswith(REMEDY)


def test_a_collection_is_flattened_to_its_polygons() -> None:
    inner = {
        "type": "GeometryCollection",
        "geometries": [{"type": "MultiPolygon", "coordinates": [[box(50, 0, 60, 10)]]}],
    }
    others = [
        POINT,
        LINE,
        {"type": "MultiPoint", "coordinates": []},
        {"type": "MultiLineString", "coordinates": []},
        None,
    ]
    shape, notes = mend({"type": "GeometryCollection", "geometries": [SQUARE, inner, *others]})
    assert shape == polygon([[box(0, 0, 40, 40)], [box(50, 0, 60, 10)]])
    assert notes == [
        *(f"geometry.geometries[{i}] dropped: it has no area" for i in range(2, 7)),
        "GeometryCollection flattened to its polygons, 2 in all",
    ]


def test_what_is_repaired_in_a_collection_has_its_place() -> None:
    nested = {"type": "GeometryCollection", "geometries": [{"type": "GeometryCollection", "geometries": [OPEN]}]}
    _, notes = mend(nested)
    assert notes[1].startswith("geometry.geometries[0].geometries[0].coordinates[0] closed")


def test_collections_in_collections_kill_nobody() -> None:
    deep = '{"type":"GeometryCollection","geometries":[' * 100_000 + "]}" * 100_000
    with pytest.raises(RecursionError):
        msgspec.json.decode(deep, type=Geometry)
    nested = '{"type":"GeometryCollection","geometries":[' * 300 + json.dumps(SQUARE) + "]}" * 300
    assert mend(json.loads(nested))[0] == polygon([[box(0, 0, 40, 40)]])


def test_an_area_may_be_asked_for_without_its_properties() -> None:
    area = decode(OPEN)
    assert isinstance(area, Areas)
    assert asked_area_of(area, repair=True)[0] == polygon([[box(0, 0, 40, 40)]])
    with pytest.raises(InvalidGeometry, match=r"not closed.*repair=true"):
        asked_area_of(area, repair=False)


anything = st.recursive(
    st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-200, 200)),
    lambda each: st.lists(each, max_size=5),
    max_leaves=30,
)
kinds = st.sampled_from(
    ["Polygon", "MultiPolygon", "Point", "LineString", "MultiPoint", "GeometryCollection", "Circle"]
)


@settings(max_examples=120, deadline=None)
@given(kind=kinds, coordinates=anything, repair=st.booleans())
def test_any_geometry_is_a_shape_or_is_refused(kind: str, coordinates: Any, repair: bool) -> None:
    given_ = {"type": kind, "coordinates": coordinates, "geometries": [{"type": "Polygon", "coordinates": coordinates}]}
    try:
        asked_shape_of(decode(given_), Sizes(5.0 if kind == "Point" else None), repair=repair)
    except (msgspec.ValidationError, TrackerError):
        return
