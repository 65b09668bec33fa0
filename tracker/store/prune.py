"""Removes for good what is stored of deleted assets: fixes in pieces and in sealed days, and what they are judged again
by. Events and visits stay: the feed never changes.
"""

from dataclasses import dataclass

from tracker.store.database import connect, translated
from tracker.store.sealer import SEALER_LOCK
from tracker.store.sql import sql


@dataclass(slots=True)
class Pruned:
    """waiting: deleted assets that have fixes in the journal, which are left until these are filed."""

    assets: int = 0
    fixes: int = 0
    waiting: int = 0


async def prune(url: str) -> Pruned:
    """One asset in a transaction. Waits while somebody seals, which moves the same fixes."""
    pruned = Pruned()
    connection = await connect(url)
    try:
        with translated():
            await connection.execute(sql("sealer_lock"), SEALER_LOCK)
            for row in await connection.fetch(sql("deleted_assets")):
                if row["unfiled"]:
                    pruned.waiting += 1
                    continue
                pruned.fixes += await connection.fetchval(sql("prune_asset"), row["id"])
                pruned.assets += 1
    finally:
        connection.terminate()
    return pruned
