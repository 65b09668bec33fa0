"""A device's process is killed again and again; exactly what it recorded arrives, each number with one content."""

import asyncio
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tracker.sdk import Device

LIVES = 6
PROGRAM = """
import asyncio, sys
from tracker.sdk import Device

async def main(url, buffer, newest_first, first, token):
    async with Device(url, token=token, buffer=buffer, newest_first=newest_first, random=lambda: 0.1) as device:
        for number in range(first, first + 1_000_000):
            await device.record(lon=0, lat=0, time=number)
            print(number, flush=True)  # only now: it is safe

asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3] == "newest-first", int(sys.argv[4]), sys.argv[5]))
"""


async def live_and_die(url: str, buffer: Path, order: str, first: int, fixes: int, token: str) -> list[int]:
    """Run the device until it said that so many fixes are safe, kill it, and return what it said."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, url, str(buffer), order, str(first), token, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    said = [int(await child.stdout.readline()) for _ in range(fixes)]
    child.send_signal(signal.SIGKILL)
    rest, _ = await child.communicate()
    # What it was writing when it died may end in the middle of a line.
    said += [int(line) for line in rest.split(b"\n")[:-1]]
    assert child.returncode == -signal.SIGKILL
    return said


@pytest.mark.parametrize("order", ["in-order", "newest-first"])
async def test_exactly_what_was_recorded_arrives(server: Any, tmp_path: Path, order: str) -> None:
    buffer = tmp_path / "buffer.db"
    safe: list[int] = []
    for life in range(LIVES):
        # Some lives end with the server away, some with acks on their way, some with fixes stored and never acked.
        server.refuse_status = 503 if life % 3 == 1 else None
        server.forgets_acks = life % 3 == 2
        server.on_frame = (lambda stream, message: 1011 if message["seq"] % 3 == 0 else None) if life % 2 else _accept
        safe += await live_and_die(server.url, buffer, order, first=life * 1_000_000, fixes=40, token="secret")
    server.refuse_status, server.forgets_acks, server.on_frame = None, False, _accept

    newest_first = order == "newest-first"
    async with Device(
        server.url, token="secret", buffer=buffer, newest_first=newest_first, random=lambda: 0.0
    ) as device:
        await device.drain()
        assert device.stats().dropped == 0

    arrived = Counter(fix["time"] for fix in server.fixes())
    assert max(arrived.values()) == 1
    assert set(safe) <= set(arrived)
    # A kill between the disk and the word that it is safe: one fix at most in each life.
    assert len(set(arrived) - set(safe)) <= LIVES
    for fixes in server.stored.values():
        assert list(fixes) == sorted(fixes)


def _accept(stream: str, message: dict[str, Any]) -> int | None:
    return None
