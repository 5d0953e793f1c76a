"""A store in one SQLite file: the default registry of one machine.

Write-ahead log, `synchronous = FULL`: what was committed survives a kill -9 and a power cut (as far as the disk tells
the truth). One thread owns the file; commits that wait for it are applied as one transaction, one fdatasync for all.
The event loop never blocks on the disk.

Limits: one process at a time (a second is refused), watches and sessions live in that process.
"""

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import structlog

from forestay.registries.database import Database, DropSession
from forestay.registries.history import History
from forestay.registries.sessions import LocalSession, LocalSessions, local_caps
from forestay.registries.store import (
    COMMIT_TIMEOUT_S,
    Guard,
    Indeterminate,
    Operation,
    Snapshot,
    StoreCaps,
    StoreError,
    Unavailable,
    WatchBatch,
    check_commit,
)

QUEUE_MAX = 256
"""Commits and reads that may wait for the disk: some 64 fdatasyncs of work; more wait at the caller's timeout."""
GROUP_MAX = 64
"""Commits in one transaction: bounds how long the first of them waits for the last."""
DROP_RETRY_S = 0.5

_log = structlog.get_logger(__name__)
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, eq=False)
class _Commit:
    operations: Sequence[Operation | DropSession]
    guards: Sequence[Guard]
    result: Future[int] = field(default_factory=Future)


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    prefix: bytes
    result: Future[Snapshot] = field(default_factory=Future)


