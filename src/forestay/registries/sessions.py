"""Sessions of stores that live inside one process: a timer each."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence

from forestay.model.errors import InvalidInput
from forestay.registries.store import Operation, Put, SessionLost, StoreCaps

TTL_S_MIN = 0.05
TTL_SLACK_S = 0.5
"""Timers fire late by as much as the event loop is busy, and the removal of the keys waits for the disk."""


def local_caps(*, durable: bool) -> StoreCaps:
    """What stores inside one process can do; they differ only in whether a commit outlives it."""
    return StoreCaps(
        durable=durable,
        replicated=False,
        operations_max=128,
        value_bytes_max=512 << 10,
        commit_bytes_max=1 << 20,
        ttl_s_min=TTL_S_MIN,
        ttl_slack_s=TTL_SLACK_S,
    )


class LocalSession:
    """A session that a timer of the event loop ends. Implements `Session`.

    Args:
        session_id: over 0.
        ttl_s: lifetime without renewal.
        drop_keys: removes the keys of the session; must not raise.
    """

    def __init__(self, session_id: int, ttl_s: float, drop_keys: Callable[[int], Awaitable[None]]) -> None:
        self.id = session_id
        self.ttl_s = ttl_s
        self.lost = asyncio.Event()
        self._drop_keys = drop_keys
        self._loop = asyncio.get_running_loop()
        self._deadline_s = self._loop.time() + ttl_s
        self._timer = self._loop.call_at(self._deadline_s, self._expire)
        self._dropping: asyncio.Task[None] | None = None

    @property
    def deadline_s(self) -> float:
        """Monotonic time at which it ends unless renewed."""
        return self._deadline_s

    async def renew(self) -> None:
        """See `Session.renew`."""
        if self.lost.is_set():
            raise SessionLost(f"session {self.id} ended: open another and put its keys again")
        self._timer.cancel()
        self._deadline_s = self._loop.time() + self.ttl_s
        self._timer = self._loop.call_at(self._deadline_s, self._expire)

    async def end(self) -> None:
        """See `Session.end`."""
        self._timer.cancel()
        self._expire()
        if self._dropping is not None:
            await asyncio.shield(self._dropping)

    def _expire(self) -> None:
        if not self.lost.is_set():
            self.lost.set()
            self._dropping = self._loop.create_task(self._drop())

    async def _drop(self) -> None:
        await self._drop_keys(self.id)


class LocalSessions:
    """All sessions of one store.

    Args:
        drop_keys: removes the keys of the session with that id; must not raise.
    """

    def __init__(self, drop_keys: Callable[[int], Awaitable[None]]) -> None:
        self._drop_keys = drop_keys
        self._sessions: dict[int, LocalSession] = {}  # until their keys are gone
        self._ids = itertools.count(1)

    def open(self, ttl_s: float) -> LocalSession:
        """See `Store.session`."""
        if not ttl_s >= TTL_S_MIN:
            raise InvalidInput(f"ttl_s = {ttl_s}: this store honours {TTL_S_MIN} s and more")
        session = LocalSession(next(self._ids), ttl_s, self._drop)
        self._sessions[session.id] = session
        return session

    def check(self, operations: Sequence[Operation]) -> None:
        """Raise `SessionLost` where an operation puts a key under a session that has ended."""
        for op in operations:
            if isinstance(op, Put) and op.session:
                session = self._sessions.get(op.session)
                if session is None or session.lost.is_set():
                    raise SessionLost(f"session {op.session} ended: open another and put its keys again")

    async def end_all(self) -> None:
        """End every session and wait until the keys are gone."""
        for session in list(self._sessions.values()):
            await session.end()

    async def _drop(self, session_id: int) -> None:
        await self._drop_keys(session_id)
        del self._sessions[session_id]
