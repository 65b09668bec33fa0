"""Puts the server together, and takes it apart in the right order. The only room that sees all others.

Starting: port → private PostGIS → migrations → pool → writer (lock, state) → filer, hooks, hub → listen.
Stopping: listen no more → read no more → commit and ack what was read → close sockets (1001) → the rest, backwards.
"""

import asyncio
import logging
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

from aiohttp import web

from tracker import memory
from tracker.access.accounts import Accounts
from tracker.access.attempts import Attempts
from tracker.access.roles import Role
from tracker.access.tokens import Access
from tracker.domain.fleet import Fleet
from tracker.doors import (
    accounts,
    assets,
    backtests,
    devices,
    events,
    geofences,
    health,
    history,
    hooks,
    ingest,
    live,
    motion,
    pages,
    sign_in,
    tiles,
    why,
)
from tracker.doors.idempotency import idempotency_middleware
from tracker.doors.identity import ACCESS, identity_middleware
from tracker.doors.keys import DATABASE, FLEET, HUB, OPENINGS, REACHABILITY, WRITER
from tracker.doors.problems import problems_middleware
from tracker.errors import SetupError
from tracker.hooks.dispatcher import Dispatcher
from tracker.live.feed import Feed
from tracker.live.hub import Hub
from tracker.live.latest import Latest
from tracker.live.reachability import Reachability
from tracker.pipeline.admission import Openings
from tracker.pipeline.commit import Writer, now_ms
from tracker.pipeline.intake import Intake
from tracker.pipeline.pairs.judge import PairJudge
from tracker.pipeline.publish import Publisher
from tracker.pipeline.reachability import Teller, hear, restore
from tracker.pipeline.revise import Reviser
from tracker.pipeline.stream import Lanes
from tracker.settings import Settings
from tracker.store.database import Database, connect
from tracker.store.filer import Filer
from tracker.store.fleet import FleetStore
from tracker.store.journal import Journal
from tracker.store.migrate import migrate
from tracker.store.private import PrivateCluster
from tracker.store.sealer import Sealer

log = logging.getLogger(__name__)

BACKLOG: Final = 4096  # a fleet that comes back all at once
SHUTDOWN_S: Final = 2.0
_DOORS: Final = (
    accounts,
    assets,
    backtests,
    devices,
    events,
    geofences,
    health,
    history,
    hooks,
    ingest,
    live,
    motion,
    sign_in,
    tiles,
    why,
)


@dataclass(frozen=True, slots=True)
class FirstStart:
    """What is told once, at the first start of a database that nobody can administer yet."""

    admin_token: str
    sign_in_path: str


