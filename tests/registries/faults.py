"""A store with a fault that a test turns on and off."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

from forestay.registries.memory import MemoryStore
from forestay.registries.store import COMMIT_TIMEOUT_S, Guard, Indeterminate, Operation, StoreCaps, Unavailable


class FaultyStore(MemoryStore):
    """A memory store that can go away, lose replies, and die after some commits.

    Attributes:
        away: commits are refused.
        flaky: refuses commits and loses replies at random, a quarter of them each.
        loses_replies: of this many commits to come: applied, but the caller is not told.
        commits_left: before it goes away for good; None: it never does.
        held: commits wait until it is set.
        commits: applied so far.
        operations_max: in one commit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.flaky: random.Random | None = None
        self.loses_replies = 0
        self.commits_left: int | None = None
        self.held = asyncio.Event()
        self.held.set()
        self.commits = 0
        self.operations_max = super().caps.operations_max

    @property
    def caps(self) -> StoreCaps:
        """See `Store.caps`."""
        return replace(super().caps, operations_max=self.operations_max)

    async def commit(
        self, operations: Sequence[Operation], guards: Sequence[Guard] = (), *, timeout_s: float = COMMIT_TIMEOUT_S
    ) -> int:
        await self.held.wait()
        if self.away or self.commits_left == 0:
            raise Unavailable("away")
        luck = self.flaky.random() if self.flaky else 1.0
        if luck < 0.25:
            raise Unavailable("bad luck")
        revision = await super().commit(operations, guards)
        self.commits += 1
        if self.commits_left is not None:
            self.commits_left -= 1
        if self.loses_replies or luck < 0.5:
            self.loses_replies = max(0, self.loses_replies - 1)
            raise Indeterminate("reply lost")
        return revision

    def stored_bytes(self) -> int:
        """Of all keys and values."""
        return sum(len(key) + len(item.value) for key, item in self._items.items())
