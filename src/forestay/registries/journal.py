"""The write-behind journal: changes of 10 ms become one key in the store, and nobody waits for it.

The idea: what waits to be written is not a log but a *set of connections that changed* (a window); a batch is encoded
from the index at the moment it is sent. So a connection that opens and closes within one window costs nothing, and
while the store is away the window stays bounded by itself: at most one entry for each connection the store knows and
one for each open now, however long it lasts.

Batches are numbered within *generations*. Replaying them in order gives the truth: each record says where a connection
is, whatever was before, so a batch that is written twice, or whose forerunner was lost, does no harm. Folding ends a
generation (`folding`).

Source: group commit as in any database log; windows of a set rather than a log: LSM memtables.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol

import structlog

from forestay.registries.records import RECORD_BYTES_MAX, BatchEncoder
from forestay.registries.store import Operation, Put, Store

BATCHES_IN_FLIGHT_MAX = 4
BATCH_RECORDS_MAX = 4000
BATCH_BYTES_MAX = 512 << 10
KEY_BYTES = 128
"""What a journal key costs in a store besides its value: the key twice, revisions, a row's header."""
RETRY_S_MIN, RETRY_S_MAX = 0.02, 1.0

_log = structlog.get_logger(__name__)


class Backlog(Protocol):
    """Looks up what is to be written."""

    def get(self, key: bytes) -> tuple[str, bytes] | None:
        """Endpoint id and body of a connection as it is now, None: gone."""


class Window:
    """Connections that changed within one interval, and whether all of it has been written.

    Attributes:
        changes: by key, whether an earlier window (so perhaps the store) knows the connection; while it is open.
        unsent: the same keys once it is closed, as long as no batch has them.
        batches: sent and not written yet.
        since_s: when the first change came.
        written: set when nothing of it is left to write.
    """

    __slots__ = ("batches", "changes", "since_s", "unsent", "written")

    def __init__(self) -> None:
        self.changes: dict[bytes, bool] = {}
        self.unsent: deque[bytes] = deque()
        self.batches = 0
        self.since_s = 0.0
        self.written = asyncio.Event()

    def close(self) -> None:
        """Take no more changes."""
        self.unsent.extend(self.changes)
        self.changes.clear()


class Journal:
    """Writes changes behind.

    Args:
        store: where to.
        prefix: of its keys.
        backlog: the index.
        interval_s: how long changes are gathered before they are written.
        written: called with the size of each batch that was written.
        rng: for the jitter of retries.

    Attributes:
        generation: of the batches to come.
        revision: of the store at the last commit.
        retries: commits repeated because the store was away.
        annihilated: opens that closed before they were written.
        failing_since_s: monotonic time since when no commit has succeeded though one was tried; None: all is well.
        error: the last one, for people; "" while all is well.
    """

    def __init__(
        self,
        store: Store,
        prefix: bytes,
        backlog: Backlog,
        interval_s: float,
        written: Callable[[int], None],
        rng: random.Random,
    ) -> None:
        self.generation = 0
        self.revision = 0
        self.retries = 0
        self.annihilated = 0
        self.failing_since_s: float | None = None
        self.error = ""
        self._store = store
        self._prefix = prefix
        self._backlog = backlog
        self._interval_s = interval_s
        self._written = written
        self._rng = rng
        self._sequence = 0
        self._window = Window()
        self._unwritten: dict[Window, None] = {}  # closed windows, oldest first
        self._records_in_flight = 0
        self._room = asyncio.Semaphore(BATCHES_IN_FLIGHT_MAX)
        self._work = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes_max = min(BATCH_BYTES_MAX, store.caps.value_bytes_max, store.caps.commit_bytes_max - 256)

    def start(self) -> None:
        """Begin to write."""
        self._spawn(self._run())

    def changed(self, key: bytes, known_before: bool) -> None:
        """A connection opened, moved, changed or closed.

        Args:
            key: of the connection; the index is up to date already.
            known_before: the index had it before this change.
        """
        changes = self._window.changes
        earlier = changes.get(key)
        if earlier is None:
            if not changes:
                self._window.since_s = self._loop.time()
                self._work.set()
            changes[key] = known_before
        elif not earlier and self._backlog.get(key) is None:
            del changes[key]
            self.annihilated += 1

    @property
    def pending(self) -> int:
        """Changes not written yet."""
        unsent = sum(len(window.unsent) for window in self._unwritten)
        return len(self._window.changes) + unsent + self._records_in_flight

    @property
    def oldest_pending_s(self) -> float:
        """How long the oldest of them has waited."""
        window = next(iter(self._unwritten), self._window)
        if window is self._window and not window.changes:
            return 0.0
        return self._loop.time() - window.since_s

    async def flush(self) -> None:
        """Return when all changes made before the call are durable."""
        windows = [*self._unwritten]
        if self._window.changes:
            windows.append(self._window)
        for window in windows:
            await window.written.wait()

    def rotate(self) -> int:
        """Begin a new generation; returns the one that ends. Its last batches may still be on their way: `flush`."""
        ended = self.generation
        self.generation += 1
        self._sequence = 0
        return ended

    async def persist(self, operations: Sequence[Operation]) -> None:
        """Commit `operations`, however long the store is away."""
        delay_s = RETRY_S_MIN
        while True:
            try:
                self.revision = max(self.revision, await self._store.commit(operations))
            except Exception as error:  # whatever a store raises, the journal must go on: it is reported by health
                self.retries += 1
                if self.failing_since_s is None:
                    self.failing_since_s = self._loop.time()
                    _log.warning("registry_degraded", error=str(error), pending=self.pending)
                self.error = f"{type(error).__name__}: {error}"
                await asyncio.sleep(delay_s * self._rng.uniform(0.5, 1.5))
                delay_s = min(2 * delay_s, RETRY_S_MAX)
                continue
            if self.failing_since_s is not None:
                away_s = self._loop.time() - self.failing_since_s
                _log.info("registry_recovered", away_s=round(away_s, 3), pending=self.pending)
            self.failing_since_s, self.error = None, ""
            return

    async def stop(self) -> None:
        """Stop writing, whatever is left."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            await asyncio.sleep(self._interval_s)
            self._work.clear()
            window, self._window = self._window, Window()
            window.close()
            self._unwritten[window] = None
            while window.unsent:
                await self._room.acquire()
                self._send(window)
            self._settle(window)

    def _send(self, window: Window) -> None:
        """Hand over one batch of the window."""
        batch = BatchEncoder()
        while window.unsent and batch.count < BATCH_RECORDS_MAX and batch.size + RECORD_BYTES_MAX <= self._bytes_max:
            key = window.unsent.popleft()
            found = self._backlog.get(key)
            if found is not None:
                batch.open(key, *found)
            else:
                batch.close(key)
        name = b"%s%08x/%08x" % (self._prefix, self.generation, self._sequence)
        self._sequence += 1
        window.batches += 1
        self._records_in_flight += batch.count
        self._spawn(self._write(window, name, batch))

    async def _write(self, window: Window, name: bytes, batch: BatchEncoder) -> None:
        await self.persist([Put(name, batch.finish())])
        self._room.release()
        self._records_in_flight -= batch.count
        window.batches -= 1
        self._settle(window)
        self._written(batch.size + KEY_BYTES)

    def _settle(self, window: Window) -> None:
        if not window.batches and not window.unsent:
            window.written.set()
            self._unwritten.pop(window, None)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
