"""A writer, a reviser and a filer that live through a world on real tables, and what they should know in the end."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from tests.domain import reference
from tests.domain.engine import NAME, differences, doubted
from tests.domain.reference import FixRow, TagsChange, Told, Version
from tests.domain.worlds import Batch, Deleted, Timetable
from tests.pipeline.node import Node
from tests.pipeline.world import Socket
from tests.store.batches import clear, make_fleet
from tracker.domain.batch import DEGREE, UNKNOWN_INT16, UNKNOWN_INT32
from tracker.domain.fix import OLDEST_MS, Flag
from tracker.domain.presence import AssetState, LastFix, Presence, SightState
from tracker.pipeline.assets import retag
from tracker.pipeline.fences import Draft, create, delete, replace_fence
from tracker.pipeline.record import KINDS
from tracker.pipeline.review import catch_up, review
from tracker.pipeline.revise import Reviser
from tracker.pipeline.stretch import LAST_MS
from tracker.store import fixes
from tracker.store.database import connect
from tracker.store.fleet import FleetStore
from tracker.store.snapshot import load
from tracker.wire import ids
from tracker.wire.rules import rule_of
from tracker.wire.times import to_datetime, to_ms

ASSETS: Final = 2
SLOWER: Final = 6  # than in the worlds, as no calendar has occurrences of under a minute
POOR: Final = int(Flag.POOR_ACCURACY)
STANDBY: Final = int(Flag.STANDBY)

Chore = Literal["revise", "file", "restart"]


@dataclass(frozen=True)
class Race:
    """A batch that is stored while its assets are judged again. Of an odd number: it is noticed before the end."""

    batch: Batch


@dataclass(frozen=True)
class Moved:
    """What is judged again while the filer moves the fixes: before it says that they are moved."""


Step: TypeAlias = Batch | Version | TagsChange | Deleted | Race | Moved | Chore


def slower(hours: Timetable) -> Timetable:
    """At least a minute long, and apart."""
    spans = [(begin * SLOWER, max(end * SLOWER, begin * SLOWER + 60_000)) for begin, end in hours.intervals]
    return Timetable(tuple(spans))


def calendar(hours: Timetable) -> dict[str, str]:
    def text(ms: int) -> str:
        return to_datetime(ms).strftime("%Y%m%dT%H%M%SZ")

    events = [
        f"BEGIN:VEVENT\r\nUID:{i}\r\nDTSTART:{text(begin)}\r\nDTEND:{text(end)}\r\nEND:VEVENT\r\n"
        for i, (begin, end) in enumerate(hours.intervals)
    ]
    return {"ical": "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n" + "".join(events) + "END:VCALENDAR\r\n"}


def options_of(version: Version) -> dict[str, Any]:
    """As a geofence's properties give them."""
    plain = Version(0, 0, 0, None)
    names = ("edge", "exit_margin_m", "confirm_fixes", "confirm_s", "dwell_after_s", "cross", "max_gap_s", "alt_min_m")
    names += ("alt_max_m", "absence", "speed_limit_mps", "over_for_s")  # type: ignore[assignment]
    found = {name: getattr(version, name) for name in names if getattr(version, name) != getattr(plain, name)}
    if version.schedule is not None:
        found["schedule"] = calendar(version.schedule)  # type: ignore[arg-type]
    if version.tags or version.ids:
        assets = [ids.public_id(ids.ASSET, number) for number in sorted(version.ids)]
        found["assets"] = {"tags": sorted(version.tags), "ids": assets}
    return found


def slowly(version: Version) -> Version:
    schedule = None if version.schedule is None else slower(version.schedule)  # type: ignore[arg-type]
    return replace(
        version,
        schedule=schedule,
        confirm_s=version.confirm_s * SLOWER,
        dwell_after_s=None if version.dwell_after_s is None else version.dwell_after_s * SLOWER,
        max_gap_s=version.max_gap_s * SLOWER,
        over_for_s=version.over_for_s * SLOWER,
    )


def frame(fixes_: Iterable[FixRow]) -> bytes:
    def of(fix: FixRow) -> dict[str, Any]:
        said: dict[str, Any] = {
            "lon": fix.lon / DEGREE,
            "lat": fix.lat / DEGREE,
            "time": fix.time_ms * SLOWER,
        }
        for name, unit, per in (("alt", "alt_m", 10), ("speed", "speed_mps", 100), ("course", "course_deg", 10)):
            if getattr(fix, name) is not None:
                said[unit] = getattr(fix, name) / per
        accuracy = 20_000 if fix.flags & POOR else fix.accuracy
        if accuracy is not None:
            said["accuracy_m"] = accuracy / 10
        return said

    return json.dumps({"type": "fixes", "fixes": [of(fix) for fix in fixes_]}).encode()


