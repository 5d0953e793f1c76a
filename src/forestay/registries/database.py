"""The SQLite file behind `SqliteStore`: opening it safely, applying groups of commits, and naming what went wrong.

Blocking, and used by one thread at a time. The idea of the group: a transaction costs one fdatasync however many
commits it carries, so commits that wait together are applied together.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forestay.registries.store import (
    Delete,
    DeletePrefix,
    Guard,
    GuardFailed,
    Indeterminate,
    Item,
    Operation,
    Put,
    Snapshot,
    StoreError,
    Unavailable,
    Unusable,
    WatchBatch,
)

APPLICATION_ID = 0x464F5253
"""'FORS': marks the file as ours, so that nobody else's database is ever written to."""
FORMAT = 1
PAGE_BYTES = 4096
LOCK_WAIT_MS = 200
"""How long another program (an operator's sqlite3 shell) may hold the write lock before a commit is refused."""
WAL_BYTES_KEPT = 64 << 20
_SCHEMA = f"""
    BEGIN IMMEDIATE;
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = {FORMAT};
    CREATE TABLE item (
        key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL, created INTEGER NOT NULL,
        session INTEGER NOT NULL
    );
    CREATE INDEX item_session ON item (session) WHERE session != 0;
    CREATE TABLE revision (last INTEGER NOT NULL);
    INSERT INTO revision VALUES (0);
    COMMIT;
"""
_UPSERT = """
    INSERT INTO item VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision, session = excluded.session
"""


@dataclass(frozen=True, slots=True)
class DropSession:
    """Remove every key of a session."""

    session: int


class Database:
    """One open file, locked against other processes.

    Attributes:
        revision: of the last commit.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int) -> None:
        self._path = path
        self._connection = connection
        self._lock = lock
        self.revision: int = connection.execute("SELECT last FROM revision").fetchone()[0]

    @classmethod
    def open(cls, path: Path, size_bytes_max: int | None = None) -> "Database":
        """Open the file at `path`, or make it; keys of sessions of an earlier life are removed.

        Raises:
            Unusable: damaged, not ours, in use by another process, or out of reach.
            Unavailable: the disk is full, or another program holds it locked.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = _lock(path)
        except OSError as error:
            raise Unusable(f"{path}: {error.strerror}: check the path and its permissions") from error
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            _prepare(path, connection, size_bytes_max)
            database = cls(path, connection, lock)
            database._drop_old_sessions()
        except BaseException as error:
            if connection is not None:
                connection.close()
            os.close(lock)
            if isinstance(error, sqlite3.Error):
                raise _translate(path, error, opening=True) from error
            raise
        return database

    def read(self, prefix: bytes) -> Snapshot:
        """Everything under `prefix`, by key."""
        where, bounds = _under(prefix)
        try:
            rows = self._connection.execute(
                f"SELECT key, value, revision, created, session FROM item WHERE {where} ORDER BY key", bounds
            )
            return Snapshot(self.revision, [Item(*row) for row in rows])
        except sqlite3.Error as error:
            raise _translate(self._path, error) from error

    def apply(
        self, commits: Sequence[tuple[Sequence[Operation | DropSession], Sequence[Guard]]]
    ) -> list[WatchBatch | GuardFailed]:
        """Apply a group in one transaction, each commit if its guards hold; durable on return.

        Returns:
            What each changed, or why it was not applied.

        Raises:
            Unavailable: none was applied.
            Indeterminate: the disk failed while writing the end of the transaction: all or none.
        """
        results: list[WatchBatch | GuardFailed] = []
        revision = self.revision
        ending = False
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for operations, guards in commits:
                failed = next((guard for guard in guards if not guard.holds(self._get(guard.key))), None)
                if failed is not None:
                    results.append(GuardFailed(f"{failed} does not hold: read the key again"))
                    continue
                revision += 1
                results.append(self._apply_one(operations, revision))
            self._connection.execute("UPDATE revision SET last = ?", (revision,))
            ending = True
            self._connection.execute("COMMIT")
        except Exception as error:
            with contextlib.suppress(sqlite3.Error):  # SQLite has rolled back by itself after some errors
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise _translate(self._path, error, ending=ending) from error
            raise
        self.revision = revision
        return results

    def close(self) -> None:
        """Close the file and let others have it."""
        self._connection.close()
        os.close(self._lock)

    def _get(self, key: bytes) -> Item | None:
        row = self._connection.execute(
            "SELECT key, value, revision, created, session FROM item WHERE key = ?", (key,)
        ).fetchone()
        return Item(*row) if row else None

    def _apply_one(self, operations: Sequence[Operation | DropSession], revision: int) -> WatchBatch:
        execute = self._connection.execute
        puts: list[Item] = []
        deletes: list[bytes] = []
        for op in operations:
            if isinstance(op, Put):
                row = execute("SELECT created FROM item WHERE key = ?", (op.key,)).fetchone()
                item = Item(op.key, op.value, revision, row[0] if row else revision, op.session)
                execute(_UPSERT, (item.key, item.value, item.revision, item.created, item.session))
                puts.append(item)
                continue
            bounds: tuple[bytes | int, ...]
            if isinstance(op, Delete):
                where, bounds = "key = ?", (op.key,)
            elif isinstance(op, DeletePrefix):
                where, bounds = _under(op.prefix)
            else:
                where, bounds = "session = ? AND session != 0", (op.session,)
            gone = [row[0] for row in execute(f"SELECT key FROM item WHERE {where} ORDER BY key", bounds)]
            if gone:
                execute(f"DELETE FROM item WHERE {where}", bounds)
                deletes.extend(gone)
        return WatchBatch(revision, puts, deletes)

    def _drop_old_sessions(self) -> None:
        """Sessions are timers of this process: those of an earlier life have ended."""
        old = self._connection.execute("SELECT DISTINCT session FROM item WHERE session != 0").fetchall()
        if old:
            self.apply([([DropSession(row[0]) for row in old], ())])


