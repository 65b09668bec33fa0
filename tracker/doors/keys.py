"""What the application object carries, by type. Filled by `app`, read by the doors."""

from typing import Final

from aiohttp import web

from tracker.domain.fleet import Fleet
from tracker.store.database import Database

DATABASE: Final = web.AppKey("database", Database)
FLEET: Final = web.AppKey("fleet", Fleet)
