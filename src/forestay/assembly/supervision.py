"""Keeps background work going: what crashes is logged, counted and begun again, the rest of the process untouched."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)

RESTART_S = 1.0
"""Between a crash and the next attempt: a defect that repeats costs one log line a second."""


class Supervisor:
    """Named background tasks.

    Attributes:
        crashes: by name.
    """

    def __init__(self, restart_s: float = RESTART_S) -> None:
        self.crashes: Counter[str] = Counter()
        self._restart_s = restart_s
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work()`, again whenever it fails, until `stop`. The name must be free."""
        assert name not in self._tasks, f"{name} is running already"
        self._tasks[name] = asyncio.create_task(self._keep_running(name, work), name=name)

    async def stop(self, name: str) -> None:
        """End one; not running: nothing."""
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def stop_all(self) -> None:
        """End all."""
        for name in list(self._tasks):
            await self.stop(name)

    async def _keep_running(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception as error:  # whatever it is: the task must not take the process with it
                self.crashes[name] += 1
                log.error("task_crashed", task=name, exc_info=error, restart_s=self._restart_s)
                await asyncio.sleep(self._restart_s)
            else:
                return
