"""The buffer file: who may open it, what it refuses, what a full disk does."""

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tracker.sdk.buffer import Lane, Limits, Numbered
from tracker.sdk.disk import FORMAT, DiskBuffer
from tracker.sdk.errors import BufferFailed, BufferInUse

LIMITS = Limits(max_fixes=1_000_000, max_bytes=256 * 2**20)


def open_buffer(path: Path) -> DiskBuffer:
    return DiskBuffer(path, LIMITS, Lane.LIVE)


def test_streams_and_numbers_survive_a_new_start(tmp_path: Path) -> None:
    path = tmp_path / "buffer.db"
    first = open_buffer(path)
    first.append([b"a", b"b"], Lane.LIVE)
    first.append([b"c"], None)
    first.close()

    second = open_buffer(path)

    assert second.stream(Lane.LIVE) == first.stream(Lane.LIVE)
    assert second.take(Lane.LIVE, 0, 10, 100) == [Numbered(1, b"a"), Numbered(2, b"b")]
    assert second.take(Lane.LIVE, 2, 10, 100) == [Numbered(3, b"c")]
    second.close()


def test_only_the_owner_may_read_where_someone_has_been(tmp_path: Path) -> None:
    open_buffer(tmp_path / "buffer.db").close()

    assert stat.S_IMODE((tmp_path / "buffer.db").stat().st_mode) == 0o600


def test_a_second_opening_in_this_process_is_refused(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path / "buffer.db")

    with pytest.raises(BufferInUse, match="every device needs a buffer of its own"):
        open_buffer(tmp_path / "buffer.db")
    buffer.close()

    open_buffer(tmp_path / "buffer.db").close()


def test_a_second_process_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    path = tmp_path / "buffer.db"
    program = f"""
from pathlib import Path
from tracker.sdk.buffer import Lane, Limits
from tracker.sdk.disk import DiskBuffer
buffer = DiskBuffer(Path({str(path)!r}), Limits(100, 1_000_000), Lane.LIVE)
print("open", flush=True)
input()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(BufferInUse, match="open in another device object or process"):
            open_buffer(path)
        other.kill()
        other.wait()

    open_buffer(path).close()


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "music.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE song (title TEXT)")
    other.close()

    with pytest.raises(BufferFailed, match="SQLite file of another program"):
        open_buffer(path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and long enough to be told from an empty file" * 20)

    with pytest.raises(BufferFailed, match="cannot be used: file is not a database"):
        open_buffer(path)


def test_a_later_format_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "buffer.db"
    open_buffer(path).close()
    with sqlite3.connect(path) as later:
        later.execute(f"PRAGMA user_version = {FORMAT + 1}")
    later.close()

    with pytest.raises(BufferFailed, match=f"has buffer format {FORMAT + 1}, this SDK reads {FORMAT}"):
        open_buffer(path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BufferFailed, match=r"nowhere/buffer\.db"):
        open_buffer(tmp_path / "nowhere" / "buffer.db")


def test_a_full_disk_keeps_nothing_of_the_batch_and_works_again_later(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path / "buffer.db")
    buffer.append([b"kept"], None)
    (pages,) = buffer._db.execute("PRAGMA page_count").fetchone()
    buffer._db.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(BufferFailed, match="full"):
        buffer.append([b"x" * 1_000] * 100, None)
    assert (buffer.pending, buffer.pending_bytes) == (1, 4)

    buffer._db.execute("PRAGMA max_page_count = 1000000")
    buffer.append([b"later"], None)
    assert [fix.body for fix in buffer.take(Lane.LIVE, 0, 10, 100)] == [b"kept", b"later"]
    buffer.close()


def test_a_drained_backlog_gives_its_room_back(tmp_path: Path) -> None:
    path = tmp_path / "buffer.db"
    buffer = open_buffer(path)
    buffer.append([b"x" * 1_000] * 2_000, Lane.LIVE)
    buffer.close()
    full_bytes = path.stat().st_size
    buffer = open_buffer(path)
    buffer.settle(Lane.LIVE, 2_000)
    buffer.close()

    open_buffer(path).close()

    assert path.stat().st_size < full_bytes / 10


def test_deletions_wait_for_the_next_write_but_not_for_ever(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path / "buffer.db")
    buffer.append([b"x"] * 12_000, Lane.LIVE)

    buffer.settle(Lane.LIVE, 10)
    waits = buffer._db.in_transaction
    buffer.settle(Lane.LIVE, 11_000)

    assert waits
    assert not buffer._db.in_transaction
    buffer.close()
