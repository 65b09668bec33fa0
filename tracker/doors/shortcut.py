"""From aiohttp's parser straight into the open batch. Each message that it reads costs a future, a turn of the loop and
a task's wake-up, which is more than anything else that is done for a small frame.

aiohttp has no public way past that. What is used here instead is not promised, so it is used with the versions that it
was tested with and no others; without it every message takes the ordinary way, and all is the same but dearer.
"""

from collections.abc import Callable
from typing import Any, Final

import aiohttp
from aiohttp import WSMsgType, web
from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader

Take = Callable[[WSMsgType, bytes], bool]

TESTED_WITH: Final = "3.14."
_KNOWN: Final = aiohttp.__version__.startswith(TESTED_WITH)
_QUEUE_BYTES: Final = 2**16


class _Queue(WebSocketDataQueue):
    """Messages that are taken at once are never queued; only while nothing is, and the reading task waits for the next
    one: or they would overtake what it has in hand.
    """

    take: Take | None = None
    taking = False

    def begin_to_take(self) -> None:
        self.taking = not self._buffer

    def feed_data(self, data: Any, size: int) -> None:
        if self.taking:
            if self.take is not None and self.take(data.type, data.data):
                return
            self.taking = False  # what comes next has to stay behind this one
        super().feed_data(data, size)


class DeviceSocket(web.WebSocketResponse):
    """A WebSocket whose messages may be taken as they are parsed. `take` must not raise; False: not now, or not so."""

    def __init__(self, take: Take, *, max_msg_size: int, heartbeat_s: float, protocols: tuple[str, ...]) -> None:
        super().__init__(
            max_msg_size=max_msg_size, compress=False, decode_text=False, heartbeat=heartbeat_s, protocols=protocols
        )
        self._take = take
        self._queue: _Queue | None = None
        self._heard_again_s = heartbeat_s / 10
        self._heard_s = 0.0

    async def next(self) -> aiohttp.WSMessage:
        """The next message that was not taken."""
        queue = self._queue
        if queue is None:
            return await self.receive()
        queue.begin_to_take()
        try:
            return await self.receive()
        finally:
            queue.taking = False

    if _KNOWN:

        def _post_start(self, request: web.BaseRequest, protocol: str | None, writer: Any) -> None:
            self._ws_protocol = protocol
            self._writer = writer
            self._reset_heartbeat()
            assert self._loop is not None
            self._queue = self._reader = _Queue(request.protocol, _QUEUE_BYTES, loop=self._loop)
            self._queue.take = self._take
            self._parser = WebSocketReader(self._queue, self._max_msg_size, compress=False, decode_text=False)
            request.protocol.set_parser(self._parser, data_received_cb=self._on_data_received)
            request.protocol.keep_alive(False)

        def _on_data_received(self) -> None:
            """Sets the heartbeat back, which need not be done at every read: a ping goes out after a silence longer
            than what is left out here, so its answer is always heard.
            """
            assert self._loop is not None
            now_s = self._loop.time()
            if now_s - self._heard_s >= self._heard_again_s:
                self._heard_s = now_s
                super()._on_data_received()
