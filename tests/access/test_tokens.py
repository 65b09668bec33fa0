import asyncio
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tracker.access.attempts import BURST, PER_S, TABLE_SIZE, Attempts
from tracker.access.roles import Kind, Role
from tracker.access.tokens import CACHE_S, CACHE_SIZE, Access
from tracker.errors import Forbidden, NotFound, Unauthenticated
from tracker.store.database import Database


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class CountingDatabase(Database):
    """Counts the look-ups of tokens, and can hold one back."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.lookups = 0
        self.hold: asyncio.Event | None = None
        self.held = asyncio.Event()

    async def row(self, name: str, *args: Any) -> Any:
        found = await super().row(name, *args)
        if name == "token_by_hash":
            self.lookups += 1
            if self.hold is not None:
                self.held.set()
                await self.hold.wait()
        return found


@pytest_asyncio.fixture
async def store(database: str) -> Any:
    store = CountingDatabase(database)
    await store.open()
    yield store
    await store.close()


async def test_a_token_is_looked_up_once_and_known_from_then_on(store: CountingDatabase) -> None:
    access = Access(store)
    number, secret = await access.create_token("t", "api", Role.DISPATCHER)
    for _ in range(3):
        caller = await access.caller(secret)
        assert (caller.kind, caller.role, caller.token_id, caller.name) == (
            Kind.API_TOKEN,
            Role.DISPATCHER,
            number,
            "t",
        )
    assert store.lookups == 1


async def test_what_another_server_revoked_is_noticed_soon(
    store: CountingDatabase, connection: asyncpg.Connection
) -> None:
    clock = Clock()
    access = Access(store, clock=clock)
    _, secret = await access.create_token("t", "api", Role.VIEWER)
    await access.caller(secret)
    await connection.execute("UPDATE token SET revoked_at = now()")
    await access.caller(secret)
    clock.now += CACHE_S
    with pytest.raises(Unauthenticated):
        await access.caller(secret)


async def test_a_token_that_is_revoked_while_it_is_looked_up_is_not_let_in(store: CountingDatabase) -> None:
    access = Access(store)
    number, secret = await access.create_token("t", "gateway", None)
    store.hold = asyncio.Event()
    looking = asyncio.create_task(access.device_token(secret), name="look-up")
    await store.held.wait()
    await access.revoke(number)
    store.hold.set()
    with pytest.raises(Unauthenticated):
        await looking
    with pytest.raises(Unauthenticated):
        await access.device_token(secret)


async def test_the_end_of_a_token_is_told_to_all_who_listen(store: CountingDatabase) -> None:
    access = Access(store)
    ended: list[int] = []
    access.on_revoked(ended.append)
    access.on_revoked(ended.append)
    number, _ = await access.create_token("t", "gateway", None)
    await access.revoke(number)
    assert ended == [number, number]
    with pytest.raises(NotFound):
        await access.revoke(number)
    assert ended == [number] * 4  # told again: the first answer may have been lost


async def test_an_api_token_does_not_send_and_a_gateway_does_not_sign_in(store: CountingDatabase) -> None:
    access = Access(store, admin_token="preset-token-of-this-test")
    _, api = await access.create_token("t", "api", Role.ADMIN)
    _, gateway = await access.create_token("g", "gateway", None)
    for secret in (api, "preset-token-of-this-test"):
        with pytest.raises(Forbidden):
            await access.device_token(secret)
    with pytest.raises(Forbidden):
        await access.sign_in(gateway)


async def test_the_cache_is_bounded(store: CountingDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CACHE_SIZE == 10_000
    monkeypatch.setattr("tracker.access.tokens.CACHE_SIZE", 3)
    access = Access(store)
    secrets = [(await access.create_token(str(i), "api", Role.VIEWER))[1] for i in range(5)]
    for secret in secrets:
        await access.caller(secret)
    assert len(access._cache) == 3
    await access.caller(secrets[4])
    assert store.lookups == 5
    await access.caller(secrets[0])
    assert store.lookups == 6


async def test_a_server_has_an_admin_once_one_was_made(store: CountingDatabase) -> None:
    assert await Access(store, admin_token="preset-token-of-this-test").has_admin()
    access = Access(store)
    assert not await access.has_admin()
    await access.create_token("viewer", "api", Role.VIEWER)
    assert not await access.has_admin()
    number, _ = await access.create_token("admin", "api", Role.ADMIN)
    assert await access.has_admin()
    await access.revoke(number)
    assert not await access.has_admin()


def test_an_address_that_fails_waits_and_recovers() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(BURST):
        assert attempts.wait_s("a") == 0
        attempts.failed("a")
    assert attempts.wait_s("a") == pytest.approx(1 / PER_S)
    assert attempts.wait_s("b") == 0
    clock.now += 1 / PER_S
    assert attempts.wait_s("a") == pytest.approx(0, abs=1e-6)


def test_the_table_of_failures_is_bounded() -> None:
    attempts = Attempts(Clock())
    for number in range(TABLE_SIZE + 10):
        attempts.failed(str(number))
    assert len(attempts._failures) == TABLE_SIZE
    assert "0" not in attempts._failures
