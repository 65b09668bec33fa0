"""The buffer on disk: one SQLite file, open in one place at a time, safe against a kill and a power cut.

`synchronous=FULL` because a number must never be given twice: if a power cut took back the last transactions, a new
fix could get a number that the server already has, and would be taken for a duplicate and deleted unsent.
Deletions after acks are not worth a sync of their own: they are committed with the next write, and if they are lost
the server's next welcome repeats them.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from tracker.sdk.buffer import Buffer, Lane, Limits, Numbered, first_run, new_stream
from tracker.sdk.errors import BufferFailed, BufferInUse

FORMAT: Final = 1
_APPLICATION_ID: Final = 0x74726B62  # "trkb"
_COMMIT_DELETIONS_AFTER: Final = 5_000  # fixes; keeps the open transaction, and so the write-ahead log, small

_SCHEMA: Final = """
CREATE TABLE lane (lane INTEGER PRIMARY KEY, stream TEXT NOT NULL, next_seq INTEGER NOT NULL);
CREATE TABLE waiting (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE numbered (lane INTEGER NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (lane, seq));
CREATE TABLE dropped (fixes INTEGER NOT NULL);
INSERT INTO dropped VALUES (0);
"""


class DiskBuffer(Buffer):
    """One file; its calls block, so the device makes them in one thread of its own."""

    def __init__(self, path: Path, limits: Limits, drain_lane: Lane) -> None:
        super().__init__(limits, drain_lane)
        self.path = path
        self._deleted = 0  # fixes deleted in the transaction that is open
        with self._translated():
            # The places someone has been are nobody else's business.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            with self._translated():
                self._prepare()
                self._count()
        except BaseException:
            self._db.close()
            raise

    def stream(self, lane: Lane) -> str:
        return self._streams[lane]

    def next_seq(self, lane: Lane) -> int:
        return self._next_seqs[lane]

    def append(self, bodies: Sequence[bytes], lane: Lane | None) -> None:
        with self._transaction():
            if lane is None:
                self._db.executemany("INSERT INTO waiting (body) VALUES (?)", ((body,) for body in bodies))
            self.pending += len(bodies)
            if lane is not None:
                self._number(lane, bodies)
                self.numbered[lane] += len(bodies)
            self.pending_bytes += sum(map(len, bodies))
            if not self.has_room(0, 0):
                self._drop_oldest()

    def take(self, lane: Lane, after: int, max_fixes: int, max_bytes: int) -> list[Numbered]:
        with self._translated():
            rows = self._db.execute(
                "SELECT seq, body FROM numbered WHERE lane = ? AND seq > ? ORDER BY seq LIMIT ?",
                (lane, after, max_fixes),
            )
            run = first_run(map(Numbered._make, rows), max_fixes, max_bytes)
        if run or lane is not self.drain_lane or not self.waiting:
            return run
        with self._transaction():
            return self._number_oldest(lane, max_fixes, max_bytes)

    def promote_newest(self, lane: Lane) -> None:
        if not self.waiting:
            return
        with self._transaction():
            row_id, body = self._db.execute("SELECT id, body FROM waiting ORDER BY id DESC LIMIT 1").fetchone()
            self._number(lane, [body])
            self._db.execute("DELETE FROM waiting WHERE id = ?", (row_id,))
            self.numbered[lane] += 1

    def settle(self, lane: Lane, seq: int) -> int:
        with self._translated():
            self._begin()
            (size_bytes,) = self._db.execute(
                "SELECT coalesce(sum(length(body)), 0) FROM numbered WHERE lane = ? AND seq <= ?", (lane, seq)
            ).fetchone()
            fixes = self._db.execute("DELETE FROM numbered WHERE lane = ? AND seq <= ?", (lane, seq)).rowcount
            self.numbered[lane] -= fixes
            self.pending -= fixes
            self.pending_bytes -= size_bytes
            self._deleted += fixes
            if self._deleted >= _COMMIT_DELETIONS_AFTER:
                self._commit()
        return fixes

    def find(self, lane: Lane, seqs: Iterable[int]) -> list[Numbered]:
        with self._translated():
            found = (
                self._db.execute("SELECT seq, body FROM numbered WHERE lane = ? AND seq = ?", (lane, seq)).fetchone()
                for seq in seqs
            )
            return [Numbered._make(row) for row in found if row is not None]

    def renew(self, lane: Lane) -> None:
        with self._transaction():
            bodies = [
                body for (body,) in self._db.execute("SELECT body FROM numbered WHERE lane = ? ORDER BY seq", (lane,))
            ]
            self._db.execute("DELETE FROM numbered WHERE lane = ?", (lane,))
            self._streams[lane], self._next_seqs[lane] = new_stream(lane), 1
            self._db.execute("UPDATE lane SET stream = ? WHERE lane = ?", (self._streams[lane], lane))
            self._number(lane, bodies)

    def close(self) -> None:
        try:
            with self._translated():
                self._commit()
        finally:
            self._db.close()

    def _number(self, lane: Lane, bodies: Sequence[bytes]) -> list[Numbered]:
        numbered = list(map(Numbered, count(self._next_seqs[lane]), bodies))
        self._db.executemany("INSERT INTO numbered VALUES (?, ?, ?)", ((lane, *fix) for fix in numbered))
        self._advance(lane, len(bodies))
        return numbered

    def _number_oldest(self, lane: Lane, max_fixes: int, max_bytes: int) -> list[Numbered]:
        # A row's id stands in for its number here: only how many fit is asked, and ids may have gaps.
        rows = self._db.execute("SELECT id, body FROM waiting ORDER BY id LIMIT ?", (max_fixes,)).fetchall()
        fitting = first_run((Numbered(i, body) for i, (_, body) in enumerate(rows)), max_fixes, max_bytes)
        self._db.execute("DELETE FROM waiting WHERE id <= ?", (rows[len(fitting) - 1][0],))
        run = self._number(lane, [body for _, body in fitting])
        self.numbered[lane] += len(run)
        return run

    def _drop_oldest(self) -> None:
        last_id, fixes = None, 0
        for row_id, size_bytes in self._db.execute("SELECT id, length(body) FROM waiting ORDER BY id"):
            if self.has_room(0, 0):
                break
            last_id = row_id
            fixes += 1
            self.pending -= 1
            self.pending_bytes -= size_bytes
        if last_id is not None:
            self._db.execute("DELETE FROM waiting WHERE id <= ?", (last_id,))
            self._db.execute("UPDATE dropped SET fixes = fixes + ?", (fixes,))
            self._advance(self.drain_lane, fixes)
            self.dropped += fixes

    def _advance(self, lane: Lane, numbers: int) -> None:
        self._next_seqs[lane] += numbers
        self._db.execute("UPDATE lane SET next_seq = ? WHERE lane = ?", (self._next_seqs[lane], lane))

    def _prepare(self) -> None:
        # Exclusive mode takes the file's lock at the first access and keeps it until close, or until the process dies.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA journal_size_limit = 4194304")
        self._db.execute("BEGIN IMMEDIATE")
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables == 0:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {FORMAT}")
            for lane in Lane:
                self._db.execute("INSERT INTO lane VALUES (?, ?, 1)", (lane, new_stream(lane)))
        self._db.execute("COMMIT")
        self._check_format()
        # Give back the room that a drained backlog has left. A single execute would free one page only.
        self._db.executescript("PRAGMA incremental_vacuum")

    def _check_format(self) -> None:
        (application_id,) = self._db.execute("PRAGMA application_id").fetchone()
        (user_version,) = self._db.execute("PRAGMA user_version").fetchone()
        if application_id != _APPLICATION_ID:
            raise BufferFailed(f"{self.path} is an SQLite file of another program; give the buffer a file of its own")
        if user_version != FORMAT:
            raise BufferFailed(
                f"{self.path} has buffer format {user_version}, this SDK reads {FORMAT}; "
                "drain it with the version that wrote it"
            )

    def _count(self) -> None:
        """Read the counts from the file: at the start, and after a transaction that failed."""
        self._streams: dict[Lane, str] = {}
        self._next_seqs: dict[Lane, int] = {}
        for number, stream, next_seq in self._db.execute("SELECT lane, stream, next_seq FROM lane"):
            self._streams[Lane(number)], self._next_seqs[Lane(number)] = (stream, next_seq)
        pending, size_bytes = self._db.execute(
            "SELECT count(*), coalesce(sum(length(body)), 0) FROM waiting"
        ).fetchone()
        numbered = dict.fromkeys(Lane, 0)
        for number, fixes, lane_bytes in self._db.execute(
            "SELECT lane, count(*), sum(length(body)) FROM numbered GROUP BY lane"
        ):
            numbered[Lane(number)] = fixes
            pending += fixes
            size_bytes += lane_bytes
        self.pending, self.numbered, self.pending_bytes = pending, numbered, size_bytes
        (self.dropped,) = self._db.execute("SELECT fixes FROM dropped").fetchone()

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")

    def _commit(self) -> None:
        if self._db.in_transaction:
            self._db.execute("COMMIT")
        self._deleted = 0

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All that is done within reaches the disk, with the deletions before it, or nothing and the counts say so."""
        with self._translated():
            try:
                self._begin()
                yield
                self._commit()
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._deleted = 0
                self._count()
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as exc:
            if "locked" in str(exc):
                raise BufferInUse(
                    f"{self.path} is open in another device object or process; every device needs a buffer of its own"
                ) from exc
            raise BufferFailed(f"the buffer {self.path} cannot be used: {exc}") from exc
        except (sqlite3.Error, OSError) as exc:
            raise BufferFailed(f"the buffer {self.path} cannot be used: {exc}") from exc
