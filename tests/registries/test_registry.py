import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from forestay.control.ports import ConnectionStore
from forestay.model.connection import Connection
from forestay.model.errors import InvalidInput
from forestay.registries import registry as registry_module
from forestay.registries.memory import MemoryStore
from forestay.registries.registry import Registry
from forestay.registries.sqlite import SqliteStore
from forestay.registries.store import Put, Store, Unusable
from tests.registries.conditions import until
from tests.registries.connections import connection
from tests.registries.faults import FaultyStore


@asynccontextmanager
async def running(store: Store, cluster: str = "chat") -> AsyncIterator[Registry]:
    registry = Registry(store, cluster, interval_s=0.001, rng=random.Random(1))
    await registry.start()
    try:
        yield registry
    finally:
        await registry.close(timeout_s=0.0)


def by_id(connections: list[Connection]) -> dict[str, Connection]:
    return {one.id: one for one in connections}


async def test_a_registered_connection_is_found_at_once_by_id_and_by_endpoint() -> None:
    async with running(MemoryStore()) as registry:
        store: ConnectionStore = registry
        one, other = connection(1), connection(2, endpoint=1)
        store.register(one)
        store.register(other)
        assert store.get(one.id) == one
        assert list(store.on_endpoint(one.endpoint_id)) == [one]
        assert registry.count(one.endpoint_id) == 1
        assert len(registry) == 2
        store.unregister(one.id)
        store.unregister("never seen")
        store.unregister("")
        assert store.get(one.id) is None
        assert registry.get("") is None
        assert list(store.on_endpoint(one.endpoint_id)) == []


async def test_registering_again_moves_a_connection_and_changes_its_state() -> None:
    store = MemoryStore()
    moved = replace(connection(1, endpoint=2), state=b"room 7")
    async with running(store) as registry:
        registry.register(connection(1, endpoint=1))
        await registry.flush()
        registry.register(moved)
        await registry.flush()
        assert list(registry.on_endpoint("10.0.0.1:8080")) == []
    async with running(store) as registry:
        assert registry.recovered() == [moved]


async def test_what_was_flushed_is_recovered_after_a_restart() -> None:
    store = MemoryStore()
    live = [connection(number, endpoint=number % 3) for number in range(600)]
    async with running(store) as registry:
        for one in live:
            registry.register(one)
        await registry.flush()
        for one in live[::2]:
            registry.unregister(one.id)
        assert await registry.flush(timeout_s=5.0)
    async with running(store) as registry:
        assert by_id(registry.recovered()) == by_id(live[1::2])
        assert registry.health().unsettled == 300


async def test_clusters_in_one_store_do_not_see_each_other() -> None:
    store = MemoryStore()
    for cluster in ("chat", "chat/a", "game"):
        async with running(store, cluster) as registry:
            registry.register(replace(connection(1), hint=cluster))
            await registry.flush()
    async with running(store, "chat") as registry:
        assert [one.hint for one in registry.recovered()] == ["chat"]


async def test_a_connection_that_closes_before_it_is_written_costs_no_write() -> None:
    store = FaultyStore()
    async with running(store) as registry:
        for number in range(100):
            registry.register(connection(number))
            registry.unregister(connection(number).id)
        await registry.flush()
        await until(lambda: registry.health().pending == 0)
        assert store.commits == 0
        assert registry.health().annihilated == 100


async def test_a_known_connection_that_moves_and_closes_in_one_window_is_closed_in_the_store() -> None:
    store = MemoryStore()
    async with running(store) as registry:
        registry.register(connection(1, endpoint=1))
        await registry.flush()
        registry.register(connection(1, endpoint=2))
        registry.unregister(connection(1).id)
        await registry.flush()
    async with running(store) as registry:
        assert registry.recovered() == []


async def test_while_the_store_is_away_everything_goes_on_and_is_written_when_it_returns() -> None:
    store = FaultyStore()
    async with running(store) as registry:
        registry.register(connection(0))
        await registry.flush()
        store.away = True
        for number in range(1, 50):
            registry.register(connection(number))
        registry.unregister(connection(0).id)
        await until(lambda: registry.health().mode == "degraded")
        health = registry.health()
        assert health.pending == 50
        assert health.oldest_pending_s > 0
        assert "Unavailable: away" in health.error
        assert len(list(registry.on_endpoint(connection(1).endpoint_id))) == 49
        assert not await registry.flush(timeout_s=0.01)
        store.away = False
        assert await registry.flush(timeout_s=10.0)
        health = registry.health()
        assert (health.mode, health.pending, health.oldest_pending_s, health.error) == ("normal", 0, 0.0, "")
        assert health.retries > 0
    async with running(store) as registry:
        assert len(registry.recovered()) == 49


