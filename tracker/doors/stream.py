"""Answers that are sent as they are made."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Final

from aiohttp import web

log = logging.getLogger(__name__)

WRITE_TIMEOUT_S: Final = 60.0


async def stream(
    request: web.Request, media_type: str, parts: AsyncIterator[bytes], headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """Sends the parts as they come, at the reader's pace.

    An error before the first part is an ordinary error. After it the connection is cut: a part must not pass for all.
    """
    response = web.StreamResponse(headers={**(headers or {}), "Cache-Control": "no-store"})
    response.content_type, response.charset = media_type, "utf-8"
    try:
        async for part in parts:
            if not part:
                continue
            if not response.prepared:
                await response.prepare(request)
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await response.write(part)
            await asyncio.sleep(0)  # a write that fits the buffer does not yield, and others want their turn
        await response.write_eof()
    except Exception as error:
        if not response.prepared:
            raise
        _cut(request, error)
    return response


def _cut(request: web.Request, error: Exception) -> None:
    if not isinstance(error, ConnectionError | TimeoutError):
        log.error("action=stream_cut path=%s", request.path, exc_info=error)
    if request.transport is not None:
        request.transport.abort()
