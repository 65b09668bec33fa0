"""A receiver of hooks that keeps what it gets and answers as it is told."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Message = dict[str, Any]


class Receiver:
    """Keeps every request; `answer` decides, from the event, what it is told."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.accepted: dict[int, list[int]] = defaultdict(list)  # asset -> events, each as it was first accepted
        self.answer: Callable[[dict[str, Any]], Awaitable[web.StreamResponse] | int] = lambda event: 204
        self.paths: list[str] = []
        self.open = 0
        self.most_open = 0

    async def until(self, claim: Callable[[], object], within_s: float = 30) -> None:
        """Waits for a condition; it is looked at again and again."""
        async with asyncio.timeout(within_s):
            while not claim():
                await asyncio.sleep(0.002)

    async def until_requests(self, count: int) -> None:
        await self.until(lambda: len(self.requests) >= count)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append(({name.lower(): value for name, value in request.headers.items()}, body))
        self.paths.append(request.path)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            message = json.loads(body)
            answer = self.answer(message)
            response = web.Response(status=answer) if isinstance(answer, int) else await answer
            if 200 <= response.status < 300 and message["type"] != "hook.test":
                event, asset = (
                    int(id_.split("_")[1]) for id_ in (message["data"]["id"], message["data"]["asset"]["id"])
                )
                if event not in self.accepted[asset]:
                    self.accepted[asset].append(event)
        finally:
            self.open -= 1
        return response