async def test_a_store_that_is_slow_without_failing_is_degraded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "LAG_S_MAX", 0.02)
    store = FaultyStore()
    async with running(store) as registry:
        store.held.clear()
        registry.register(connection(1))
        assert registry.health().mode == "normal"
        await until(lambda: registry.health().mode == "degraded")
        assert (registry.health().error, registry.health().pending) == ("", 1)
        store.held.set()
        await registry.flush()
        assert registry.health().mode == "normal"


async def test_an_outage_of_any_length_leaves_no_more_pending_than_the_connections_known_and_open() -> None:
    store = FaultyStore()
    async with running(store) as registry:
        for number in range(100):
            registry.register(connection(number))
        await registry.flush()
        store.away = True
        for number in range(100, 20_000):  # 100 open at any time
            registry.register(connection(number))
            registry.unregister(connection(number - 100).id)
            if number % 500 == 0:
                await asyncio.sleep(0.002)
        in_flight = 4 * 600  # batches that were cut before the outage was long: their connections have closed since
        assert registry.health().pending <= 100 + 100 + in_flight
        store.away = False
        await registry.flush()
    async with running(store) as registry:
        assert by_id(registry.recovered()) == by_id([connection(number) for number in range(19_900, 20_000)])


async def test_a_batch_whose_reply_is_lost_is_repeated_without_harm() -> None:
    store = FaultyStore()
    async with running(store) as registry:
        store.loses_replies = 3
        registry.register(connection(1))
        registry.register(connection(2))
        await registry.flush()
        registry.unregister(connection(1).id)
        await registry.flush()
        assert registry.health().retries == 3
    async with running(store) as registry:
        assert registry.recovered() == [connection(2)]


async def test_folding_keeps_the_store_as_large_as_what_is_open() -> None:
    store = FaultyStore()
    sizes = []
    async with running(store) as registry:
        for turn in range(40):
            for number in range(turn * 2000, (turn + 1) * 2000):
                registry.register(connection(number))
            await registry.flush()
            for number in range((turn - 1) * 2000, turn * 2000):
                registry.unregister(connection(number).id)
            await registry.flush()
            sizes.append(store.stored_bytes())
        await until(lambda: registry.health().journal_bytes < 3 << 20)
        assert registry.health().folds >= 2
        assert max(sizes) < 3 << 20  # 40 turns unfolded would be 5 MiB
        await registry.fold()
        assert registry.health().journal_bytes == 0
        assert store.stored_bytes() < 2000 * 46 + 10_000


async def test_recovered_connections_live_until_their_owner_says_otherwise() -> None:
    store = MemoryStore()
    first = [connection(number, picker=1) for number in range(10)]
    second = [connection(number, picker=2) for number in range(10)]
    direct = Connection("match-17", "10.0.0.1:8080", "player", 1.0)
    async with running(store) as registry:
        for one in (*first, *second, direct):
            registry.register(one)
        await registry.flush()
    newcomer = connection(99, picker=1)
    async with running(store) as registry:
        assert len(registry.recovered()) == 21
        gone = registry.settle("0001", [*first[:7], newcomer])
        assert by_id(gone) == by_id(first[7:])
        assert registry.get(newcomer.id) == newcomer
        assert by_id(registry.recovered()) == by_id([*second, direct])
        assert registry.settle("", [direct]) == []
        registry.register(second[0])  # seen alive
        assert by_id(registry.settle_rest()) == by_id(second[1:])
        assert registry.recovered() == []
        assert len(registry) == 7 + 1 + 1 + 1
        await registry.flush()
    async with running(store) as registry:
        assert by_id(registry.recovered()) == by_id([*first[:7], newcomer, direct, second[0]])


async def test_settling_also_ends_connections_of_this_life_that_the_owner_no_longer_has() -> None:
    async with running(MemoryStore()) as registry:
        registry.register(connection(1, picker=1))
        registry.register(connection(2, picker=1))
        registry.register(connection(3, picker=2))
        assert registry.settle("0001", [connection(1, picker=1)]) == [connection(2, picker=1)]
        assert registry.get(connection(3, picker=2).id) is not None


async def test_confirming_what_is_remembered_just_so_writes_nothing() -> None:
    store = FaultyStore()
    live = [connection(number) for number in range(100)]
    async with running(store) as registry:
        for one in live:
            registry.register(one)
        await registry.flush()
    before = store.commits
    async with running(store) as registry:
        assert registry.settle("0001", live) == []
        await registry.flush()
        assert store.commits == before


