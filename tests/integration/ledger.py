"""What must be true when a journey is over: each track, event and visit, against what was sent and the oracle."""

import random
from asyncio import TaskGroup
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from aiohttp import ClientSession

from tests.integration import town
from tests.integration.api import Api, Json, ms_of
from tests.integration.link import Device
from tests.integration.oracle import ENTER, EXIT, INITIAL, UNIT, Expected, Fence, Round, Step, events_of


def feature_of(fence: Fence) -> Json:
    properties: Json = {"name": fence.name, "quality": "trusted" if fence.trusted_only else "all"}
    if isinstance(fence, Round):
        properties["radius_m"] = fence.radius_m
    return {"type": "Feature", "geometry": fence.geometry(), "properties": properties}


class Convoy:
    """Cabs with walks through a town, whose fences are there before the first fix."""

    def __init__(self, api: Api, fences: Sequence[Fence]) -> None:
        self.api = api
        self.fences = fences
        self.names: dict[str, str] = {}  # of fences, by id
        self.walks: dict[str, Sequence[Step]] = {}  # by asset
        self.devices: list[Device] = []

    async def make(self, cabs: int, fixes: int, random_: random.Random) -> None:
        body = {"type": "FeatureCollection", "features": [feature_of(fence) for fence in self.fences]}
        made = await self.api.call("POST", "/v1/geofences", body, expect=201)
        self.names = {each["id"]: fence.name for each, fence in zip(made["geofences"], self.fences, strict=True)}
        for number in range(cabs):
            new = await self.api.new_device(f"cab {number}")
            self.walks[new.asset] = walk = town.walk(number, fixes)
            sent = [step.fix() for step in walk]
            per_frame, window = random_.randint(1, 6), random_.randint(1, 3)
            self.devices.append(Device(self.api.url, new.token, sent, f"lane-{number}", per_frame, window))

    @property
    def acked(self) -> int:
        return sum(device.acked for device in self.devices)

    async def drive(self, http: ClientSession) -> None:
        """Until everything is acked."""
        async with TaskGroup() as group:
            for device in self.devices:
                group.create_task(device.run(http), name=device.stream)

    async def check(self) -> list[Json]:
        """Every promise to a device kept, every fix stored once, every event exact; returns the events."""
        assert [device.broken for device in self.devices if device.broken] == []
        assert [device.rejects for device in self.devices if device.rejects] == []
        for asset, walk in self.walks.items():
            track = await self.api.track(asset)
            sent = [(step.time_ms, step.place[0] / UNIT, step.place[1] / UNIT) for step in walk]
            assert [(fix.time_ms, fix.lon, fix.lat) for fix in track] == sent
            assert [bool(fix.flags) for fix in track] == [step.doubted for step in walk]
        events = await self.api.events()
        self._check_events(events)
        return events

    def _check_events(self, events: list[Json]) -> None:
        assert len({event["id"] for event in events}) == len(events)
        by_asset = defaultdict(list)
        for event in events:
            by_asset[event["asset"]["id"]].append(self._expected(event))
        for asset, walk in self.walks.items():
            assert Counter(by_asset[asset]) == Counter(events_of(walk, self.fences))
            for before, after in pairwise(by_asset[asset]):
                exits_first = before.kind == EXIT or after.kind != EXIT
                assert before.time_ms < after.time_ms or (before.time_ms == after.time_ms and exits_first)

    def _expected(self, event: Json) -> Expected:
        kind = EXIT if event["type"] == "geofence.exit" else INITIAL if event.get("initial") else ENTER
        return Expected(ms_of(event["fix_time"]), kind, self.names[event["geofence"]["id"]])

    def last_places(self) -> dict[str, tuple[float, float]]:
        """Where each asset must be now."""
        places = {asset: town.newest_trusted(walk).place for asset, walk in self.walks.items()}
        return {asset: (place[0] / UNIT, place[1] / UNIT) for asset, place in places.items()}


async def check_visits(api: Api, assets: Sequence[str]) -> None:
    """Every enter opened a visit, and the next exit of that asset and fence closed it."""
    for asset in assets:
        expected: dict[str, list[list[Any]]] = defaultdict(list)
        for event in await api.events(f"asset={asset}"):
            of_fence = expected[event["geofence"]["id"]]
            if event["type"] == "geofence.enter":
                of_fence.append([event["fix_time"], None, event.get("initial", False)])
            else:
                of_fence[-1][1] = event["fix_time"]
        got: dict[str, list[list[Any]]] = defaultdict(list)
        for visit in await api.pages(f"/v1/assets/{asset}/visits", "visits"):
            got[visit["geofence"]["id"]].append([visit["enter_time"], visit["exit_time"], visit.get("initial", False)])
        assert got == expected
