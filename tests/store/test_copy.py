"""The binary COPY: what was written is what is read."""

import io

import asyncpg
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.batches import (
    Stored,
    any_time,
    anywhere,
    clear,
    commit,
    expected_positions,
    json_values,
    positions,
    store_settings,
    stored,
)
from tracker.store import copy
from tracker.store.database import prepare_connection
from tracker.store.journal import Journal

KINDS = {"int2": 16, "int4": 32, "int8": 64}


def integers(bits: int) -> st.SearchStrategy[int]:
    high = 2 ** (bits - 1) - 1
    return st.one_of(st.integers(-high - 1, high), st.sampled_from([-high - 1, -1, 0, high]))


documents_or_null = st.one_of(st.none(), json_values.map(msgspec.json.encode))


@store_settings
@given(
    small=st.lists(integers(16), max_size=4),
    middle=st.lists(integers(32), max_size=4),
    large=st.lists(integers(64), max_size=4),
    times=st.lists(any_time, max_size=4),
    documents=st.one_of(st.none(), st.lists(documents_or_null, min_size=1, max_size=4)),
    at=st.one_of(st.none(), any_time),
)
async def test_every_field_comes_back(
    connection: asyncpg.Connection,
    small: list[int],
    middle: list[int],
    large: list[int],
    times: list[int],
    documents: list[bytes | None] | None,
    at: int | None,
) -> None:
    await connection.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS t"
        " (a smallint[], b int[], c bigint[], d timestamptz[], e jsonb[], f timestamptz, g smallint, h int, i bigint)"
    )
    await connection.execute("DELETE FROM t")
    fields = [
        copy.int2_items(np.array([small], np.int16))[0].array(0, len(small)),
        copy.int4_items(np.array([middle], np.int32))[0].array(0, len(middle)),
        copy.int8_items(np.array([large], np.int64))[0].array(0, len(large)),
        copy.time_items(np.array(times, np.int64)).array(0, len(times)),
        copy.NULL if documents is None else copy.jsonb_array(documents),
        copy.timestamp(at),
        *(copy.int2(small[0] if small else 0), copy.int4(len(middle)), copy.int8(len(large))),
    ]
    await written(connection, "t", [fields, fields])
    row = await connection.fetchrow("SELECT a, b, c, e, g, h, i FROM t OFFSET 1")
    values = None if documents is None else [None if each is None else msgspec.json.decode(each) for each in documents]
    assert tuple(row) == (small, middle, large, values, small[0] if small else 0, len(middle), len(large))
    exact = await connection.fetchrow(
        "SELECT ARRAY(SELECT extract(epoch FROM x) * 1000 FROM unnest(d) AS x), extract(epoch FROM f) * 1000 FROM t"
    )
    assert [int(each) for each in exact[0]] == times
    assert (None if exact[1] is None else int(exact[1])) == at


@pytest.fixture(autouse=True)
async def _json(connection: asyncpg.Connection) -> None:
    await prepare_connection(connection)


async def written(connection: asyncpg.Connection, table: str, rows: list[list[bytes]]) -> None:
    data = copy.HEADER + b"".join(map(copy.row, rows)) + copy.TRAILER
    await connection.copy_to_table(table, source=io.BytesIO(data), format="binary")


@store_settings
@given(fixes=st.lists(stored(st.integers(1, 40), any_time, anywhere), max_size=12))
async def test_a_batch_reads_back_as_it_was(connection: asyncpg.Connection, database: str, fixes: list[Stored]) -> None:
    await clear(connection)
    journal = Journal(database)
    journal._connection = connection  # its own would cost a process for each example
    await commit(journal, 7, fixes)

    assert await positions(connection) == expected_positions({7: fixes})
    rows = await connection.fetch("SELECT bucket, n, asset, t0, t1, time FROM journal ORDER BY bucket")
    assert [row["bucket"] for row in rows] == sorted({fix.asset & 15 for fix in fixes})
    for row in rows:
        mine = [fix.asset for fix in fixes if fix.asset & 15 == row["bucket"]]
        assert (row["n"], row["asset"]) == (len(mine), mine), "in the order of the batch"
        assert (row["t0"], row["t1"]) == (min(row["time"]), max(row["time"]))


async def test_positions_have_a_geometry(connection: asyncpg.Connection, database: str) -> None:
    journal = Journal(database)
    journal._connection = connection
    await commit(journal, 1, [Stored(lon=-1_799_999_999, lat=525_000_001)])
    text = await connection.fetchval("SELECT ST_AsEWKT(geom) FROM position")
    assert text == "SRID=4326;POINT(-179.9999999 52.5000001)"