async def test_a_connection_that_does_not_fit_is_refused_and_nothing_changes() -> None:
    async with running(MemoryStore()) as registry:
        with pytest.raises(InvalidInput, match="state"):
            registry.register(replace(connection(1), state=bytes(300)))
        assert len(registry) == 0


async def test_an_unreadable_value_in_the_store_is_named() -> None:
    store = MemoryStore()
    await store.commit([Put(b"/forestay/v1/chat/j/local/00000000/00000000", b"\x01\x07")])
    with pytest.raises(Unusable, match="j/local/00000000/00000000"):
        async with running(store):
            pass


async def test_a_value_of_a_newer_format_is_refused() -> None:
    store = MemoryStore()
    await store.commit([Put(b"/forestay/v1/chat/seg/a:1/000000000001", b"\x09")])
    with pytest.raises(Unusable, match="format 9"):
        async with running(store):
            pass


async def test_a_late_repetition_of_a_folded_batch_is_ignored_and_removed() -> None:
    store = MemoryStore()
    async with running(store) as registry:
        registry.register(connection(1))
        await registry.flush()
        (batch,) = (await store.read(b"/forestay/v1/chat/j/")).items
        registry.unregister(connection(1).id)
        await registry.flush()
        await registry.fold()
    await store.commit([Put(batch.key, batch.value)])
    async with running(store) as registry:
        assert registry.recovered() == []
        await registry.fold()
        assert (await store.read(b"/forestay/v1/chat/j/")).items == []


async def test_hundreds_of_lives_without_a_fold_are_folded_by_the_next() -> None:
    store = MemoryStore()
    for number in range(150):  # more generations than a commit takes operations
        async with running(store) as registry:
            registry.register(connection(number))
            await registry.flush()
    async with running(store) as registry:
        await registry.fold()
        assert (await store.read(b"/forestay/v1/chat/j/")).items == []
    async with running(store) as registry:
        assert len(registry.recovered()) == 150


@pytest.mark.parametrize("size", [0, 1, 512 << 10, 3_000_000])
async def test_a_blob_of_any_size_comes_back_and_replaces_the_one_before(size: int, tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "registry.db")
    async with running(store) as registry:
        assert await registry.get_blob("balancer/a") is None
        for data in (b"old", random.Random(size).randbytes(size)):
            await registry.put_blob("balancer/a", data)
            assert await registry.get_blob("balancer/a") == data
        assert await registry.get_blob("balancer") is None
        keys = (await store.read(b"/forestay/v1/chat/blob/")).items
        assert len(keys) == 1 + -(-size // store.caps.value_bytes_max)
    await store.close()


async def test_a_blob_whose_new_version_is_cut_short_keeps_the_old_one() -> None:
    store = FaultyStore()
    async with running(store) as registry:
        await registry.put_blob("state", b"old")
        store.commits_left = 2
        with pytest.raises(Exception, match="away"):
            await registry.put_blob("state", bytes(1_500_000))
        assert await registry.get_blob("state") == b"old"


async def test_a_damaged_blob_is_refused() -> None:
    store = MemoryStore()
    async with running(store) as registry:
        await registry.put_blob("state", b"learned")
        await store.commit([Put(b"/forestay/v1/chat/blob/state/00000000/000000", b"lerned")])
        with pytest.raises(Unusable, match="put it anew"):
            await registry.get_blob("state")
        await registry.put_blob("state", b"learned again")
        assert await registry.get_blob("state") == b"learned again"


async def test_closing_writes_what_is_pending_and_says_when_it_could_not() -> None:
    store = FaultyStore()
    registry = Registry(store, "chat")
    await registry.start()
    registry.register(connection(1))
    assert await registry.close()
    assert await registry.close()
    registry = Registry(store, "chat")
    await registry.start()
    assert len(registry.recovered()) == 1
    store.away = True
    registry.register(connection(2))
    assert not await registry.close(timeout_s=0.05)


async def test_100_000_connections_are_written_and_recovered_in_seconds(tmp_path: Path) -> None:
    started_s = time.monotonic()
    path = tmp_path / "registry.db"
    store = await SqliteStore.open(path)
    async with running(store) as registry:
        for number in range(100_000):
            registry.register(connection(number, endpoint=number % 100))
            if number % 1000 == 0:
                await asyncio.sleep(0)
        assert await registry.flush(timeout_s=60.0)
        await registry.fold()
    await store.close()
    store = await SqliteStore.open(path)
    async with running(store) as registry:
        assert len(registry) == 100_000
        assert registry.get(connection(54_321).id) == connection(54_321, endpoint=21)
        assert registry.count("10.0.0.7:8080") == 1000
    await store.close()
    assert time.monotonic() - started_s < 60.0  # some 3 s on an idle core
