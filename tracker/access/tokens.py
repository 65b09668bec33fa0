"""What a secret stands for, and the end of it everywhere at once when it is revoked.

`Access` owns the cache of looked-up credentials; the tables hold only hashes.
"""

import hmac
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from tracker.access import sessions
from tracker.access.credentials import hash_of, new_secret, new_token
from tracker.access.roles import Caller, Kind, Role
from tracker.errors import Forbidden, NotFound, Unauthenticated
from tracker.store.database import Database
from tracker.wire import ids

CACHE_SIZE: Final = 10_000
# Bounds how long another server's revocation can go unnoticed here; one's own is seen at once.
CACHE_S: Final = 30

_KINDS: Final = {"api": Kind.API_TOKEN, "device": Kind.DEVICE, "gateway": Kind.GATEWAY}


@dataclass(frozen=True, slots=True)
class DeviceToken:
    """What the ingest door needs to know of a token; `device_id` is None for a gateway, which speaks for any device."""

    token_id: int
    device_id: int | None


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    device_id: int | None
    fresh_until: float


class Access:
    """Who holds which secret. One object per server.

    Any end of a credential empties the cache: that is rare, and what is empty cannot be stale.
    """

    def __init__(
        self, database: Database, *, admin_token: str | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._preset = hash_of(admin_token) if admin_token else None
        self._clock = clock
        self._cache: dict[bytes, _Known] = {}
        self._endings = 0
        self._on_revoked: list[Callable[[int], None]] = []
        self._on_session_ended: list[Callable[[bytes], None]] = []

    # Looking up ------------------------------------------------------------------------------------------------------

    async def caller(self, secret: str) -> Caller:
        """Who holds this token.

        Raises:
            Unauthenticated: nobody does, or no longer.
        """
        return (await self._of_token(secret)).caller

    async def device_token(self, secret: str) -> DeviceToken:
        """The device or gateway that holds this token. Register its socket for `on_revoked` before the next await.

        Raises:
            Unauthenticated: the token is not known, or no longer.
            Forbidden: the token is for the API.
        """
        known = await self._of_token(secret)
        token_id = known.caller.token_id
        if known.caller.role is not None or token_id is None:
            raise Forbidden("This token is for the API; a device sends with the token that POST /v1/devices gave it.")
        return DeviceToken(token_id, known.device_id)

    async def session(self, cookie: str) -> Caller | None:
        """Who is signed in by this cookie; None when the session has ended."""
        hashes = self._session_hashes(cookie)
        for hashed in hashes:
            known = self._fresh(hashed)
            if known is not None:
                return known.caller
        row = await self._read("session_by_hash", hashes)
        if row is None:
            return None
        caller = Caller(
            Kind.SESSION,
            Role.of(row["role"]),
            row["name"],
            row["token"],
            row["account"],
            row["hash"],
            row["expires_at"].timestamp(),
        )
        self._remember(row["hash"], caller, None)
        return caller

    async def _of_token(self, secret: str) -> _Known:
        hashed = hash_of(secret)
        if self._preset is not None and hmac.compare_digest(hashed, self._preset):
            return _Known(Caller(Kind.API_TOKEN, Role.ADMIN, "admin"), None, 0)
        known = self._fresh(hashed)
        if known is not None:
            return known
        row = await self._read("token_by_hash", hashed)
        if row is None:
            raise Unauthenticated("The token is not known, or it was revoked.")
        return self._remember(hashed, _caller_of_token(row), row["device"])

    async def _read(self, query: str, key: Any) -> Mapping[str, Any] | None:
        while True:
            endings = self._endings
            row: Mapping[str, Any] | None = await self._database.row(query, key)
            # What was read while a credential ended may be of before: read again.
            if endings == self._endings:
                return row

    def _fresh(self, hashed: bytes) -> _Known | None:
        known = self._cache.get(hashed)
        now = self._clock()
        if known is None or known.fresh_until <= now or (known.caller.expires_at or now + 1) <= now:
            return None
        return known

    def _remember(self, hashed: bytes, caller: Caller, device_id: int | None) -> _Known:
        self._cache.pop(hashed, None)
        while len(self._cache) >= CACHE_SIZE:
            del self._cache[next(iter(self._cache))]
        self._cache[hashed] = known = _Known(caller, device_id, self._clock() + CACHE_S)
        return known

    def _session_hashes(self, cookie: str) -> list[bytes]:
        """A session made with the preset token is kept under a hash that covers both: changing the token ends it."""
        plain = hash_of(cookie)
        return [plain] if self._preset is None else [plain, sha256(plain + self._preset).digest()]

    # Making and ending -----------------------------------------------------------------------------------------------

    async def create_token(self, name: str, kind: str, role: Role | None) -> tuple[int, str]:
        """A token of kind `api`, which has a role, or `gateway`, which has none. The number and the secret."""
        secret = new_token()
        [row] = await self._database.rows("add_token", kind, name, hash_of(secret), role.label if role else None)
        return row["id"], secret

    async def revoke(self, token_id: int) -> None:
        """Ends a token of any kind, its sessions and its sockets.

        Raises:
            NotFound: there is no such token, or it was revoked before.
        """
        row: Mapping[str, Any] | None = await self._database.row("revoke_token", token_id)
        # Told even when the table knew it already: an earlier answer may have been lost on its way here.
        self.ended([token_id], row["sessions"] if row else [])
        if row is None:
            raise NotFound(f"There is no token {ids.public_id(ids.TOKEN, token_id)}.")

    def ended(self, token_ids: Iterable[int] = (), session_hashes: Iterable[bytes] = ()) -> None:
        """Whoever commits the end of credentials says so here, in the same breath."""
        self._endings += 1
        self._cache.clear()
        for token_id in token_ids:
            for revoked in self._on_revoked:
                revoked(token_id)
        for hashed in session_hashes:
            for session_ended in self._on_session_ended:
                session_ended(hashed)

    def on_revoked(self, callback: Callable[[int], None]) -> None:
        """Calls back, synchronously, with the number of each token that ends."""
        self._on_revoked.append(callback)

    def on_session_ended(self, callback: Callable[[bytes], None]) -> None:
        """Calls back, synchronously, with `Caller.session` of each session that ends before its time."""
        self._on_session_ended.append(callback)

    # Signing in ------------------------------------------------------------------------------------------------------

    async def has_admin(self) -> bool:
        """Whether anybody can administer this server yet."""
        [row] = await self._database.rows("has_admin")
        return self._preset is not None or bool(row["known"])

    async def sign_in_link(self, name: str = "admin", role: Role = Role.ADMIN, account_id: int | None = None) -> str:
        """The path of a link that signs in once, within a day."""
        return await sessions.add_link(self._database, name, role, account_id)

    async def redeem(self, code: str) -> str | None:
        """The cookie of a new session for a sign-in code; None when the code is spent, expired or unknown."""
        return await sessions.redeem(self._database, code)

    async def sign_in(self, secret: str) -> str:
        """The cookie of a new session for the holder of an API token.

        Raises:
            Unauthenticated: the token is not known.
            Forbidden: it is a device's or a gateway's.
        """
        caller = await self.caller(secret)
        if caller.role is None:
            raise Forbidden(f"This is a {caller.kind.value}; signing in needs an API token or a sign-in link.")
        cookie = new_secret()
        hashed = self._session_hashes(cookie)[-1 if caller.token_id is None else 0]
        await sessions.start(self._database, hashed, caller, caller.role)
        return cookie

    async def sign_out(self, cookie: str) -> None:
        """Ends the session of this cookie, if there is one."""
        rows = await self._database.rows("end_session", self._session_hashes(cookie))
        self.ended(session_hashes=[row["hash"] for row in rows])

    async def prune(self) -> None:
        """Removes sessions, sign-in codes and idempotent answers that are over."""
        await self._database.execute("prune_access")


def _caller_of_token(row: Mapping[str, Any]) -> Caller:
    role = Role.of(row["role"]) if row["role"] else None
    expires_at = row["expires_at"].timestamp() if row["expires_at"] else None
    return Caller(_KINDS[row["kind"]], role, row["name"], row["id"], row["account"], None, expires_at)
