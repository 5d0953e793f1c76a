"""Sessions of stores that live inside one process: a timer each."""

import asyncio
from collections.abc import Awaitable, Callable

from forestay.registries.store import SessionLost


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
            self._dropping = self._loop.create_task(self._drop_as_coroutine())

    async def _drop_as_coroutine(self) -> None:
        await self._drop_keys(self.id)