class SqliteStore:
    """Implements `Store`. Made by `open`; belongs to the event loop it was opened on."""

    def __init__(self, database: Database, loop: asyncio.AbstractEventLoop) -> None:
        self._database = database
        self._loop = loop
        self._history = History(database.revision)
        self._sessions = LocalSessions(self._drop_session)
        self._room = asyncio.Semaphore(QUEUE_MAX)
        self._jobs: queue.SimpleQueue[_Commit | _Read | None] = queue.SimpleQueue()
        self._closing = False  # nothing new from outside
        self._stopped = False  # nothing at all: the thread takes no more jobs
        # A daemon: a process that ends without close() must not hang; whatever was not committed was not acknowledged.
        self._thread = threading.Thread(target=self._work, name="registry-sqlite", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, path: str | Path, size_bytes_max: int | None = None) -> "SqliteStore":
        """Open the file at `path`, or make it.

        Args:
            path: on a local file system.
            size_bytes_max: the file grows no further (its write-ahead log is some 4 MiB besides); None: no limit.

        Raises:
            Unusable: damaged, not ours, in use by another process, or out of reach; the message says what to do.
            Unavailable: the disk is full, or another program holds it locked.
        """
        database = await asyncio.to_thread(Database.open, Path(path), size_bytes_max)
        return cls(database, asyncio.get_running_loop())

    @property
    def caps(self) -> StoreCaps:
        """See `Store.caps`."""
        return local_caps(durable=True)

    async def read(self, prefix: bytes, *, stale: bool = False) -> Snapshot:
        """See `Store.read`."""
        self._check_open()
        await self._room.acquire()
        job = _Read(prefix)
        self._enqueue(job)
        return await self._wait(job.result)

    async def commit(
        self,
        operations: Sequence[Operation],
        guards: Sequence[Guard] = (),
        *,
        timeout_s: float = COMMIT_TIMEOUT_S,
    ) -> int:
        """See `Store.commit`."""
        self._check_open()
        check_commit(operations, guards, self.caps)
        self._sessions.check(operations)
        return await self._commit(operations, guards, timeout_s)

    def watch(self, prefix: bytes, after: int) -> AsyncGenerator[WatchBatch, None]:
        """See `Store.watch`. Changes of an earlier life of the process are not known: `Compacted`."""
        return self._history.watch(prefix, after)

    async def session(self, ttl_s: float) -> LocalSession:
        """See `Store.session`."""
        self._check_open()
        return self._sessions.open(ttl_s)

    async def trim(self, through: int) -> None:
        """See `Store.trim`."""
        self._history.trim(through)

    async def close(self) -> None:
        """See `Store.close`."""
        if self._closing:
            return
        self._closing = True
        await self._sessions.end_all()
        self._stopped = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._history.close()

    async def _commit(
        self, operations: Sequence[Operation | DropSession], guards: Sequence[Guard], timeout_s: float
    ) -> int:
        deadline_s = self._loop.time() + timeout_s
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._room.acquire()
        except TimeoutError:
            raise Unavailable(f"{QUEUE_MAX} commits have waited {timeout_s} s for the disk: is it too slow?") from None
        job = _Commit(operations, guards)
        self._enqueue(job)
        return await self._wait(job.result, deadline_s)

    def _enqueue(self, job: _Commit | _Read) -> None:
        """Hand a job to the thread; the caller has acquired room for it."""
        if self._stopped:
            self._room.release()
            raise Unavailable("the store was closed: open it again")
        self._jobs.put(job)

    async def _wait(self, result: "Future[_Result]", deadline_s: float | None = None) -> _Result:
        """The result of a job that is in the queue, or why it is not known by `deadline_s`."""
        waiting = asyncio.wrap_future(result)
        waiting.add_done_callback(self._leave)
        timeout_s = None if deadline_s is None else max(0.0, deadline_s - self._loop.time())
        await asyncio.wait({waiting}, timeout=timeout_s)
        if waiting.done():
            return waiting.result()
        if result.cancel():
            raise Unavailable("time ran out while the commit waited for the disk: is it too slow?")
        raise Indeterminate("time ran out while the disk was writing: repeat the commit")

    def _leave(self, waiting: "asyncio.Future[_Result]") -> None:
        self._room.release()
        if not waiting.cancelled():
            waiting.exception()  # the caller may have given up: an error that nobody fetches is no news then

    async def _drop_session(self, session_id: int) -> None:
        """Remove the keys of a session, however long the disk refuses."""
        while True:
            try:
                await self._commit([DropSession(session_id)], (), COMMIT_TIMEOUT_S)
            except StoreError as error:
                _log.warning("session_keys_not_removed", session=session_id, error=str(error))
                if self._closing:
                    return  # removed when the file is opened again
                await asyncio.sleep(DROP_RETRY_S)
            else:
                return

    def _work(self) -> None:
        """The thread: take what waits, apply it in order, commits that follow each other as one transaction."""
        running = True
        while running:
            jobs = [self._jobs.get()]
            while len(jobs) < GROUP_MAX and not self._jobs.empty():
                jobs.append(self._jobs.get())
            group: list[_Commit] = []
            for job in jobs:
                if job is None:
                    running = False
                elif not job.result.set_running_or_notify_cancel():
                    continue
                elif isinstance(job, _Commit):
                    group.append(job)
                else:
                    self._apply(group)
                    group = []
                    self._read(job)
            self._apply(group)
        self._database.close()

    def _read(self, job: _Read) -> None:
        try:
            job.result.set_result(self._database.read(job.prefix))
        except Exception as error:  # also our own mistakes: the thread must go on, and the caller must hear of it
            job.result.set_exception(error)

    def _apply(self, group: Sequence[_Commit]) -> None:
        if not group:
            return
        try:
            results = self._database.apply([(job.operations, job.guards) for job in group])
        except Exception as error:  # see `_read`
            for job in group:
                job.result.set_exception(error)
            return
        # Before the results: a commit that has returned is in the history.
        changes = [result for result in results if isinstance(result, WatchBatch)]
        self._loop.call_soon_threadsafe(self._publish, changes)
        for job, result in zip(group, results, strict=True):
            if isinstance(result, WatchBatch):
                job.result.set_result(result.revision)
            else:
                job.result.set_exception(result)

    def _publish(self, changes: Sequence[WatchBatch]) -> None:
        for batch in changes:
            self._history.publish(batch)

    def _check_open(self) -> None:
        if self._closing:
            raise Unavailable("the store was closed: open it again")
