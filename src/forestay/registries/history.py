"""Recent changes of a store in this process, for its watches.

The idea: watchers keep only a revision and read on from one shared, bounded history, so that a slow watcher costs no
memory: it is told `Compacted` when what it needs has gone.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator

from forestay.registries.store import Compacted, Unavailable, WatchBatch

BATCHES_MAX = 4096
BYTES_MAX = 4 << 20
"""Some seconds of journal batches at 10,000 opens and closes a second; a watcher that is further behind reads again."""


class History:
    """The last changes, one batch per revision, revisions ascending.

    Args:
        revision: of the state before the first batch to come.
    """

    def __init__(self, revision: int, batches_max: int = BATCHES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self.revision = revision
        self._forgotten = revision  # revisions up to this one cannot be replayed
        self._batches: deque[WatchBatch] = deque()
        self._bytes = 0
        self._batches_max = batches_max
        self._bytes_max = bytes_max
        self._news = asyncio.Event()
        self._closed = False

    def publish(self, batch: WatchBatch) -> None:
        """Add the changes of one commit and wake the watchers."""
        assert batch.revision > self.revision, "revisions only grow"
        self.revision = batch.revision
        self._batches.append(batch)
        self._bytes += _size(batch)
        while len(self._batches) > self._batches_max or self._bytes > self._bytes_max:
            self._forget_oldest()
        self._wake()

    def trim(self, through: int) -> None:
        """Forget changes up to revision `through`."""
        while self._batches and self._batches[0].revision <= through:
            self._forget_oldest()
        self._forgotten = max(self._forgotten, min(through, self.revision))

    def close(self) -> None:
        """End all watches."""
        self._closed = True
        self._wake()

    async def watch(self, prefix: bytes, after: int) -> AsyncGenerator[WatchBatch, None]:
        """See `Store.watch`."""
        while True:
            for batch in self._since(after):
                after = batch.revision
                puts = [item for item in batch.puts if item.key.startswith(prefix)]
                deletes = [key for key in batch.deletes if key.startswith(prefix)]
                if puts or deletes:
                    yield WatchBatch(batch.revision, puts, deletes)
            if after < self.revision:
                continue  # published while the consumer had the last ones
            if self._closed:
                raise Unavailable("the store was closed: open it again to watch")
            await self._news.wait()

    def _since(self, after: int) -> list[WatchBatch]:
        if after < self._forgotten:
            raise Compacted(f"changes after revision {after} are gone up to {self._forgotten}: read again")
        return [batch for batch in self._batches if batch.revision > after]

    def _forget_oldest(self) -> None:
        batch = self._batches.popleft()
        self._bytes -= _size(batch)
        self._forgotten = batch.revision

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _size(batch: WatchBatch) -> int:
    return sum(len(item.key) + len(item.value) for item in batch.puts) + sum(map(len, batch.deletes))
