"""What is durable of when devices were heard of, and what was told of it last."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tracker.domain.reachability import NAMES, UNHEARD, WARNINGS
from tracker.store.database import Connection, Database, translated
from tracker.store.sql import sql
from tracker.wire.times import to_ms


@dataclass(frozen=True, slots=True)
class Trace:
    """What a device left of itself. fix_ms is its newest fix's own time, for want of when it came."""

    device: int
    reason: str | None
    status_ms: int | None
    recorded_ms: int | None
    fix_ms: int | None

    @property
    def exact_ms(self) -> int:
        """When it was heard of last by the server's clock."""
        return max((each for each in (self.status_ms, self.recorded_ms) if each is not None), default=UNHEARD)

    @property
    def reason_stands(self) -> bool:
        """Whether no fix came after the reason that it gave."""
        if self.reason is None or self.status_ms is None:
            return False
        return self.reason in WARNINGS or self.status_ms >= max(self.recorded_ms or UNHEARD, self.fix_ms or UNHEARD)


@dataclass(frozen=True, slots=True)
class Told:
    """What the world was told last of an asset, by its active device then."""

    asset: int
    device: int
    state: int
    reason: str | None
    since_ms: int
    heard_ms: int


async def traces(database: Database) -> list[Trace]:
    """Of all devices."""
    return [
        Trace(row["id"], row["reason"] or None, _ms(row["status_at"]), _ms(row["recorded_at"]), _ms(row["fix_time"]))
        for row in await database.rows("load_contacts")
    ]


async def told(connection: Connection) -> list[Told]:
    """Of all assets of which anything was told."""
    with translated():
        rows = await connection.fetch(sql("load_reachability"))
    return [
        Told(
            row["asset"],
            row["device"],
            NAMES.index(row["state"]),
            row["reason"],
            to_ms(row["since"]),
            to_ms(row["heard_at"]),
        )
        for row in rows
    ]


async def record(connection: Connection, tellings: Sequence[Told]) -> None:
    """What is told now, within the caller's transaction."""
    columns: Any = zip(
        *[(each.asset, each.device, NAMES[each.state], each.reason, each.since_ms, each.heard_ms) for each in tellings],
        strict=True,
    )
    await connection.execute(sql("record_reachability"), *columns)


def _ms(when: datetime | None) -> int | None:
    return None if when is None else to_ms(when)
