"""Changes of the fleet: first the tables, then in the same breath memory, credentials and whoever else must know.

Changes are one at a time. After each, memory becomes what the tables say of the assets and devices that it named,
so that a change whose answer was lost is made good by the next one that names the same object.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from tracker.domain.fleet import DEFAULTS, Asset, Device, Fleet, Thresholds
from tracker.errors import Conflict, InvalidField, NotFound
from tracker.store.database import Connection, Database, connect, translated
from tracker.store.sql import sql
from tracker.wire import ids

FLEET_LOCK: Final = int.from_bytes(b"fleet")
MAX_DEVICE_TOKENS: Final = 2  # enough to change over from one to the next
MAX_WAITING_COMMANDS: Final = 100

Row = Mapping[str, Any]
Within = Callable[[Connection], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class DeviceDraft:
    """A device to be made; asset None: one is made for it, with the same name."""

    name: str
    asset: int | None
    token_hash: bytes


@dataclass(slots=True)
class Change:
    """A change under way: the assets and devices that it names, and the tokens that it ends."""

    connection: Connection
    assets: set[int] = field(default_factory=set)
    devices: set[int] = field(default_factory=set)
    ended_tokens: list[int] = field(default_factory=list)


@asynccontextmanager
async def _lent(connection: Connection) -> AsyncIterator[Connection]:
    with translated():
        yield connection


class FleetStore:
    """The only writer of the tables `asset` and `device`."""

    def __init__(
        self,
        database: Database,
        fleet: Fleet,
        *,
        tokens_ended: Callable[[Sequence[int]], None],
        changed: Callable[[Collection[int], Collection[int]], None] | None = None,
    ) -> None:
        """`changed` is told which assets and devices are new, different or gone; memory is right by then."""
        self.database = database
        self._fleet = fleet
        self._tokens_ended = tokens_ended
        self._changed = changed

    @asynccontextmanager
    async def _changing(self, given: Connection | None = None) -> AsyncIterator[Change]:
        """Over a connection of the pool, or over one that the caller has and does nothing else with meanwhile."""
        async with self.database.connection() if given is None else _lent(given) as connection:
            change = Change(connection)
            async with connection.transaction():
                await connection.execute(sql("fleet_lock"), FLEET_LOCK)
                yield change
                assets = await connection.fetch(sql("reload_assets"), change.assets)
                devices = await connection.fetch(sql("reload_devices"), change.devices)
            # Committed. No await from here on, or a later change could overtake this one in memory.
            self._apply(change, assets, devices)

    def _apply(self, change: Change, assets: Sequence[Row], devices: Sequence[Row]) -> None:
        for row in assets:
            self._fleet.put_asset(asset_of(row))
        for row in devices:
            self._fleet.put_device(Device(row["id"], row["name"], row["asset"], row["config"]))
        for gone in change.assets - {row["id"] for row in assets}:
            self._fleet.remove_asset(gone)
        for gone in change.devices - {row["id"] for row in devices}:
            self._fleet.remove_device(gone)
        if change.ended_tokens:
            self._tokens_ended(change.ended_tokens)
        if self._changed is not None:
            self._changed(change.assets, change.devices)

    # Assets ----------------------------------------------------------------------------------------------------------

    async def asset(self, asset_id: int) -> Row:
        return _found(await self.database.row("asset_by_id", asset_id), ids.ASSET, asset_id)

    async def create_asset(
        self, name: str, tags: list[str], attributes: dict[str, Any], thresholds: Mapping[str, float | None]
    ) -> Row:
        """Thresholds that are left out, or None, are the defaults."""
        async with self._changing() as change:
            made = await change.connection.fetchrow(sql("add_asset"), name, tags, attributes, thresholds)
            change.assets.add(made["id"])
            row: Row = await change.connection.fetchrow(sql("asset_by_id"), made["id"])
        return row

    async def change_asset(
        self,
        asset_id: int,
        name: str | None,
        tags: list[str] | None,
        attributes: dict[str, Any] | None,
        active_device: int | None,
        thresholds: Mapping[str, float | None] | None,
        *,
        connection: Connection | None = None,
        within: Within | None = None,
    ) -> Row:
        """None leaves a field as it is; of the thresholds those that are left out stay, and None is the default.

        Args:
            within: awaited in the same transaction.

        Raises:
            NotFound: there is no such asset.
            InvalidField: active_device is not one of its devices.
        """
        async with self._changing(connection) as change:
            change.assets.add(asset_id)
            row: Row | None = await change.connection.fetchrow(sql("asset_by_id"), asset_id)
            if row is not None:
                if within is not None:
                    await within(change.connection)
                if active_device is not None and active_device not in row["devices"]:
                    raise InvalidField("active_device must be a device of this asset.", field="active_device")
                await change.connection.execute(
                    sql("change_asset"), asset_id, name, tags, attributes, active_device, thresholds
                )
                row = await change.connection.fetchrow(sql("asset_by_id"), asset_id)
        return _found(row, ids.ASSET, asset_id)

    async def delete_asset(
        self,
        asset_id: int,
        *,
        with_devices: bool,
        connection: Connection | None = None,
        within: Within | None = None,
    ) -> None:
        """What was stored of it stays. `within` is awaited in the same transaction.

        Raises:
            NotFound: there is no such asset.
            Conflict: it has devices, and they are not to go with it.
        """
        async with self._changing(connection) as change:
            change.assets.add(asset_id)
            row: Row | None = await change.connection.fetchrow(sql("asset_by_id"), asset_id)
            if row is not None:
                if row["devices"] and not with_devices:
                    raise Conflict(
                        f"The asset has {len(row['devices'])} devices: move or delete them first,"
                        " or add ?devices=true to delete them too."
                    )
                if within is not None:
                    await within(change.connection)
                await change.connection.execute(sql("delete_asset"), asset_id)
                await _delete_devices(change, row["devices"])
        _found(row, ids.ASSET, asset_id)

    # Devices ---------------------------------------------------------------------------------------------------------

    async def device(self, device_id: int) -> Row:
        return _found(await self.database.row("device_by_id", device_id), ids.DEVICE, device_id)

    async def create_devices(self, drafts: Sequence[DeviceDraft]) -> list[Row]:
        """All or none, in order: rows of `id`, `asset`, `asset_name`.

        Raises:
            InvalidField: a draft names an asset that is not there.
        """
        given = {draft.asset for draft in drafts if draft.asset is not None}
        columns = zip(*((draft.name, draft.asset, draft.token_hash) for draft in drafts), strict=True)
        async with self._changing() as change:
            known = {row["id"] for row in await change.connection.fetch(sql("known_assets"), given)} if given else set()
            for index, draft in enumerate(drafts):
                if draft.asset is not None and draft.asset not in known:
                    place = "asset" if len(drafts) == 1 else f"[{index}].asset"
                    raise InvalidField(
                        f"{place}: there is no asset {ids.public_id(ids.ASSET, draft.asset)}.", field=place
                    )
            rows: list[Row] = await change.connection.fetch(sql("add_devices"), *columns)
            if given:
                await change.connection.execute(sql("choose_active_devices"), given)
            change.assets.update(row["asset"] for row in rows)
            change.devices.update(row["id"] for row in rows)
        return rows

    async def change_device(
        self, device_id: int, name: str | None, asset: int | None, config: dict[str, Any] | None
    ) -> Row:
        """None leaves a field as it is. A device that moves takes no history with it.

        Raises:
            NotFound: there is no such device.
            InvalidField: there is no such asset.
        """
        async with self._changing() as change:
            change.devices.add(device_id)
            connection = change.connection
            row: Row | None = await connection.fetchrow(sql("device_by_id"), device_id)
            if row is not None:
                if asset is not None and not await connection.fetch(sql("known_assets"), [asset]):
                    raise InvalidField(f"There is no asset {ids.public_id(ids.ASSET, asset)}.", field="asset")
                await connection.execute(sql("change_device"), device_id, name, asset, config)
                change.assets.update({row["asset"], asset or row["asset"]})
                await connection.execute(sql("choose_active_devices"), change.assets)
                row = await connection.fetchrow(sql("device_by_id"), device_id)
        return _found(row, ids.DEVICE, device_id)

    async def delete_device(self, device_id: int) -> None:
        """Its tokens end with it; what it sent stays.

        Raises:
            NotFound: there is no such device.
        """
        async with self._changing() as change:
            row: Row | None = await change.connection.fetchrow(sql("device_by_id"), device_id)
            # Also when it is gone already: the answer to an earlier try may have been lost on its way here.
            await _delete_devices(change, [device_id])
            if row is not None:
                change.assets.add(row["asset"])
                await change.connection.execute(sql("choose_active_devices"), change.assets)
        _found(row, ids.DEVICE, device_id)

    async def add_device_token(self, device_id: int, token_hash: bytes) -> int:
        """A further token of a device: its number.

        Raises:
            NotFound: there is no such device.
            Conflict: it has two tokens already.
        """
        async with self._changing() as change:
            _found(await change.connection.fetchrow(sql("device_by_id"), device_id), ids.DEVICE, device_id)
            if len(await change.connection.fetch(sql("tokens_of_device"), device_id)) >= MAX_DEVICE_TOKENS:
                raise Conflict(
                    f"The device has {MAX_DEVICE_TOKENS} tokens already; end the older with DELETE /v1/devices/"
                    f"{ids.public_id(ids.DEVICE, device_id)}/token first."
                )
            made: Row = await change.connection.fetchrow(sql("add_device_token"), device_id, token_hash)
        return int(made["id"])

    async def end_older_tokens(self, device_id: int) -> None:
        """Leaves a device its newest token only.

        Raises:
            NotFound: there is no such device.
        """
        async with self._changing() as change:
            _found(await change.connection.fetchrow(sql("device_by_id"), device_id), ids.DEVICE, device_id)
            tokens = [row["id"] for row in await change.connection.fetch(sql("tokens_of_device"), device_id)]
            change.ended_tokens += tokens[:-1]
            await change.connection.execute(sql("revoke_tokens"), change.ended_tokens)

    async def add_command(self, device_id: int, name: str, args: dict[str, Any]) -> int:
        """Stores a command for a device: its number.

        Raises:
            NotFound: there is no such device.
            Conflict: it has not answered 100 earlier ones.
        """
        made: Row | None = await self.database.row("add_command", device_id, name, args, MAX_WAITING_COMMANDS)
        if made is None:
            await self.device(device_id)
            raise Conflict(f"{MAX_WAITING_COMMANDS} commands wait for this device already.")
        return int(made["id"])


def asset_of(row: Row) -> Asset:
    """A row of the table `asset`, as memory has it."""
    return Asset(
        row["id"],
        row["name"],
        frozenset(row["tags"]),
        row["attributes"],
        row["active_device"],
        Thresholds(**row["thresholds"]),
    )


async def restore(fleet: Fleet, url: str) -> None:
    """Make the registry what the tables say, over a connection of its own."""
    connection = await connect(url)
    try:
        with translated():
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                assets, devices = await _load(connection)
    finally:
        await connection.close()
    fleet.assets = {asset.id: asset for asset in assets}
    fleet.devices = {device.id: device for device in devices}
    fleet.version += 1


async def _load(connection: Connection) -> tuple[list[Asset], list[Device]]:
    """All that are there. There may be millions, most of them with tags that others have too and with nothing else."""
    tags = {asset: shared for row in await connection.fetch(sql("load_tags")) for asset, shared in _shared(row)}
    details = {
        row["id"]: (row["attributes"], Thresholds(**row["thresholds"]))
        for row in await connection.fetch(sql("load_details"))
    }
    configs = {row["id"]: row["config"] for row in await connection.fetch(sql("load_configs"))}
    none = frozenset[str]()
    assets = []
    for row in await connection.fetch(sql("load_assets")):
        for number, name, active in zip(row["ids"], row["names"], row["active_devices"], strict=True):
            attributes, thresholds = details.get(number) or ({}, DEFAULTS)
            assets.append(Asset(number, name, tags.get(number, none), attributes, active, thresholds))
    devices = [
        Device(number, name, asset, configs.get(number) or {})
        for row in await connection.fetch(sql("load_devices"))
        for number, name, asset in zip(row["ids"], row["names"], row["assets"], strict=True)
    ]
    return assets, devices


def _shared(row: Row) -> Iterator[tuple[int, frozenset[str]]]:
    shared = frozenset(row["tags"])
    return ((asset, shared) for asset in row["ids"])


async def _delete_devices(change: Change, device_ids: Sequence[int]) -> None:
    change.devices.update(device_ids)
    rows: list[Row] = await change.connection.fetch(sql("delete_devices"), device_ids)
    change.ended_tokens += [row["id"] for row in rows]


def _found(row: Row | None, kind: str, number: int) -> Row:
    if row is None:
        what = {ids.ASSET: "asset", ids.DEVICE: "device"}[kind]
        raise NotFound(f"There is no {what} {ids.public_id(kind, number)}.")
    return row
