"""A restart of the control process over the real registry: what is found again, and what is not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from forestay import Balancer, BalancerSettings, Connection, Endpoint, LoadReport
from forestay.control.loop import ADOPTION_S, ClusterLoop
from forestay.control.recovery import OperatorState, balancer_key, restore_balancer
from forestay.registries.memory import MemoryStore
from forestay.registries.registry import Registry
from tests.control.worlds import A, B, DictStore, relay_id, relayed


@asynccontextmanager
async def life(store: MemoryStore) -> AsyncIterator[ClusterLoop]:
    """One life of the control process, up to its first plan; it ends without a goodbye to the loop."""
    registry = Registry(store, "chat")
    await registry.start()
    loop = ClusterLoop("chat", Balancer(), registry)
    loop.endpoints.replace("config", [Endpoint(A), Endpoint(B)], loop.clock.now_s())
    await loop.start()
    yield loop
    await registry.close()


async def test_every_registered_connection_is_found_again_and_settled_by_its_owner() -> None:
    store = MemoryStore()
    relayed_by_1 = [relayed(relay_id(1, n), A) for n in range(3)]
    relayed_by_2 = [relayed(relay_id(2, n), B) for n in range(2)]
    direct = [Connection("player-1", A, "me", 1.7e9), Connection(relay_id(1, 99), B, "an id like worker 1's", 1.7e9)]
    async with life(store) as loop:
        for connection in (*relayed_by_1, *relayed_by_2, *direct):
            loop.opened(connection, loop.clock.now_s())
    async with life(store) as loop:
        assert loop.connections.open == {A: 4, B: 3}
        assert {c.id for c in loop.connections} == {c.id for c in (*relayed_by_1, *relayed_by_2, *direct)}
        loop.resynced("0001", relayed_by_1[:2])
        assert loop.connections.open == {A: 3, B: 3}
        loop.tick(loop.clock.now_s() + ADOPTION_S + 1)  # nobody speaks for worker 2
        assert {c.id for c in loop.connections} == {c.id for c in (*relayed_by_1[:2], *direct)}
        assert loop.connections.open == {A: 3, B: 1}
        assert loop.counts.connections == {"adopted": 7, "resync_gone": 1, "adopted_gone": 2}
    async with life(store) as loop:
        assert loop.connections.open == {A: 3, B: 1}


@pytest.mark.parametrize("data", [b"nonsense", b"\x00" * 100])
def test_an_unusable_snapshot_does_not_prevent_the_start(data: bytes) -> None:
    blobs = DictStore()
    blobs.save_blob(balancer_key("chat"), data)
    balancer, remembers = restore_balancer(blobs, "chat", BalancerSettings(), 0, 0.0)
    assert not remembers
    balancer.add_endpoint(A, 0.0)
    assert balancer.tick(0.0).pool


def test_what_the_balancer_learned_is_restored() -> None:
    blobs, balancer = DictStore(), Balancer()
    balancer.add_endpoint(A, 0.0)
    balancer.report(LoadReport(A, 0.0, load=0.5), 0.0)
    balancer.tick(0.0)
    blobs.save_blob(balancer_key("chat"), balancer.snapshot())
    _, remembers = restore_balancer(blobs, "chat", BalancerSettings(), 0, 1.0)
    assert remembers


async def test_what_only_the_snapshot_remembers_is_forgotten() -> None:
    store, balancer = MemoryStore(), Balancer()
    balancer.add_endpoint("no-longer-configured:1", 0.0)
    balancer.add_endpoint(A, 0.0)
    balancer.opened("closed while nobody looked", A, 0.0)
    registry = Registry(store, "chat")
    await registry.start()
    loop = ClusterLoop("chat", balancer, registry)
    loop.endpoints.replace("config", [Endpoint(A)], loop.clock.now_s())
    await loop.start()
    assert list(balancer.endpoints) == [A]
    assert list(balancer.connections) == []
    assert loop.plan is not None
    assert list(loop.plan.pool) == [A]
    await registry.close()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"version": 2}', b'{"version": 1, "endpoints": [1]}'])
def test_an_operator_state_of_another_form_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        OperatorState.from_bytes(data)
