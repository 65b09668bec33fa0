"""Devices for a replay, by name: known ones are used again, others are made. Speaks to the REST interface.

The replay sends with a gateway's token of its own, so the tokens of the devices are left alone.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from yarl import URL

from tracker.errors import TrackerError

_PAGE: Final = 1_000
_DEVICES_AT_ONCE: Final = 500
_ANSWER_WITHIN_S: Final = 60.0


class Enrolment:
    """Speaks as an administrator."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = URL(url)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, admin_token: str) -> "AsyncIterator[Enrolment]":
        timeout = aiohttp.ClientTimeout(total=_ANSWER_WITHIN_S)
        async with aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {admin_token}"}, timeout=timeout
        ) as session:
            yield cls(session, url)

    @asynccontextmanager
    async def gateway(self, name: str) -> AsyncIterator[str]:
        """A token that speaks for any device, for as long as it is needed."""
        made = await self._call("POST", "tokens", {"kind": "gateway", "name": name})
        try:
            yield made["token"]
        finally:
            await self._call("DELETE", f"tokens/{made['id']}")

    async def devices(self, names: Sequence[str]) -> dict[str, str]:
        """The ids of these devices."""
        known = await self._known()
        missing = [name for name in names if name not in known]
        for start in range(0, len(missing), _DEVICES_AT_ONCE):
            some = missing[start : start + _DEVICES_AT_ONCE]
            made = await self._call("POST", "devices", [{"name": name} for name in some])
            known.update(zip(some, (device["id"] for device in made["devices"]), strict=True))
        return {name: known[name] for name in names}

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

    async def _call(self, method: str, path: str, body: object = None, query: dict[str, str] | None = None) -> Any:
        try:
            async with self._session.request(method, self._url / "v1" / path, json=body, params=query) as answer:
                if answer.ok:
                    return None if answer.status == 204 else await answer.json()
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TrackerError(f"the server at {self._url} cannot be reached: {error}") from error
        if answer.status in (401, 403):
            raise TrackerError(f"the server at {self._url} does not take this token for an administrator's")
        raise TrackerError(f"{method} /v1/{path} was answered {answer.status}: {text[:300]}")
