from contextlib import aclosing

import pytest

from forestay.registries.history import History
from forestay.registries.store import Compacted, Item, WatchBatch


def batch(revision: int, size: int = 1) -> WatchBatch:
    return WatchBatch(revision, [Item(b"k", bytes(size), revision, revision)], [])


async def first(history: History, after: int) -> int:
    async with aclosing(history.watch(b"", after)) as watch:
        return (await anext(watch)).revision


async def test_a_watch_resumes_after_the_revision_it_names() -> None:
    history = History(revision=10)
    for revision in (11, 12, 13):
        history.publish(batch(revision))
    assert await first(history, 10) == 11
    assert await first(history, 12) == 13


async def test_changes_before_the_history_began_are_compacted() -> None:
    history = History(revision=10)
    history.publish(batch(11))
    with pytest.raises(Compacted, match="after revision 9"):
        await first(history, 9)


@pytest.mark.parametrize(("batches_max", "bytes_max"), [(2, 1 << 20), (100, 250)])
async def test_the_history_is_bounded_and_a_watch_that_needs_more_is_told(batches_max: int, bytes_max: int) -> None:
    history = History(0, batches_max, bytes_max)
    for revision in range(1, 6):
        history.publish(batch(revision, size=100))
    with pytest.raises(Compacted):
        await first(history, 2)
    assert await first(history, 3) == 4


async def test_a_slow_watcher_is_told_when_what_it_needs_is_gone() -> None:
    history = History(0, batches_max=2)
    history.publish(batch(1))
    async with aclosing(history.watch(b"", 0)) as watch:
        assert (await anext(watch)).revision == 1
        for revision in range(2, 6):
            history.publish(batch(revision))
        with pytest.raises(Compacted):
            await anext(watch)


async def test_trimmed_changes_are_compacted() -> None:
    history = History(0)
    for revision in (1, 2, 3):
        history.publish(batch(revision))
    history.trim(2)
    assert await first(history, 2) == 3
    with pytest.raises(Compacted):
        await first(history, 1)
