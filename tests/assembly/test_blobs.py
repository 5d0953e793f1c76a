from collections.abc import AsyncIterator

import pytest

from forestay.assembly.blobs import WriteBehindBlobs
from forestay.registries.memory import MemoryStore
from forestay.registries.registry import Registry


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    store = MemoryStore()
    registry = Registry(store, "chat")
    await registry.start()
    yield registry
    await registry.close()
    await store.close()


async def test_what_is_saved_is_there_at_once_and_after_a_restart(registry: Registry) -> None:
    blobs = WriteBehindBlobs(registry)
    blobs.save_blob("a", b"1")
    assert blobs.load_blob("a") == b"1"
    assert await blobs.write()

    successor = WriteBehindBlobs(registry)
    await successor.preload("a", "b")
    assert (successor.load_blob("a"), successor.load_blob("b")) == (b"1", None)


async def test_only_the_newest_version_is_written(registry: Registry) -> None:
    blobs = WriteBehindBlobs(registry)
    for version in (b"1", b"2", b"3"):
        blobs.save_blob("a", version)
    before = registry.health().revision
    assert await blobs.write()
    assert await registry.get_blob("a") == b"3"
    assert await blobs.write()  # nothing left
    assert registry.health().revision == before