def _under(prefix: bytes) -> tuple[str, tuple[bytes, ...]]:
    """SQL condition for keys that start with `prefix`, and its parameters."""
    head = prefix.rstrip(b"\xff")
    if not head:
        return "key >= ?", (prefix,)
    return "key >= ? AND key < ?", (prefix, head[:-1] + bytes([head[-1] + 1]))


def _lock(path: Path) -> int:
    """Take the lock file beside `path` for as long as the returned descriptor is open (the process at the longest).

    A file of its own, because closing any descriptor of the database would drop SQLite's own locks on it.
    """
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(lock, 32, 0).decode(errors="replace").strip()
        os.close(lock)
        raise Unusable(
            f"{path} is in use by process {owner or 'unknown'}: stop it, or give this one another registry path"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    return lock


def _prepare(path: Path, connection: sqlite3.Connection, size_bytes_max: int | None) -> None:
    """Check that the file is sound and ours, make the tables of a new one, and set how it is written."""
    execute = connection.execute
    execute(f"PRAGMA busy_timeout = {LOCK_WAIT_MS}")
    execute(f"PRAGMA page_size = {PAGE_BYTES}")
    application, layout = (execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    is_new = execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if not is_new:
        if application != APPLICATION_ID:
            raise Unusable(f"{path} is a database of another program: give another registry path")
        if layout != FORMAT:
            raise Unusable(f"{path} has format {layout}, this forestay reads {FORMAT}: run the version that wrote it")
        found = execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise Unusable(_damaged(path, found))
    if execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise Unusable(f"{path}: no write-ahead log on this file system: put the registry on a local disk")
    execute("PRAGMA synchronous = FULL")
    execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
    if size_bytes_max is not None:
        execute(f"PRAGMA max_page_count = {max(1, size_bytes_max // PAGE_BYTES)}")
    if is_new:
        connection.executescript(_SCHEMA)


def _translate(path: Path, error: sqlite3.Error, *, opening: bool = False, ending: bool = False) -> StoreError:
    """What an SQLite error means to the caller."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return Unavailable(f"{path}: disk full, or the registry has reached its size limit: make room")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(f"{path}: another program holds it locked: end that program's transaction")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Unusable(_damaged(path, str(error)))
    if opening:
        return Unusable(f"{path}: {error}: check the path and its permissions")
    if ending and code == sqlite3.SQLITE_IOERR:
        return Indeterminate(f"{path}: {error} while ending a transaction: check the disk")
    return Unavailable(f"{path}: {error}: check the disk")


def _damaged(path: Path, found: str) -> str:
    return (
        f"{path} is damaged ({found.splitlines()[0]}): move it away and start again; relays that still run report "
        "their connections anew, learned load is learned again"
    )
