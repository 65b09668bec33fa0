import shapely
from shapely.geometry import shape

from tracker.fleet.areas import areas
from tracker.fleet.roster import roster


def test_every_area_is_a_valid_feature_with_a_name_of_its_own() -> None:
    features = areas()
    assert len({feature["properties"]["name"] for feature in features}) == len(features)
    for feature in features:
        geometry = shape(feature["geometry"])
        assert geometry.is_valid
        assert geometry.geom_type == "Polygon" or feature["properties"]["radius_m"] > 0


def test_couriers_come_and_go_in_the_downtown_areas() -> None:
    downtown = [shape(f["geometry"]) for f in areas() if f["geometry"]["type"] == "Polygon"]
    tree = shapely.STRtree(downtown)
    visited: set[int] = set()
    for member in roster(20, 1)[:20]:
        truths = [member.mover.at(1_790_000_000.0 + 20 * i) for i in range(180)]
        points = shapely.points([(truth.lon, truth.lat) for truth in truths])
        visited.update(tree.query(points, predicate="intersects")[1].tolist())
    assert len(visited) >= 8
