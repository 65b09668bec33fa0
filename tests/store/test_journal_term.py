from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tracker.errors import LockLost
from tracker.store.journal import Journal


@asynccontextmanager
async def writing(url: str) -> AsyncIterator[Journal]:
    journal = Journal(url)
    await journal.open(wait_s=10)
    try:
        yield journal
    finally:
        await journal.close()


async def test_a_second_writer_waits_in_vain(database: str) -> None:
    async with writing(database):
        second = Journal(database)
        with pytest.raises(LockLost, match="Another tracker server writes"):
            await second.open(wait_s=0.2)
        await second.close()


async def test_a_writer_that_lost_its_connection_goes_on_when_nobody_wrote_meanwhile(database: str) -> None:
    async with writing(database) as journal:
        await journal.open(wait_s=10)
        await journal.open(wait_s=10)


async def test_a_writer_believes_nothing_it_remembers_when_another_one_wrote_meanwhile(database: str) -> None:
    async with writing(database) as journal:
        await journal.close()
        async with writing(database):
            pass
        with pytest.raises(LockLost, match="meanwhile; start this one anew"):
            await journal.open(wait_s=10)


async def test_a_writer_whose_taking_of_the_lock_was_never_answered_goes_on(database: str) -> None:
    """The connection was cut between the database's doing and its word."""
    journal = Journal(database)
    await journal.open(wait_s=5)
    unheard = Journal(database)
    unheard._name = journal._name
    await journal.close()
    await unheard.open(wait_s=5)
    await unheard.close()
    await journal.open(wait_s=5)
    await journal.close()
