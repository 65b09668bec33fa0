"""What is durable of when devices were heard of, and what was told of it last."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tracker.domain.batch import Ints
from tracker.domain.reachability import ENDINGS, NAMES
from tracker.store.copy import rows_of, time_ms_of, tuple_dtype
from tracker.store.database import Connection, translated
from tracker.store.newest import NOTHING_HEARD, Heard
from tracker.store.rows import copied
from tracker.store.sql import sql

_STATUS: Final = tuple_dtype([("device", ">i4"), ("at", ">i8")])
_TOLD: Final = tuple_dtype(
    [*((name, ">i4") for name in ("asset", "device", "state", "ending")), ("since", ">i8"), ("heard", ">i8")]
)
_ENDINGS: Final = tuple(sorted(ENDINGS))
_NUMBERS: Final = ("asset", "device", "state", "since_ms", "heard_ms")


@dataclass(frozen=True, slots=True)
class Traces:
    """What devices left of themselves: fixes, and when each said last how it is; reasons: of those that gave one."""

    fixes: Heard = NOTHING_HEARD
    device: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    status_ms: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    reasons: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """What the world was told last of an asset, by its active device then."""

    asset: int
    device: int
    state: int
    reason: str | None
    since_ms: int
    heard_ms: int


@dataclass(frozen=True, slots=True)
class Tellings:
    """The same of many assets, as columns. ending: which of ENDINGS the reason is, None for another or none."""

    asset: Ints
    device: Ints
    state: Ints
    since_ms: Ints
    heard_ms: Ints
    ending: Sequence[str | None]

    @classmethod
    def of(cls, tellings: Sequence[Told]) -> "Tellings":
        columns = {name: np.array([getattr(each, name) for each in tellings], np.int64) for name in _NUMBERS}
        return cls(**columns, ending=[each.reason if each.reason in ENDINGS else None for each in tellings])

    def take(self, rows: Ints) -> "Tellings":
        """Those of these rows."""
        columns = {name: getattr(self, name)[rows] for name in _NUMBERS}
        return Tellings(**columns, ending=[self.ending[row] for row in rows.tolist()])


async def traces(connection: Connection, fixes: Heard) -> Traces:
    """Of all devices."""
    with translated():
        rows = rows_of(await copied(connection, "load_statuses"), _STATUS)
        reasons = {row["id"]: row["reason"] for row in await connection.fetch(sql("load_reasons"))}
    return Traces(fixes, rows["device"].astype(np.int64), time_ms_of(rows["at"]), reasons)


async def told(connection: Connection) -> Tellings:
    """Of all assets of which anything was told."""
    with translated():
        rows = rows_of(await copied(connection, "load_reachability", NAMES, _ENDINGS), _TOLD)
    endings = [None, *_ENDINGS]
    return Tellings(
        rows["asset"].astype(np.int64),
        rows["device"].astype(np.int64),
        rows["state"].astype(np.int64) - 1,  # places in SQL begin at 1
        time_ms_of(rows["since"]),
        time_ms_of(rows["heard"]),
        [endings[nth] for nth in rows["ending"].tolist()],
    )


async def record(connection: Connection, tellings: Sequence[Told]) -> None:
    """What is told now, within the caller's transaction."""
    columns = zip(
        *[(each.asset, each.device, NAMES[each.state], each.reason, each.since_ms, each.heard_ms) for each in tellings],
        strict=True,
    )
    await connection.execute(sql("record_reachability"), *columns)