def listening_socket(host: str, port: int) -> socket.socket:
    """Bound, not yet listening, so that a port in use is known before anything is started.

    Raises:
        SetupError: it cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise SetupError(
            f"Cannot listen on {host}:{port}: {error.strerror}. Stop what uses it, or choose another with --listen."
        ) from error
    return bound


class Server:
    """One node: `async with Server(settings) as server` is ready to serve, and drains when it ends."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url = ""
        self.first_start: FirstStart | None = None
        self.failed = asyncio.Event()  # something that must not end has ended
        self.fleet = Fleet()
        self.feed = Feed()
        self.latest = Latest(self.fleet)
        self.hub = Hub(self.latest, self.feed)
        self.reachability = Reachability(self.fleet)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    # Starting

    async def _start(self) -> None:
        bound = listening_socket(self.settings.host, self.settings.port)
        self._stack.callback(bound.close)
        url = await self._stack.enter_async_context(self._database_url())
        self.database = Database(url)
        await self.database.open()
        self._stack.push_async_callback(self.database.close)
        self.access = Access(self.database, admin_token=self.settings.admin_token)
        await self._start_journey(url)
        await self._greet()
        await self._listen(bound)

    @asynccontextmanager
    async def _database_url(self) -> AsyncIterator[str]:
        """A database with the schema of this program."""
        async with AsyncExitStack() as stack:
            url = self.settings.database
            if url is None:
                cluster = PrivateCluster(self.settings.data)
                url = await cluster.start()
                stack.push_async_callback(cluster.stop)
                self._watch(stack, cluster.keep_running(), "private-database")
            connection = await connect(url)
            try:
                for title in await migrate(connection):
                    log.info("action=migrated migration=%s", title)
            finally:
                await connection.close()
            yield url

    async def _start_journey(self, url: str) -> None:
        self.dispatcher = Dispatcher(self.database, allow=self.settings.hooks_allow)
        publisher = Publisher(
            self.latest,
            self.feed,
            on_change=self.hub.touch,
            on_events=self.dispatcher.wake,
            on_batch=partial(hear, self.reachability),
        )
        self.writer = Writer(Journal(url), self.fleet, Intake(), Lanes(), publisher)
        heard = await self.writer.start()
        self._stack.push_async_callback(self.writer.stop)
        self.writer.on_end(self.failed.set)
        await restore(self.writer, self.reachability, self.database, heard)
        self._watch(self._stack, Teller(self.writer, self.reachability).run(), "reachability")
        self.filer = Filer(
            url,
            lambda: self.writer.proximities.may_be_filed(self.writer.committed),
            self.writer.lanes.forget_filed,
            self.writer.intake.hold,
        )
        await self.filer.start()
        self.filer.on_end(self.failed.set)
        self._stack.push_async_callback(self.filer.stop)
        self.sealer = Sealer(url)
        self._watch(self._stack, self.sealer.run(), "sealer")
        self.reviser = Reviser(self.database, self.writer)
        self._watch(self._stack, self.reviser.run(), "reviser")
        self.pairs = PairJudge(self.database, self.writer)
        self._watch(self._stack, self.pairs.run(), "pairs")
        await self.dispatcher.start()
        self._stack.push_async_callback(self.dispatcher.stop)
        self.hub.start()
        self._stack.push_async_callback(self.hub.stop)

    def _watch(self, stack: AsyncExitStack, run: Coroutine[Any, Any, None], name: str) -> None:
        """A task that runs as long as the server; if it fails, the server ends and says so."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                log.critical("action=%s_ended", name, exc_info=task.exception())
                self.failed.set()

        task = asyncio.create_task(run, name=name)
        task.add_done_callback(ended)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        stack.push_async_callback(end)

    async def _greet(self) -> None:
        if not await self.access.has_admin():
            _, token = await self.access.create_token("first admin", "api", Role.ADMIN)
            self.first_start = FirstStart(token, await self.access.sign_in_link())

    async def _listen(self, bound: socket.socket) -> None:
        runner = web.AppRunner(self._application(), handle_signals=False, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.SockSite(runner, bound, backlog=BACKLOG)
        await site.start()
        self._stack.push_async_callback(self._drain, site)
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        self.url = f"http://{host}:{bound.getsockname()[1]}"

    # The application

    def _application(self) -> web.Application:
        app = web.Application(
            middlewares=[
                pages.headers_middleware,
                problems_middleware,
                identity_middleware,
                idempotency_middleware,
            ]
        )
        self._fill(app)
        for door in _DOORS:
            app.add_routes(door.routes())
        pages.setup(app)
        return app

    def _fill(self, app: web.Application) -> None:
        closings = memory.Closings()
        self.sockets, self.viewers = ingest.DeviceSockets(closings), live.Viewers(closings)
        self.followers = events.Followers()
        self.access.on_revoked(self.sockets.revoked)
        for watchers in (self.viewers, self.followers):
            self.access.on_revoked(watchers.revoked)
            self.access.on_session_ended(watchers.session_ended)
        app[DATABASE], app[FLEET], app[WRITER], app[HUB] = self.database, self.fleet, self.writer, self.hub
        app[OPENINGS] = Openings(self.database)
        app[ACCESS], app[REACHABILITY] = self.access, self.reachability
        app[sign_in.ATTEMPTS] = Attempts()
        app[accounts.ACCOUNTS] = Accounts(self.database, self.access)
        app[assets.FLEET_STORE] = FleetStore(
            self.database, self.fleet, tokens_ended=self.access.ended, changed=self._fleet_changed
        )
        app[assets.LATEST] = self.latest
        app[devices.COMMANDS] = self.sockets.send_command
        app[devices.CONFIGS] = self._config_changed
        app[ingest.SOCKETS], app[live.VIEWERS] = self.sockets, self.viewers
        app[hooks.HOOK_DISPATCHER] = self.dispatcher
        app[events.FOLLOWERS] = self.followers
        app[backtests.RUNS] = backtests.Runs()
        app[tiles.TILES] = tiles.Tiles()
        app[health.FILER] = self.filer
        app[health.MORE_METRICS] = self._more_metrics

    def _fleet_changed(self, asset_ids: Collection[int], device_ids: Collection[int]) -> None:
        self.reachability.fleet_changed(asset_ids, device_ids)
        for asset in asset_ids:
            if asset in self.fleet.assets:
                self.latest.touch(asset)
            else:
                self.latest.forget(asset)
        self.hub.touch()

    def _config_changed(self, device_id: int) -> None:
        device = self.fleet.devices.get(device_id)
        if device is not None:  # it may have been deleted in the same moment
            self.sockets.send_config(device_id, device.config)

    def _more_metrics(self) -> dict[str, tuple[str, str, float]]:
        stats = self.dispatcher.stats()
        return {
            "tracker_hook_deliveries_total": ("counter", "Deliveries that a receiver accepted", stats.delivered),
            "tracker_hook_failures_total": ("counter", "Attempts that failed", stats.failed),
            "tracker_hook_dead_total": ("counter", "Deliveries put aside", stats.dead),
            "tracker_journal_behind": (
                "gauge",
                "1 while nothing is taken in because the filer does not keep up",
                float(self.filer.stats.behind),
            ),
            "tracker_sealed_fixes_total": ("counter", "Fixes sealed since the start", self.sealer.stats.sealed_fixes),
            "tracker_late_assets": ("gauge", "Assets that wait to be judged again", self.reviser.waiting),
            "tracker_late_assets_aside": (
                "gauge",
                "Of those, assets that could not be judged and are tried again later",
                self.reviser.aside,
            ),
            "tracker_judged_again_total": ("counter", "Fixes judged again for late ones", self.reviser.fixes),
            "tracker_corrections_total": (
                "counter",
                "Events told late, revised or retracted",
                self.reviser.corrections,
            ),
            "tracker_pairs_behind": (
                "gauge",
                "Batches and changes that geofences around assets have yet to judge",
                self.pairs.behind,
            ),
            "tracker_hook_in_flight": ("gauge", "Attempts under way", stats.in_flight),
            **{
                f"tracker_assets_{state}": ("gauge", f"Assets that are {state}, by what is heard of them", count)
                for state, count in self.reachability.counts(now_ms()).items()
            },
        }

    # Stopping

    async def _drain(self, site: web.SockSite) -> None:
        await site.stop()
        self.writer.intake.close()
        await self.writer.drain()
        self.followers.close()
        await asyncio.gather(self.sockets.close(), self.viewers.close())


Announce = Callable[[Server], Awaitable[Any] | None]


def raise_open_files() -> None:
    """Each device and viewer is an open file; the usual soft limit of 1,024 is reached by a small fleet."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # where the hard limit is only a word (macOS), the soft one stays
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def serve(settings: Settings, until: asyncio.Event, announce: Announce) -> bool:
    """Run until the event is set. False: the server ended by itself, because something failed."""
    raise_open_files()
    async with Server(settings) as server:
        memory.tune()
        said = announce(server)
        if said is not None:
            await said
        waiting = [asyncio.ensure_future(until.wait()), asyncio.ensure_future(server.failed.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
        return not server.failed.is_set()
