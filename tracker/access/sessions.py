"""Sessions of browsers and the links that start them, as they stand in the tables. Only `Access` calls this."""

from datetime import UTC, datetime, timedelta
from typing import Final

from tracker.access.credentials import hash_of, new_secret
from tracker.access.roles import Caller, Role
from tracker.store.database import Database
from tracker.store.sql import sql

SESSION_LIFE: Final = timedelta(days=30)
LINK_LIFE: Final = timedelta(hours=24)
LINK_PATH: Final = "/sign-in/"


async def start(database: Database, hashed: bytes, caller: Caller, role: Role) -> None:
    """A session of the caller, which ends with the caller's token."""
    expires_at = datetime.now(UTC) + SESSION_LIFE
    await database.execute(
        "add_session", hashed, caller.account_id, caller.name, role.label, caller.token_id, expires_at
    )


async def add_link(database: Database, name: str, role: Role, account_id: int | None) -> str:
    """The path of a link that starts one session."""
    code = new_secret()
    await database.execute(
        "add_sign_in_code", hash_of(code), account_id, name, role.label, datetime.now(UTC) + LINK_LIFE
    )
    return LINK_PATH + code


async def redeem(database: Database, code: str) -> str | None:
    """Spends a code for a session, both in one transaction; None when there is nothing to spend."""
    cookie = new_secret()
    async with database.transaction() as connection:
        row = await connection.fetchrow(sql("use_sign_in_code"), hash_of(code))
        if row is None:
            return None
        expires_at = datetime.now(UTC) + SESSION_LIFE
        await connection.execute(
            sql("add_session"), hash_of(cookie), row["account"], row["name"], row["role"], None, expires_at
        )
    return cookie
