"""A writer on real tables."""

from collections.abc import AsyncIterator

import pytest

from tests.pipeline.node import Node, settle


@pytest.fixture
async def node(database: str) -> AsyncIterator[Node]:
    """On a database with a fleet, running."""
    await settle(database)
    async with Node(database) as made:
        yield made
