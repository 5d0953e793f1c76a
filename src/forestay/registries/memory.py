"""A store in the memory of this process: for tests, and for a balancer that may forget when it stops.

One dict. Reading a prefix scans it all, which is fine for the thousands of keys a registry keeps (connections share
keys by the hundred).
"""

from collections.abc import AsyncGenerator, Sequence

from forestay.registries.history import History
from forestay.registries.sessions import LocalSession, LocalSessions, local_caps
from forestay.registries.store import (
    COMMIT_TIMEOUT_S,
    Delete,
    Guard,
    GuardFailed,
    Item,
    Operation,
    Put,
    Snapshot,
    StoreCaps,
    Unavailable,
    WatchBatch,
    check_commit,
)


class MemoryStore:
    """Implements `Store`; nothing outlives it."""

    def __init__(self) -> None:
        self._items: dict[bytes, Item] = {}
        self._history = History(revision=0)
        self._sessions = LocalSessions(self._drop_session)
        self._closed = False

    @property
    def caps(self) -> StoreCaps:
        """See `Store.caps`."""
        return local_caps(durable=False)

    async def read(self, prefix: bytes, *, stale: bool = False) -> Snapshot:
        """See `Store.read`."""
        self._check_open()
        keys = sorted(key for key in self._items if key.startswith(prefix))
        return Snapshot(self._history.revision, [self._items[key] for key in keys])

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
        for guard in guards:
            if not guard.holds(self._items.get(guard.key)):
                raise GuardFailed(f"{guard} does not hold: read the key again")
        self._sessions.check(operations)
        return self._apply(operations)

    def watch(self, prefix: bytes, after: int) -> AsyncGenerator[WatchBatch, None]:
        """See `Store.watch`."""
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
        await self._sessions.end_all()
        self._closed = True
        self._history.close()

    def _apply(self, operations: Sequence[Operation]) -> int:
        revision = self._history.revision + 1
        puts: list[Item] = []
        deletes: list[bytes] = []
        for op in operations:
            if isinstance(op, Put):
                known = self._items.get(op.key)
                item = Item(op.key, op.value, revision, known.created if known else revision, op.session)
                self._items[op.key] = item
                puts.append(item)
            elif isinstance(op, Delete):
                if self._items.pop(op.key, None) is not None:
                    deletes.append(op.key)
            else:
                gone = sorted(key for key in self._items if key.startswith(op.prefix))
                deletes.extend(gone)
                for key in gone:
                    del self._items[key]
        self._history.publish(WatchBatch(revision, puts, deletes))
        return revision

    async def _drop_session(self, session_id: int) -> None:
        keys = sorted(item.key for item in self._items.values() if item.session == session_id)
        if keys:
            self._apply([Delete(key) for key in keys])

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the store was closed: open it again")
