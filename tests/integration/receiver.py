"""A receiver of hooks, written from the Standard Webhooks specification and not from our sender."""

import base64
import hashlib
import hmac
import json
import time
from collections import defaultdict
from typing import Any, Self

from aiohttp import web

TOLERANCE_S = 300


class Receiver:
    """Verifies by hand, and refuses the first attempt of a few events of each asset."""

    def __init__(self) -> None:
        self.url = ""
        self.secret = ""
        self.refuse_at: frozenset[int] = frozenset()  # of an asset's events, counted as they are accepted
        self.events: dict[str, Any] = {}  # by webhook-id, as first accepted
        self.order: dict[str, list[str]] = defaultdict(list)  # asset -> its events, as first accepted
        self.refused: set[str] = set()
        self.faults: list[str] = []
        self.attempts = 0
        self._runner = web.AppRunner(self._application(), shutdown_timeout=0.1)

    def _application(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/hook", self._handle)
        return app

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.attempts += 1
        webhook_id, timestamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        if not self._signed(webhook_id, timestamp, body, request.headers["webhook-signature"]):
            self.faults.append(f"{webhook_id}: the signature does not fit")
        if abs(time.time() - int(timestamp)) > TOLERANCE_S:
            self.faults.append(f"{webhook_id}: the timestamp is {timestamp}")
        return web.Response(status=self._take(webhook_id, json.loads(body)))

    def _signed(self, webhook_id: str, timestamp: str, body: bytes, signatures: str) -> bool:
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        content = f"{webhook_id}.{timestamp}.".encode() + body
        expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        return f"v1,{expected}" in signatures.split()

    def _take(self, webhook_id: str, message: dict[str, Any]) -> int:
        event = message["data"]
        if message["type"] != event["type"]:
            self.faults.append(f"{webhook_id}: type {message['type']} around an event of type {event['type']}")
        if webhook_id in self.events:  # an attempt whose answer was lost when the server was killed
            if self.events[webhook_id] != event:
                self.faults.append(f"{webhook_id}: two contents")
            return 204
        order = self.order[event["asset"]["id"]]
        if len(order) in self.refuse_at and webhook_id not in self.refused:
            self.refused.add(webhook_id)
            return 503
        self.events[webhook_id] = event
        order.append(event["id"])
        return 204

    def check(self, events: list[dict[str, Any]]) -> None:
        """Each event of the feed came, with the feed's content, and in its order per asset."""
        assert self.faults == []
        listed: dict[str, list[str]] = defaultdict(list)
        for event in events:
            listed[event["asset"]["id"]].append(event["id"])
        assert self.order == listed
        assert {event["id"]: event for event in self.events.values()} == {event["id"]: event for event in events}
