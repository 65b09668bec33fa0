"""Accounts: the people who sign in. Whoever changes one ends what it no longer may do, through `Access`."""

from collections.abc import Mapping
from typing import Any

from tracker.access.roles import Role
from tracker.access.tokens import Access
from tracker.errors import NotFound
from tracker.store.database import Database
from tracker.wire import ids

Row = Mapping[str, Any]


class Accounts:
    """The table `account`."""

    def __init__(self, database: Database, access: Access) -> None:
        self._database = database
        self._access = access

    async def list(self, after: int, limit: int) -> list[Row]:
        rows: list[Row] = await self._database.rows("list_accounts", after, limit)
        return rows

    async def show(self, account_id: int) -> Row:
        return _found(await self._database.row("account_by_id", account_id), account_id)

    async def create(self, name: str, role: Role) -> tuple[Row, str]:
        """The account and the path of its first sign-in link."""
        row = _found(await self._database.row("add_account", name, role.label), 0)
        return row, await self.link(row["id"])

    async def change(self, account_id: int, name: str | None, role: Role | None) -> Row:
        """None leaves a field as it is. Open sessions have the new role from their next request on."""
        row: Row | None = await self._database.row("change_account", account_id, name, role.label if role else None)
        self._access.ended()
        return _found(row, account_id)

    async def link(self, account_id: int) -> str:
        """The path of a new sign-in link."""
        row = await self.show(account_id)
        return await self._access.sign_in_link(row["name"], Role.of(row["role"]), account_id)

    async def delete(self, account_id: int) -> None:
        """Ends its sessions, tokens and links."""
        row: Row | None = await self._database.row("delete_account", account_id)
        self._access.ended(row["tokens"] if row else (), row["sessions"] if row else ())
        _found(row, account_id)


def _found(row: Row | None, account_id: int) -> Row:
    if row is None:
        raise NotFound(f"There is no user {ids.public_id(ids.ACCOUNT, account_id)}.")
    return row
