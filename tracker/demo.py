"""The demonstration: a server with a data directory of its own, and a simulated fleet that streams into it as devices
would.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from tracker import memory
from tracker.access.roles import Role
from tracker.app import Server, listening_socket
from tracker.errors import SetupError
from tracker.fleet.simulate import Progress, simulate
from tracker.settings import Settings

log = logging.getLogger(__name__)


async def demo(
    settings: Settings,
    *,
    couriers: int,
    backfill_s: float,
    until: asyncio.Event,
    ready: Callable[[str, str], None],
    on_progress: Callable[[Progress], None],
) -> bool:
    """Run until the event is set. `ready` hears the address and the path of a sign-in link as soon as the page can be
    opened.

    Returns:
        False when the server or the fleet ended by itself.
    """
    async with Server(settings) as server:
        memory.tune()
        token_id, token = await server.access.create_token("demonstration fleet", "api", Role.ADMIN)
        ready(server.url, await server.access.sign_in_link("demo"))
        fleet = asyncio.create_task(
            simulate(server.url, token, couriers=couriers, backfill_s=backfill_s, on_progress=on_progress), name="fleet"
        )
        ends = [asyncio.ensure_future(until.wait()), asyncio.ensure_future(server.failed.wait()), fleet]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if fleet.done() and not fleet.cancelled() and (error := fleet.exception()) is not None:
            raise error
        for each in ends:
            each.cancel()
        with suppress(asyncio.CancelledError):
            await fleet
        await server.access.revoke(token_id)
        return until.is_set()


def with_free_port(settings: Settings) -> Settings:
    """Whatever port is free, where the usual one is taken: a demonstration should not end there."""
    try:
        listening_socket(settings.host, settings.port).close()
    except SetupError:
        return replace(settings, port=0)
    return settings
