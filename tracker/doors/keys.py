"""What the application object carries, by type. Filled by `app`, read by the doors."""

from typing import Final

from aiohttp import web

from tracker.domain.fleet import Fleet
from tracker.live.hub import Hub
from tracker.live.reachability import Reachability
from tracker.pipeline.admission import Openings
from tracker.pipeline.commit import Writer
from tracker.store.database import Database

DATABASE: Final = web.AppKey("database", Database)
FLEET: Final = web.AppKey("fleet", Fleet)
WRITER: Final = web.AppKey("writer", Writer)
OPENINGS: Final = web.AppKey("openings", Openings)
HUB: Final = web.AppKey("hub", Hub)
REACHABILITY: Final = web.AppKey("reachability", Reachability)
