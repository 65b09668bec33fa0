"""Sealed days: whatever is sealed when, nothing is lost, doubled or changed."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.batches import DAY_MS, store_settings
from tests.store.test_filer import TODAY_MS
from tracker.store.packing import PACKED, pack, unpack
from tracker.wire.times import to_datetime

TOMORROW = to_datetime(TODAY_MS + DAY_MS).date()

# Packing -------------------------------------------------------------------------------------------------------------

int32s = st.one_of(st.sampled_from([-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 1]), st.integers(-(2**31), 2**31 - 1))
int16s = st.one_of(st.sampled_from([-(2**15), -(2**15) + 1, 0, 2**15 - 1]), st.integers(-(2**15), 2**15 - 1))
kinds: dict[str, st.SearchStrategy[int]] = {
    **dict.fromkeys(PACKED, int32s),
    "time": st.one_of(st.just(0), st.integers(0, DAY_MS - 1), st.integers(-5, 5)),
    "batch": st.one_of(st.sampled_from([0, 1, 2**62, 2**63 - 1]), st.integers(0, 2**63 - 1), st.integers(7, 90)),
    "course": int16s,
    "flags": int16s,
    "extra": st.integers(0, 3),
}


@st.composite
def columns(draw: st.DrawFn) -> dict[str, list[int]]:
    """Some fixes in any order; of each column few values or many, near each other or anywhere."""
    size = draw(st.integers(1, 12))
    made = {}
    for name, values in kinds.items():
        few = draw(st.lists(values, min_size=1, max_size=3))
        each = draw(st.sampled_from([values, st.sampled_from(few), st.just(few[0])]))
        made[name] = draw(st.lists(each, min_size=size, max_size=size))
    return made


def packed_rows(parts: Sequence[dict[str, list[int]]]) -> tuple[list[tuple[int, bytes]], list[int]]:
    whole = {name: np.array([value for part in parts for value in part[name]], np.int64) for name in PACKED}
    sizes = [len(part["time"]) for part in parts]
    return pack(whole, sizes), sizes


@settings(max_examples=100, deadline=None)
@given(parts=st.lists(columns(), min_size=1, max_size=4))
def test_every_value_comes_back_whatever_it_is(parts: list[dict[str, list[int]]]) -> None:
    packed, sizes = packed_rows(parts)
    found = unpack([data for _, data in packed], sizes)
    for name in PACKED:
        assert found[name].tolist() == [value for part in parts for value in part[name]], name
    assert [-(-length // 8) for length, _ in packed] == [len(data) for _, data in packed]


@settings(store_settings, max_examples=25)
@given(parts=st.lists(columns(), min_size=1, max_size=3))
async def test_sql_reads_the_same_bits(connection: asyncpg.Connection, parts: list[dict[str, list[int]]]) -> None:
    packed, sizes = packed_rows(parts)
    t0 = datetime(2026, 3, 1, tzinfo=UTC)
    for (length, data), size, part in zip(packed, sizes, parts, strict=True):
        rows = await connection.fetch(
            "SELECT *, attributes AS extra FROM unseal($1, $2, $3, ARRAY['1', '2', '3']::jsonb[])",
            *(t0, size, asyncpg.BitString.frombytes(data, length)),
        )
        part = {**part, "time": [t0 + timedelta(milliseconds=ms) for ms in part["time"]]}
        part["extra"] = [str(each) if each else None for each in part["extra"]]
        for name in PACKED:
            assert [row[name] for row in rows] == part[name], name
