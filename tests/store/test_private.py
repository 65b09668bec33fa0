"""The private cluster: made, shared by nobody, taken over after a kill, and clear about what it cannot do."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from tracker.errors import SetupError, StoreError
from tracker.store.private import PrivateCluster, default_data_dir
from tracker.store.private.account import Account, account_for
from tracker.store.private.configuration import configuration, usable_memory_bytes
from tracker.store.private.directories import socket_dir
from tracker.store.private.installation import Installation, choose, install_line, installations
from tracker.store.private.postmaster import PID_FILE, running

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")

# A server that is killed as soon as it has stored something: it says that it is ready, and waits for its end.
SERVER = """
import asyncio, sys
from pathlib import Path
import asyncpg
from tracker.store.private import PrivateCluster

async def main():
    connection = await asyncpg.connect(await PrivateCluster(Path(sys.argv[1]), throwaway=True).start())
    await connection.execute("DROP TABLE IF EXISTS kept")
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """One data directory for this module: a cluster takes longer to make than to start. Tests leave it whole."""
    with tempfile.TemporaryDirectory(prefix="tracker-test-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest_asyncio.fixture
async def started(data: Path) -> AsyncIterator[PrivateCluster]:
    cluster = PrivateCluster(data, throwaway=True)
    await answer(await cluster.start(), "DROP TABLE IF EXISTS kept")
    yield cluster
    await cluster.stop()


async def answer(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def killed_server(data: Path) -> None:
    """What is left when a server is killed: a postmaster without its server."""
    with subprocess.Popen([sys.executable, "-c", SERVER, data], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        server.kill()


# Made and stopped


async def test_a_new_cluster_is_a_unicode_postgis_with_checksums_that_no_network_reaches(
    cluster: PrivateCluster,
) -> None:
    url = cluster.url()
    assert str(await answer(url, "SELECT postgis_version()")).startswith("3.")
    assert await answer(url, "SHOW server_encoding") == "UTF8"
    assert await answer(url, "SHOW data_checksums") == "on"
    assert await answer(url, "SHOW listen_addresses") == ""
    assert await answer(url, "SHOW timezone") == "UTC"


async def test_the_socket_stands_in_a_directory_that_only_the_clusters_user_enters(cluster: PrivateCluster) -> None:
    directory = Path(str(await answer(cluster.url(), "SHOW unix_socket_directories")))
    data = Path(str(await answer(cluster.url(), "SHOW data_directory")))
    assert (directory.stat().st_mode & 0o777, directory.owner()) == (0o700, data.owner())


async def test_an_interrupt_of_the_terminal_does_not_reach_postgresql(cluster: PrivateCluster) -> None:
    postmaster = running(Path(str(await answer(cluster.url(), "SHOW data_directory"))))
    assert postmaster is not None
    assert os.getsid(postmaster.pid) != os.getsid(0)


@ROOT_ONLY
async def test_root_lends_postgresql_another_user(cluster: PrivateCluster) -> None:
    assert Path(str(await answer(cluster.url(), "SHOW data_directory"))).owner() == "postgres"


async def test_what_was_stored_is_there_after_a_restart(started: PrivateCluster, data: Path) -> None:
    await answer(started.url(), "CREATE TABLE kept AS SELECT 42 AS answer")
    directory = Path(str(await answer(started.url(), "SHOW unix_socket_directories")))
    await started.stop()
    assert running(data / "postgres") is None
    assert not directory.exists()
    assert await answer(await started.start(), "SELECT answer FROM kept") == 42


async def test_stopping_twice_or_before_a_start_is_harmless(started: PrivateCluster, data: Path) -> None:
    await started.stop()
    await started.stop()
    await PrivateCluster(data).stop()
    with pytest.raises(StoreError, match="not started"):
        started.url()


async def test_a_back_end_that_hangs_does_not_keep_the_server_from_stopping(
    started: PrivateCluster, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracker.store.private.cluster.FAST_STOP_WITHIN_S", 1)
    await answer(started.url(), "CREATE TABLE kept AS SELECT 42 AS answer")
    hanging = await asyncpg.connect(started.url())
    os.kill(hanging.get_server_pid(), signal.SIGSTOP)
    await started.stop()
    hanging.terminate()
    assert running(data / "postgres") is None
    assert await answer(await started.start(), "SELECT answer FROM kept") == 42


async def test_a_second_server_on_the_same_directory_is_refused(started: PrivateCluster, data: Path) -> None:
    with pytest.raises(StoreError, match=f"Another server uses {data}"):
        await PrivateCluster(data, throwaway=True).start()
    assert await answer(started.url(), "SELECT 1") == 1


async def test_a_first_start_cut_short_leaves_nothing_that_the_next_one_stumbles_over(data_dir: Path) -> None:
    (data_dir / "postgres.unfinished-abc").mkdir()
    cluster = PrivateCluster(data_dir, throwaway=True)
    start = asyncio.create_task(cluster.start(), name="start")
    while not list(data_dir.glob("postgres.unfinished-*/PG_VERSION")):
        await asyncio.sleep(0.005)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert running(data_dir / "postgres") is None
    assert await answer(await cluster.start(), "SELECT 1") == 1
    assert not list(data_dir.glob("postgres.unfinished-*"))
    await cluster.stop()


async def test_a_start_that_fails_shows_the_end_of_the_log_and_gives_the_directory_back(
    started: PrivateCluster, data: Path
) -> None:
    await started.stop()
    overrides = data / "postgres" / "postgresql.auto.conf"
    overrides.write_text("no_such_setting = 1\n")
    with pytest.raises(
        StoreError, match=r"(?s)PostgreSQL did not start.*unrecognized configuration parameter .no_such_setting"
    ):
        await started.start()
    overrides.write_text("")
    await started.start()


async def test_settings_of_the_owner_win_over_ours(started: PrivateCluster) -> None:
    await answer(started.url(), "ALTER SYSTEM SET work_mem = '7MB'")
    await started.stop()
    assert await answer(await started.start(), "SHOW work_mem") == "7MB"
    await answer(started.url(), "ALTER SYSTEM RESET ALL")


async def test_a_large_log_is_put_aside_at_a_start(started: PrivateCluster, data: Path) -> None:
    await started.stop()
    log = data / "postgres.log"
    with log.open("a") as file:
        file.truncate(17 * 1024 * 1024)
    await started.start()
    assert log.stat().st_size < 10_000
    assert (data / "postgres.log.1").stat().st_size == 17 * 1024 * 1024


# Killed


async def test_the_postmaster_of_a_killed_server_is_taken_over_as_it_runs(data: Path) -> None:
    begun = time.monotonic()
    killed_server(data)
    made_s = time.monotonic() - begun
    orphan = running(data / "postgres")
    assert orphan is not None
    cluster = PrivateCluster(data, throwaway=True)
    begun = time.monotonic()
    url = await cluster.start()
    assert time.monotonic() - begun < made_s / 2
    taken_over = running(data / "postgres")
    assert taken_over is not None
    assert taken_over.pid == orphan.pid
    assert await answer(url, "SELECT answer FROM kept") == 42
    await cluster.stop()
    assert running(data / "postgres") is None


async def test_a_postmaster_whose_socket_was_removed_is_started_anew(data: Path) -> None:
    killed_server(data)
    orphan = running(data / "postgres")
    assert orphan is not None
    assert orphan.socket_dir is not None
    (orphan.socket_dir / ".s.PGSQL.5432").unlink()
    cluster = PrivateCluster(data, throwaway=True)
    assert await answer(await cluster.start(), "SELECT answer FROM kept") == 42
    await cluster.stop()


async def test_a_stopping_postmaster_is_waited_for(started: PrivateCluster, data: Path) -> None:
    postmaster = running(data / "postgres")
    assert postmaster is not None
    reader = await asyncpg.connect(started.url())
    os.kill(postmaster.pid, signal.SIGTERM)  # waits for its clients, so it is stopping for as long as we like
    os.close(started._lock or -1)
    successor = PrivateCluster(data, throwaway=True)
    start = asyncio.create_task(successor.start(), name="start")
    async with asyncio.timeout(30):
        while (found := running(data / "postgres")) and found.status != "stopping":
            await asyncio.sleep(0.01)
    assert not start.done()
    await reader.close()
    assert await answer(await start, "SELECT 1") == 1
    started._lock = None
    await successor.stop()


async def test_a_killed_postmaster_is_started_again_with_all_that_was_committed(
    started: PrivateCluster, data: Path
) -> None:
    await answer(started.url(), "CREATE TABLE kept AS SELECT 42 AS answer")
    watch = asyncio.create_task(started.keep_running(), name="watch")
    bystander = await asyncpg.connect(started.url())  # its back-end outlives the postmaster for a moment
    postmaster = running(data / "postgres")
    assert postmaster is not None
    os.kill(postmaster.pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        while not ((found := running(data / "postgres")) and found.pid != postmaster.pid and found.status == "ready"):
            await asyncio.sleep(0.01)
    assert await answer(started.url(), "SELECT answer FROM kept") == 42
    bystander.terminate()
    watch.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watch


async def test_a_left_over_pid_that_another_program_has_now_is_not_believed(
    started: PrivateCluster, data: Path
) -> None:
    pid_file = data / "postgres" / PID_FILE
    left_over = pid_file.read_text().splitlines()[1:]
    await started.stop()
    account = account_for(data / "postgres")
    # A program of the same user: the case that PostgreSQL alone cannot tell from a live postmaster.
    drop = {"user": account.uid, "group": account.gid} if os.geteuid() == 0 else {}
    with subprocess.Popen(["sleep", "60"], **drop) as bystander:  # type: ignore[call-overload]
        pid_file.write_text("\n".join([str(bystander.pid), *left_over]) + "\n")
        account.take(pid_file)
        assert running(data / "postgres") is None
        assert await answer(await started.start(), "SELECT 1") == 1
        assert bystander.poll() is None
        bystander.kill()


async def test_a_damaged_pid_file_is_not_believed(started: PrivateCluster, data: Path) -> None:
    pid_file = data / "postgres" / PID_FILE
    for text in ("", "\n", "nonsense\n", "-5\n"):
        await started.stop()
        pid_file.write_text(text)
        account_for(data / "postgres").take(pid_file)
        assert running(data / "postgres") is None
        assert await answer(await started.start(), "SELECT 1") == 1


# What only the machine's owner can give


def test_without_postgis_the_line_to_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="PostGIS is missing; run: ") as missing:
        choose([], None, tmp_path)
    assert missing.value.message.endswith(install_line())


def test_a_postgresql_without_postgis_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "share" / "extension").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    for program in ("postgres", "initdb", "pg_ctl", "pg_config"):
        path = tmp_path / "bin" / program
        path.write_text(f"#!/bin/sh\necho PostgreSQL 99.1\necho {tmp_path}/share\necho --with-lz4\necho -lm\n")
        path.chmod(0o755)
    assert 99 not in {each.major for each in installations([f"{tmp_path}/b*"])}
    (tmp_path / "share" / "extension" / "postgis.control").touch()
    assert installations([f"{tmp_path}/b*"])[0] == Installation(tmp_path / "bin", 99, lz4=True)


def test_a_new_cluster_takes_the_newest_version_and_an_old_one_its_own() -> None:
    newest, older = (Installation(Path(f"/usr/lib/postgresql/{major}/bin"), major, lz4=True) for major in (17, 15))
    assert choose([newest, older], None, Path("/data")) is newest
    assert choose([newest, older], 15, Path("/data")) is older


async def test_a_cluster_of_another_version_is_refused_by_name(started: PrivateCluster, data: Path) -> None:
    await started.stop()
    version = data / "postgres" / "PG_VERSION"
    present = version.read_text()
    version.write_text("9\n")
    with pytest.raises(SetupError, match=r"made by PostgreSQL 9; this machine has .*Install PostgreSQL 9 with PostGIS"):
        await started.start()
    version.write_text(present)


def test_a_socket_path_too_long_for_the_system_falls_back_to_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 80)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    account = Account(os.geteuid(), os.getegid(), "me")
    path = socket_dir(Path("/data/postgres"), account)
    assert path.parent == Path("/tmp")
    path.rmdir()


def test_a_socket_directory_that_somebody_else_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    account = Account(os.geteuid(), os.getegid(), "me")
    path = socket_dir(Path("/data/postgres"), account)
    path.rmdir()
    path.symlink_to(tmp_path)
    with pytest.raises(SetupError, match="belongs to somebody else"):
        socket_dir(Path("/data/postgres"), account)


@ROOT_ONLY
async def test_data_where_the_databases_user_may_not_go_are_refused_with_the_remedy(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    blocked = next(each for each in (*reversed(closed.parents), closed) if each.stat().st_mode & 0o001 == 0)
    with pytest.raises(SetupError, match=rf"may not enter {blocked}: .*--data.*chmod o\+x {blocked}$"):
        await PrivateCluster(closed / "data").start()


async def test_a_place_where_no_directory_can_be_made_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match=r"file/data cannot be made .*--data"):
        await PrivateCluster(tmp_path / "file" / "data").start()


# Fitted to the machine


def test_a_real_cluster_is_durable_and_sized_by_its_machine(tmp_path: Path) -> None:
    installation = Installation(Path("/bin"), 15, lz4=True)
    text = configuration(installation, tmp_path, Path("/tmp/it's"), throwaway=False)
    settings = dict(line.split(" = ", 1) for line in text.splitlines()[1:])
    assert (settings["fsync"], settings["full_page_writes"], settings["synchronous_commit"]) == ("'on'", "'on'", "'on'")
    assert settings["wal_compression"] == settings["default_toast_compression"] == "'lz4'"
    assert settings["unix_socket_directories"] == "'/tmp/it''s'"
    shared_mib = int(settings["shared_buffers"].strip("'MB"))
    assert 128 <= shared_mib <= 4096
    assert shared_mib in (128, 4096) or shared_mib == usable_memory_bytes() // 4 // 1024**2


def test_a_build_without_lz4_is_not_asked_for_it(tmp_path: Path) -> None:
    installation = Installation(Path("/bin"), 15, lz4=False)
    assert "= 'lz4'" not in configuration(installation, tmp_path, tmp_path, throwaway=True)


def test_the_data_stand_where_the_system_keeps_such_things(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "/home/me/data")
    assert default_data_dir() == Path("/home/me/data/tracker")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_data_dir() == Path("/home/me/.local/share/tracker")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_data_dir() == Path("/home/me/Library/Application Support/tracker")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_dir() == Path("/var/lib/tracker")
