"""What a fleet needs before its first fix: devices with tokens, tags on their assets, geofences. By name, so once."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
from yarl import URL

from tracker.errors import TrackerError
from tracker.fleet.areas import areas
from tracker.fleet.roster import Member

PAGE: Final = 1000
DEVICES_AT_ONCE: Final = 500
REQUESTS_AT_ONCE: Final = 8
ANSWER_WITHIN_S: Final = 60.0


class Registrar:
    """Speaks to the REST interface as an administrator."""

    def __init__(self, url: str, admin_token: str) -> None:
        self._url = URL(url)
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {admin_token}"}, timeout=aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
        )
        self._turns = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def close(self) -> None:
        await self._session.close()

    async def devices(self, members: Sequence[Member]) -> tuple[dict[str, str], set[str]]:
        """A token for every member, by name, and the names of those that were not known before."""
        known = {device["name"]: device["id"] for device in await self._list("devices", "devices")}
        tokens = await self._new_devices([member for member in members if member.name not in known])
        new = set(tokens)
        old = [member.name for member in members if member.name in known]
        again = await asyncio.gather(*(self._renewed_token(known[name]) for name in old))
        tokens.update(zip(old, again, strict=True))
        return tokens, new

    async def geofences(self) -> int:
        """Make those whose names are not in use; how many that were."""
        known = {fence["properties"]["name"] for fence in await self._list("geofences", "features")}
        missing = [area for area in areas() if area["properties"]["name"] not in known]
        if missing:
            await self._call("POST", "geofences", {"type": "FeatureCollection", "features": missing})
        return len(missing)

    async def _new_devices(self, members: Sequence[Member]) -> dict[str, str]:
        tokens: dict[str, str] = {}
        for start in range(0, len(members), DEVICES_AT_ONCE):
            some = members[start : start + DEVICES_AT_ONCE]
            made = (await self._call("POST", "devices", [{"name": member.name} for member in some]))["devices"]
            tokens |= {member.name: device["token"] for member, device in zip(some, made, strict=True)}
            await asyncio.gather(
                *(
                    self._call("PATCH", f"assets/{device['asset']['id']}", {"tags": list(member.tags)})
                    for member, device in zip(some, made, strict=True)
                )
            )
        return tokens

    async def _renewed_token(self, device: str) -> str:
        """A token was shown once, to a run that is over: a new one takes its place."""
        made = await self._call("POST", f"devices/{device}/token")
        await self._call("DELETE", f"devices/{device}/token")
        return str(made["token"])

    async def _list(self, kind: str, items_name: str) -> list[Any]:
        items: list[Any] = []
        query = {"limit": str(PAGE)}
        while True:
            page = await self._call("GET", kind, query=query)
            items.extend(page[items_name])
            if page["next"] is None:
                return items
            query["after"] = page["next"]

    async def _call(self, method: str, path: str, body: object = None, query: dict[str, str] | None = None) -> Any:
        url = self._url / "v1" / path
        try:
            async with self._turns, self._session.request(method, url, json=body, params=query) as answer:
                if answer.ok:
                    # GeoJSON has a media type of its own.
                    return None if answer.status == 204 else await answer.json(content_type=None)
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise TrackerError(f"The server at {self._url} cannot be reached: {exc}") from exc
        if answer.status in (401, 403):
            raise TrackerError(f"The server at {self._url} does not accept this token as an administrator's.")
        raise TrackerError(f"{method} /v1/{path} was answered {answer.status}: {text[:300]}")
