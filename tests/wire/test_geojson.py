"""Geofences as GeoJSON: what is taken, what is refused and where, and that they come back as they were given."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain import globe, scenes
from tests.domain.scenes import box, fence
from tracker.domain.geofence import Geofence
from tracker.domain.shape import Circle, Corridor, Shape, boxes
from tracker.errors import InvalidField
from tracker.wire.geojson import (
    MAX_NAME_LENGTH,
    Feature,
    FeatureCollection,
    FeaturePatch,
    Properties,
    feature_json,
    properties_of,
)
from tracker.wire.geometry import shape_of

SQUARE: dict[str, Any] = {"type": "Polygon", "coordinates": [box(0, 0, 40, 40)]}
POINT: dict[str, Any] = {"type": "Point", "coordinates": [13.4, 52.5]}


def read(geometry: Any, properties: dict[str, Any] | None = None) -> tuple[Shape, Properties, dict[str, Any]]:
    text = msgspec.json.encode({"type": "Feature", "geometry": geometry, "properties": properties})
    feature = msgspec.json.decode(text, type=Feature)
    wishes = properties_of(feature.properties)
    return shape_of(feature.geometry, wishes.known), wishes.known, wishes.own


@settings(max_examples=100, deadline=None)
@given(shape=st.one_of(scenes.shapes, globe.shapes))
def test_a_geofence_comes_back_as_it_was_given(shape: Shape) -> None:
    given_ = Geofence(7, 3, "Depot", shape, "all", 1, ("a", "b"), {"colour": "red", "n": [1, {"x": None}]})
    text = msgspec.json.encode(feature_json(given_))
    feature = msgspec.json.decode(text, type=Feature)
    known, _, _, own, _ = properties_of(feature.properties)

    assert shape_of(feature.geometry, known) == shape
    assert (known.name, known.tags, known.quality) == ("Depot", ["a", "b"], "all")
    assert own == {"colour": "red", "n": [1, {"x": None}], "version": 3}
    assert msgspec.json.decode(text)["id"] == "gf_7"


def test_a_geofence_has_this_form() -> None:
    assert feature_json(fence(5, Circle(13.4, 52.5, 250.0))) == {
        "type": "Feature",
        "id": "gf_5",
        "geometry": {"type": "Point", "coordinates": [13.4, 52.5]},
        "properties": {"name": "fence 5", "tags": [], "quality": "trusted", "version": 1, "radius_m": 250.0},
    }


def test_a_corridor_has_this_form() -> None:
    made = feature_json(fence(6, Corridor(((13.4, 52.5), (13.5, 52.6)), 30.0)))
    assert made["geometry"] == {"type": "LineString", "coordinates": [[13.4, 52.5], [13.5, 52.6]]}
    assert made["properties"]["buffer_m"] == 30.0


def test_our_own_properties_win_over_the_callers() -> None:
    given_ = Geofence(5, 2, "Depot", Circle(0, 0, 1), "trusted", 1, (), {"name": "x", "version": 9, "quality": "?"})
    properties = feature_json(given_)["properties"]
    assert (properties["name"], properties["version"], properties["quality"]) == ("Depot", 2, "trusted")


def test_coordinates_are_not_rounded() -> None:
    shape, _, _ = read({"type": "Point", "coordinates": [13.400000000000002, 52.50000000000001]}, {"radius_m": 0.1})
    assert shape == Circle(13.400000000000002, 52.50000000000001, 0.1)


def test_defaults_are_the_ordinary_geofence() -> None:
    cases: list[dict[str, Any] | None] = [None, {}]
    for properties in cases:
        _, known, own = read(SQUARE, properties)
        assert (known.name, known.tags, known.quality, known.radius_m, own) == ("", [], "trusted", None, {})


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(number: str) -> None:
    for text in (
        f'{{"type":"Feature","geometry":{{"type":"Point","coordinates":[0,{number}]}}}}',
        f'{{"type":"Feature","properties":{{"radius_m":{number}}}}}',
    ):
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(text, type=Feature)


@pytest.mark.parametrize("part", ["geometry", "properties", "bbox"])
def test_nesting_kills_nobody(part: str) -> None:
    deep = "[" * 200_000 + "]" * 200_000
    for text in (
        f'{{"type":"Feature","{part}":{deep}}}',
        f'{{"type":"Feature","{part}":{{"coordinates":{deep}}}}}',
        deep,
    ):
        with pytest.raises((msgspec.DecodeError, RecursionError)):
            msgspec.json.decode(text, type=Feature)


@pytest.mark.parametrize(
    ("properties", "field"),
    [
        ({"name": 5}, "properties.name"),
        ({"name": None}, "properties.name"),
        ({"name": "x" * (MAX_NAME_LENGTH + 1)}, "properties.name"),
        ({"name": "a\x00b"}, "properties.name"),
        ({"tags": "bus"}, "properties.tags"),
        ({"tags": [""]}, "properties.tags"),
        ({"tags": ["x" * 101]}, "properties.tags"),
        ({"tags": ["x"] * 51}, "properties.tags"),
        ({"tags": ["\x00"]}, "properties.tags"),
        ({"tags": [5]}, "properties.tags[0]"),
        ({"quality": "good"}, "properties.quality"),
        ({"quality": None}, "properties.quality"),
        ({"radius_m": "5"}, "properties.radius_m"),
        ({"radius_m": True}, "properties.radius_m"),
        ({"radius_m": 5}, "properties.radius_m"),  # on a polygon
        ({"buffer_m": 5}, "properties.buffer_m"),
        ({"note": "x" * 20_000}, "properties"),
        ({"note": "\x00"}, "properties"),
        ({"no\x00te": 1}, "properties"),
    ],
)
def test_a_property_that_cannot_be_is_refused_by_its_name(properties: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        read(SQUARE, properties)
    assert refused.value.field == field
    assert "\x00" not in refused.value.message


def test_foreign_members_are_not_looked_at() -> None:
    text = (
        '{"type":"Feature","id":5,"bbox":[1],"crs":{},"geometry":'
        '{"type":"Polygon","bbox":"?","coordinates":[[[0,0,7],[1,0,7],[1,1,7],[0,0,7]]]}}'
    )
    feature = msgspec.json.decode(text, type=Feature)
    assert boxes(shape_of(feature.geometry, Properties())) == [(0, 0, 1, 1)]


def test_a_collection_is_a_list_of_features() -> None:
    text = '{"type":"FeatureCollection","features":[{"type":"Feature"},{"type":"Feature"}]}'
    assert len(msgspec.json.decode(text, type=FeatureCollection).features) == 2
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode('{"type":"Feature","features":[]}', type=FeatureCollection)


def test_a_feature_is_a_patch_too() -> None:
    patch = msgspec.json.decode(b'{"type":"Feature","properties":{"name":"x"}}', type=FeaturePatch)
    assert (patch.geometry, patch.properties) == (msgspec.UNSET, {"name": "x"})
    assert msgspec.json.decode(b'{"geometry":null}', type=FeaturePatch).geometry is None
