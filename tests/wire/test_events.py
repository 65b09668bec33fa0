"""The one form of an event."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec

from tracker.wire.events import event_of

ROW: dict[str, Any] = {
    "id": 17,
    "type": "geofence.enter",
    "status": "live",
    "asset": 3,
    "asset_name": "Van 3",
    "geofence": 5,
    "geofence_name": "Depot",
    "geofence_version": 2,
    "device": 9,
    "batch": 44,
    "fix_time": datetime(2026, 1, 31, 12, 0, 0, 7_000, tzinfo=UTC),
    "recorded_at": datetime(2026, 1, 31, 14, 0, 1, tzinfo=timezone(timedelta(hours=2))),
    "lon": 134_000_001,
    "lat": -900_000_000,
    "initial": False,
    "cause": None,
    "revises": None,
    "crossed_at": None,
    "crossed_lon": None,
    "crossed_lat": None,
}


def shown(**changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(event_of({**ROW, **changes})))
    return value


def test_an_ordinary_event_shows_what_is_known_and_nothing_else() -> None:
    assert shown() == {
        "id": "evt_17",
        "type": "geofence.enter",
        "status": "live",
        "asset": {"id": "ast_3", "name": "Van 3"},
        "geofence": {"id": "gf_5", "name": "Depot"},
        "fix_time": "2026-01-31T12:00:00.007Z",
        "recorded_at": "2026-01-31T12:00:01.000Z",
        "lon": 13.4000001,
        "lat": -90.0,
    }


def test_what_is_special_is_shown_too() -> None:
    special = shown(
        initial=True,
        cause="fence_changed",
        revises=16,
        crossed_at=ROW["fix_time"] - timedelta(seconds=1),
        status="revised",
    )
    assert special["initial"] is True
    assert special["cause"] == "fence_changed"
    assert special["revises"] == "evt_16"
    assert special["crossed_at"] == "2026-01-31T11:59:59.007Z"
    assert special["status"] == "revised"


def test_an_event_may_be_without_geofence_and_place() -> None:
    bare = shown(geofence=None, geofence_name=None, lon=None, lat=None)
    assert not {"geofence", "lon", "lat"} & bare.keys()
    assert shown(lon=0, lat=0)["lon"] == 0.0
