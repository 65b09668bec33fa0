"""A made-up town for cabs: a grid of blocks with courtyards, a park in three parts, round squares; and walks in it.

All from a seed, in whole 1e-7 degrees, so that what is sent is what is stored and judged.
"""

import random
from collections.abc import Sequence
from typing import Final

from tests.integration.oracle import Area, Fence, Point, Ring, Round, Step

ORIGIN: Final = (249_000_000, 601_500_000)
BLOCK: Final = 100_000  # 0.01 degrees: 550 m by 1.1 km here
BLOCKS: Final = 5
START_MS: Final = 1_750_000_000_000
DOUBTED_EVERY: Final = 23


def _ring(random_: random.Random, west: int, south: int, size: int, corners: int) -> Ring:
    """A closed, slightly crooked ring around a square: so few fixes as possible lie exactly on an edge."""
    steps = [(0, 0), (1, 0), (1, 1), (0, 1)] if corners == 4 else [(0, 0), (1, 0), (1, 1), (0.5, 0.75), (0, 1)]
    crooked = size // 12
    points = [
        (
            west + round(x * size) + random_.randint(-crooked, crooked),
            south + round(y * size) + random_.randint(-crooked, crooked),
        )
        for x, y in steps
    ]
    return [*points, points[0]]


def fences(seed: int) -> list[Fence]:
    """Neighbouring blocks overlap a little here and leave a lane there; half of them judge every fix."""
    random_ = random.Random(seed)
    made: list[Fence] = []
    for row in range(BLOCKS):
        for column in range(BLOCKS):
            west, south = ORIGIN[0] + column * BLOCK, ORIGIN[1] + row * BLOCK
            outer = _ring(random_, west, south, BLOCK, 4 + (row + column) % 2)
            courtyard = _ring(random_, west + BLOCK * 3 // 10, south + BLOCK * 2 // 10, BLOCK * 3 // 10, 4)
            made.append(
                Area(f"block {row}.{column}", [outer, courtyard], [[0, 1]], trusted_only=(row + column) % 2 == 0)
            )
    made.append(_park(random_))
    for number in range(6):
        centre = (_within(random_, 0), _within(random_, 1))
        made.append(Round(f"square {number}", centre, random_.uniform(150, 900), trusted_only=number % 2 == 0))
    return made


def _park(random_: random.Random) -> Area:
    rings: list[Ring] = []
    parts: list[list[int]] = []
    for row in range(3):
        west, south = ORIGIN[0] + row * BLOCK * 3 // 2, ORIGIN[1] + row * BLOCK * 3 // 2
        rings.append(_ring(random_, west, south, BLOCK, 5))
        parts.append([len(rings) - 1])
        if row == 1:
            rings.append(_ring(random_, west + BLOCK * 4 // 10, south + BLOCK * 2 // 10, BLOCK * 2 // 10, 4))
            parts[-1].append(len(rings) - 1)
    return Area("park", rings, parts, trusted_only=True)


def _within(random_: random.Random, axis: int) -> int:
    return ORIGIN[axis] + random_.randint(0, BLOCKS * BLOCK)


def walk(seed: int, fixes: int) -> list[Step]:
    """Steps of up to a fifth of a block, now and then across the town; mostly inside of it."""
    random_ = random.Random(seed)
    place: Point = (_within(random_, 0), _within(random_, 1))
    time_ms, steps = START_MS + seed, []
    for number in range(fixes):
        steps.append(Step(time_ms, place, doubted=number % DOUBTED_EVERY == seed % DOUBTED_EVERY))
        time_ms += random_.randint(1, 30_000)
        place = (_moved(random_, place, 0), _moved(random_, place, 1))
        if random_.random() < 0.02:
            place = (_within(random_, 0), _within(random_, 1))
    return steps


def _moved(random_: random.Random, place: Point, axis: int) -> int:
    low, high = ORIGIN[axis] - BLOCK // 2, ORIGIN[axis] + BLOCKS * BLOCK + BLOCK // 2
    return min(max(place[axis] + random_.randint(-BLOCK // 5, BLOCK // 5), low), high)


def newest_trusted(steps: Sequence[Step]) -> Step:
    return next(step for step in reversed(steps) if not step.doubted)
