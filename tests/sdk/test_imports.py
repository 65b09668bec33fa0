"""A device needs aiohttp and msgspec, and nothing of the server."""

import subprocess
import sys

SERVER_ONLY = ["numpy", "asyncpg", "shapely", "pyproj", "jinja2", "aiohttp_jinja2", "rich", "typer", "uvloop"]


def test_the_sdk_imports_nothing_that_only_the_server_needs() -> None:
    program = f"import sys, tracker.sdk; print([name for name in {SERVER_ONLY} if name in sys.modules])"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert loaded == "[]\n"


def test_the_sdk_works_where_they_are_not_installed() -> None:
    program = f"""
import sys
for name in {SERVER_ONLY}:
    sys.modules[name] = None  # importing it raises ImportError
import asyncio
from tracker.sdk import Device

async def main():
    async with Device("http://127.0.0.1:9", token="secret") as device:
        await device.record(lon=24.94, lat=60.17)
        print(device.stats().pending)

asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "1\n"
