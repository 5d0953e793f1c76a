"""One task for each endpoint of a set that changes while it runs: what health checks and scrapes have in common."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any


class PerEndpoint:
    """Runs `work(endpoint_id)` for every endpoint of the current set; an exception in one ends `run` with it."""

    def __init__(self, work: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        self._work = work
        self._wanted: dict[str, None] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    def set_endpoints(self, endpoint_ids: Iterable[str]) -> None:
        """Take the whole set. Work for those that left is cancelled here, so it reports nothing after this call."""
        self._wanted = dict.fromkeys(endpoint_ids)
        for endpoint_id in [known for known in self._tasks if known not in self._wanted]:
            self._tasks.pop(endpoint_id).cancel()
        self._changed.set()

    async def run(self) -> None:
        """Keep the tasks going until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._changed.clear()
                    for endpoint_id in self._wanted:
                        if endpoint_id not in self._tasks:
                            self._tasks[endpoint_id] = group.create_task(self._work(endpoint_id))
                    await self._changed.wait()
        finally:
            self._tasks.clear()
