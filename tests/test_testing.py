"""The conformance suite, on the stores that must pass it and on broken ones that must not."""

import contextlib
import itertools
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from forestay.registries.memory import MemoryStore
from forestay.registries.sqlite import SqliteStore
from forestay.registries.store import Guard, GuardFailed, Operation, Put, Snapshot, Store, WatchBatch
from forestay.testing import check_store


async def open_memory() -> Store:
    return MemoryStore()


def test_the_memory_store_keeps_every_promise() -> None:
    check_store(open_memory, examples=40)


def test_the_sqlite_store_keeps_every_promise(tmp_path: Path) -> None:
    numbers = itertools.count()
    paths: dict[Store, Path] = {}

    async def open_at(path: Path) -> Store:
        store = await SqliteStore.open(path)
        paths[store] = path
        return store

    async def reopen(store: Store) -> Store:
        await store.close()
        return await open_at(paths[store])

    check_store(lambda: open_at(tmp_path / f"{next(numbers)}.db"), reopen)


class ForgetsGuards(MemoryStore):
    async def commit(
        self, operations: Sequence[Operation], guards: Sequence[Guard] = (), *, timeout_s: float = 1.0
    ) -> int:
        return await super().commit(operations)


class ReadsBackwards(MemoryStore):
    async def read(self, prefix: bytes, *, stale: bool = False) -> Snapshot:
        snapshot = await super().read(prefix)
        return Snapshot(snapshot.revision, snapshot.items[::-1])


class TearsCommits(MemoryStore):
    async def commit(
        self, operations: Sequence[Operation], guards: Sequence[Guard] = (), *, timeout_s: float = 1.0
    ) -> int:
        for op in operations[:-1]:
            await super().commit([op], guards)
        return await super().commit(operations[-1:], guards)


class WatchLosesDeletes(MemoryStore):
    async def watch(self, prefix: bytes, after: int) -> AsyncGenerator[WatchBatch, None]:
        async with contextlib.aclosing(super().watch(prefix, after)) as watch:
            async for batch in watch:
                yield WatchBatch(batch.revision, batch.puts, ())


class KeepsKeysOfSessions(MemoryStore):
    async def commit(
        self, operations: Sequence[Operation], guards: Sequence[Guard] = (), *, timeout_s: float = 1.0
    ) -> int:
        return await super().commit([Put(op.key, op.value) if isinstance(op, Put) else op for op in operations], guards)


@pytest.fixture
def without_shrinking() -> Iterator[None]:
    """Finding a fault is what counts here, not the shortest way to it."""
    settings.register_profile("find", phases=[Phase.generate], database=None)
    settings.load_profile("find")
    yield
    settings.load_profile("default")


@pytest.mark.usefixtures("without_shrinking")
@pytest.mark.parametrize(
    "broken", [ForgetsGuards, ReadsBackwards, TearsCommits, WatchLosesDeletes, KeepsKeysOfSessions]
)
def test_a_store_that_breaks_a_promise_is_found_out(broken: type[MemoryStore]) -> None:
    async def open_broken() -> Store:
        return broken()

    with pytest.raises((AssertionError, GuardFailed, ExceptionGroup)):
        check_store(open_broken)