class History:
    """One database through many worlds."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.node: Node | None = None
        self.versions: list[Version] = []
        self.numbers: dict[int, int] = {}  # of the geofences in the tables
        self.tags: list[TagsChange] = []
        self.deleted: dict[int, int] = {}
        self.unsettled: set[int] = set()  # deleted while something was late
        self.revised: set[int] = set()

    async def prepare(self) -> None:
        """Two assets with two devices each, of which the first is the active one."""
        self.connection = await connect(self.url)
        await make_fleet(self.connection, assets=ASSETS, devices=2 * ASSETS, streams=0)
        await self.connection.execute("UPDATE asset SET active_device = id")

    async def close(self) -> None:
        await self.stop()
        await self.connection.close()

    async def live(self, steps: Iterable[Step], at_end: Step = "revise") -> None:
        await self.begin()
        for step in steps:
            await self.step(step)
            await self.check_always()
        await self.step(at_end)
        await self.check_always()

    async def begin(self) -> None:
        await clear(self.connection)
        await self.connection.execute(
            "DELETE FROM doubt; DELETE FROM late; DELETE FROM checkpoint; DELETE FROM standing; DELETE FROM turning;"
            "DELETE FROM asset_tags; DELETE FROM geofence_version; DELETE FROM geofence; UPDATE asset SET tags = '{}'"
        )
        self.versions, self.tags = [], [TagsChange(asset, 0, frozenset()) for asset in range(1, ASSETS + 1)]
        self.numbers, self.deleted, self.unsettled = {}, {}, set()
        await self.start()

    async def start(self) -> None:
        """Also anew, as after a crash: who writes knows what is durable, and nothing else."""
        if self.node is None:
            self.node = Node(self.url)
            await self.node.start()
        else:
            await self.give_up()
            await self.node.restart()
        self.writer = self.node.writer
        self.reviser = Reviser(self.node.database, self.writer)
        self.sockets: dict[int, Socket] = {}
        for device in range(1, 2 * ASSETS + 1):
            socket = self.sockets[device] = Socket()
            await self.node.open(socket, f"s{device}", device)

    async def give_up(self) -> None:
        """As a reviser does when it is stopped."""
        under_way = list(self.reviser._beside.values())
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def stop(self) -> None:
        if self.node is not None:
            await self.give_up()
            await self.node.stop()
        self.node = None

    # Steps

    async def step(self, step: Step) -> None:
        node = self.node
        assert node is not None
        if isinstance(step, Batch):
            await self.batch(step)
        elif isinstance(step, Race):
            await self.race(step.batch)
        elif isinstance(step, Moved):
            await self.judge_moved()
        elif isinstance(step, TagsChange):
            await self.retag(step)
        elif isinstance(step, Version):
            await self.change(slowly(step))
        elif isinstance(step, Deleted):
            if self.reviser.waiting:
                self.unsettled.add(step.fence)
            self.deleted[step.fence] = self.writer.batch + 1
            await delete(self.writer, self.numbers[step.fence])
        elif step == "revise":
            await self.revise()
        elif step == "file":
            await node.file()
        else:
            await self.start()

    async def batch(self, batch: Batch) -> None:
        """All of it in one commit; a device on standby sends what has that flag."""
        for device in range(1, 2 * ASSETS + 1):
            asset, standby = (device - 1) % ASSETS + 1, device > ASSETS
            mine = [fix for fix in batch.fixes if fix.asset == asset and bool(fix.flags & STANDBY) == standby]
            if mine:
                self.writer.intake.put(self.sockets[device].source, frame(mine))
        for socket in self.sockets.values():
            await socket.source.quiet()

    async def race(self, batch: Batch) -> None:
        """The batch comes after all was read and judged again, and before that is applied."""
        node = self.node
        assert node is not None
        chosen = sorted(self.reviser._due())
        self.writer.late.difference_update(chosen)
        reviews = [await review(node.database, self.writer, asset, self.reviser._tell) for asset in chosen]
        found = [each for each in reviews if each is not None]
        await self.batch(batch)
        for each in found:
            if each.at_end and batch.number % 2:  # as a review does that took long
                async with node.database.connection() as connection:
                    await catch_up(connection, self.writer, each, self.writer.committed)
        self.reviser._found += found
        await self.reviser._correct_all()

    async def revise(self) -> None:
        for _ in range(50):
            if not self.reviser.waiting:
                return
            if self.reviser._beside:
                await asyncio.wait(self.reviser._beside.values())
            await self.reviser._turn()
        raise AssertionError("it is late for ever")

    async def judge_moved(self) -> None:
        """The filer has moved all fixes but not said so yet."""
        node = self.node
        assert node is not None
        async with node.filer._ready().transaction(), asyncio.timeout(60):
            await node.filer.file_due(at_fixes=0)
            while self.reviser._due():  # what is found is held up, also of those that are late again
                await self.reviser._turn()
                await asyncio.sleep(0)

    async def change(self, version: Version) -> None:
        options = options_of(version)
        named = f"fence {version.fence}", version.shape, version.quality
        draft = Draft(*named, rule=rule_of(options), options=options)
        since = self.writer.batch + 1
        if version.version == 1:
            (made,) = await create(self.writer, [draft])
            self.numbers[version.fence] = made.id
        else:
            made = await replace_fence(self.writer, self.numbers[version.fence], lambda _: draft)
            if made.version == max(v.version for v in self.versions if v.fence == version.fence):
                return  # it says the same
        before = [
            replace(v, to_batch=since) if v.fence == version.fence and v.to_batch is None else v for v in self.versions
        ]
        self.versions = [*before, replace(version, version=made.version, from_batch=since)]

    async def retag(self, change: TagsChange) -> None:
        known = self.writer.fleet.assets[change.asset]
        if known.tags == change.tags:
            return
        self.tags.append(replace(change, from_batch=self.writer.batch + 1))
        store = FleetStore(self.node.database, self.writer.fleet, tokens_ended=lambda _: None)  # type: ignore[union-attr]
        tags = sorted(change.tags)
        await retag(
            self.writer,
            change.asset,
            tags,
            lambda connection, within: store.change_asset(
                change.asset, None, tags, None, None, None, connection=connection, within=within
            ),
        )

    # Checks

    async def check_always(self) -> None:
        """At most one open visit; nothing is corrected twice; what is corrected stood."""
        odd = await self.connection.fetch(
            "SELECT 'open twice' AS fault, asset, geofence FROM visit WHERE exit_event IS NULL"
            " GROUP BY asset, geofence HAVING count(*) > 1"
            " UNION ALL SELECT 'corrected what did not stand', e.id, e.revises FROM event e"
            " LEFT JOIN event o ON o.id = e.revises WHERE e.revises IS NOT NULL"
            " AND (o.id IS NULL OR o.id >= e.id OR o.status = 'retracted'"
            " OR (o.asset, o.geofence, o.type) <> (e.asset, e.geofence, e.type)"
            " OR EXISTS (SELECT FROM event t WHERE t.revises = e.revises AND t.id <> e.id))"
            " UNION ALL SELECT 'corrects nothing', id, revises FROM event"
            " WHERE (status IN ('revised', 'retracted')) <> (revises IS NOT NULL)"
        )
        assert not odd, odd

    async def stored(self) -> list[FixRow]:
        found = []
        for asset in range(1, ASSETS + 1):
            stored = await fixes.read(self.connection, asset, OLDEST_MS, LAST_MS)
            columns, names = stored.columns, ("time_ms", "lon", "lat", "alt", "speed", "course", "accuracy", "flags")
            for row in range(len(stored)):
                values = {name: int(getattr(columns, name)[row]) for name in names}
                known = {n: None if v in {UNKNOWN_INT16, UNKNOWN_INT32} else v for n, v in values.items()}
                found.append(FixRow(**known, batch=int(stored.batch[row]), asset=asset))  # type: ignore[arg-type]
            self.doubts = stored.doubt
        return found

    async def faults(self) -> list[str]:
        """All in which the tables and the writer differ from the definition."""
        stored = await self.stored()
        whole = doubted(stored)
        given = [(whole, [each for each in self.versions if each.fence not in self.deleted])]
        for fence, batch in self.deleted.items():  # final: what is stored later puts nothing in doubt, either
            before = doubted([fix for fix in stored if fix.batch < batch])
            given.append((before, [each for each in self.versions if each.fence == fence]))
        skip = {self.numbers[fence] for fence in self.unsettled}
        found_events = [each for one in given for each in reference.events(*one, self.tags, self.deleted)]
        told, wanted = await self.standing(), [self.numbered(each) for each in found_events]
        found = differences(
            [each for each in told if each.fence not in skip], [each for each in wanted if each.fence not in skip]
        )
        visits = {
            (v.asset, self.numbers[v.fence], v.enter_ms, v.exit_ms, v.initial)
            for one in given
            for v in reference.visits(*one, self.tags, self.deleted)
        }
        known = await self.visits()
        found += [f"visit missing {v}" for v in visits - known if v[1] not in skip]
        found += [f"visit wrong   {v}" for v in known - visits if v[1] not in skip]
        found += await self.unlike_a_start()
        doubts = {(f.asset, *f.key, f.flags) for f, own in zip(whole, stored, strict=True) if not own.flags and f.flags}
        rows = await self.connection.fetch("SELECT asset, time, lon, lat, flags FROM doubt")
        kept = {(row[0], to_ms(row[1]), *row[2:]) for row in map(tuple, rows)}
        if kept != doubts:
            found.append(f"doubts {kept - doubts} missing {doubts - kept}")
        stale = await self.connection.fetch(
            "SELECT p.asset, p.t0 FROM piece p WHERE p.trusted_t0 IS DISTINCT FROM (SELECT min(f.fix_time)"
            " FROM position f WHERE f.asset = p.asset AND f.flags = 0 AND f.fix_time BETWEEN p.t0 AND p.t1"
            " AND f.batch = ANY (p.batch))"
        )
        found += [f"piece of asset {asset} from {t0} does not know its first trusted fix" for asset, t0 in stale]
        if await self.connection.fetchval("SELECT count(*) FROM late"):
            found.append("something is late")
        return found

    def numbered(self, told: Told) -> Told:
        return replace(told, fence=self.numbers[told.fence])

    async def standing(self) -> list[Told]:
        rows = await self.connection.fetch(
            "SELECT * FROM event e WHERE status <> 'retracted'"
            " AND NOT EXISTS (SELECT FROM event r WHERE r.revises = e.id)"
        )
        return [
            Told(
                NAME[KINDS[row["type"]]],
                row["asset"],
                row["geofence"],
                row["geofence_version"],
                to_ms(row["fix_time"]),
                row["lon"],
                row["lat"],
                row["initial"],
                row["cause"],
                None if row["crossed_at"] is None else to_ms(row["crossed_at"]),
                row["crossed_lon"],
                row["crossed_lat"],
            )
            for row in rows
        ]

    async def visits(self) -> set[tuple[Any, ...]]:
        rows = await self.connection.fetch("SELECT * FROM visit")
        return {
            (
                row["asset"],
                row["geofence"],
                to_ms(row["enter_time"]),
                None if row["exit_time"] is None else to_ms(row["exit_time"]),
                row["initial"],
            )
            for row in rows
        }

    async def unlike_a_start(self) -> list[str]:
        """Where a start would read what the writer does not know, or know what no start would read."""
        snapshot = await load(self.connection)
        size = len(snapshot.presence.trusted.newest.time_ms)
        known = len(self.writer.presence.trusted.newest.time_ms)
        found = []
        for asset in range(1, ASSETS + 1):
            mine = self.compared(state_of(self.writer.presence, asset, known))
            read = self.compared(state_of(snapshot.presence, asset, size))
            if mine != read:
                found.append(f"asset {asset}: the writer knows {mine}, a start would read {read}")
        return found

    def compared(self, state: AssetState) -> AssetState:
        """As far as it decides anything: of a fix that no geofence of its quality has seen only time and place do."""

        def plain(sight: SightState, quality: str) -> SightState:
            fences = [each for each in self.writer.index.fences.values() if each.quality == quality]
            if sight.newest is None or any(sight.newest.batch >= each.since_batch for each in fences):
                return sight
            return replace(sight, newest=LastFix(*sight.newest.key, 0, 0, 0, 0, 0, sight.newest.seen))

        state = self.writer.chronicle.classified(state)
        return replace(state, trusted=plain(state.trusted, "trusted"), every=plain(state.every, "all"))


def state_of(presence: Presence, asset: int, size: int) -> AssetState:
    return presence.get(asset) if asset < size else AssetState()
