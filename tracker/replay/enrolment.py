"""Devices for a replay, by name: known ones are used again, others are made. Speaks to the REST interface.

A known device's token was shown once, long ago, so it gets a further one for the replay, which ends with it;
its own tokens and sockets are left alone.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
from yarl import URL

from tracker.errors import TrackerError

_PAGE: Final = 1_000
_DEVICES_AT_ONCE: Final = 500
_REQUESTS_AT_ONCE: Final = 8
_ANSWER_WITHIN_S: Final = 60.0


class Enrolment:
    """Owns what must be undone when the replay is over."""

    def __init__(self, url: str, admin_token: str) -> None:
        self._url = URL(url)
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {admin_token}"}, timeout=aiohttp.ClientTimeout(total=_ANSWER_WITHIN_S)
        )
        self._turns = asyncio.Semaphore(_REQUESTS_AT_ONCE)
        self._borrowed: list[str] = []

    async def tokens(self, names: Sequence[str]) -> dict[str, str]:
        """A token for each of these names."""
        known = await self._known()
        missing = [name for name in names if name not in known]
        tokens: dict[str, str] = {}
        for start in range(0, len(missing), _DEVICES_AT_ONCE):
            some = missing[start : start + _DEVICES_AT_ONCE]
            made = await self._call("POST", "devices", [{"name": name} for name in some])
            tokens.update(zip(some, (device["token"] for device in made["devices"]), strict=True))
        present = [name for name in names if name in known]
        tokens.update(zip(present, await asyncio.gather(*(self._borrow(known[name]) for name in present)), strict=True))
        return tokens

    async def close(self) -> None:
        """Give the further tokens back."""
        try:
            await asyncio.gather(*(self._call("DELETE", f"tokens/{token}") for token in self._borrowed))
        finally:
            await self._session.close()

    async def _known(self) -> dict[str, str]:
        devices: dict[str, str] = {}
        query = {"limit": str(_PAGE)}
        while True:
            page = await self._call("GET", "devices", query=query)
            for device in page["devices"]:
                devices.setdefault(device["name"], device["id"])
            if page["next"] is None:
                return devices
            query["after"] = page["next"]

    async def _borrow(self, device: str) -> str:
        made = await self._call("POST", f"devices/{device}/token")
        self._borrowed.append(made["id"])
        return str(made["token"])

    async def _call(self, method: str, path: str, body: object = None, query: dict[str, str] | None = None) -> Any:
        try:
            async with (
                self._turns,
                self._session.request(method, self._url / "v1" / path, json=body, params=query) as answer,
            ):
                if answer.ok:
                    return None if answer.status == 204 else await answer.json()
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TrackerError(f"the server at {self._url} cannot be reached: {error}") from error
        if answer.status in (401, 403):
            raise TrackerError(f"the server at {self._url} does not take this token for an administrator's")
        raise TrackerError(f"{method} /v1/{path} was answered {answer.status}: {text[:300]}")
