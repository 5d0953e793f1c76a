import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from forestay import Balancer, BalancerSettings, Endpoint, InvalidInput, UnknownConnection, UnknownEndpoint
from forestay.control.loop import ClusterLoop
from forestay.control.placements import PlacementRequest
from tests.control.virtual_time import run_virtually, virtual_clock
from tests.control.worlds import A, B, DictStore, WritingPlane, relay_id, relayed


@asynccontextmanager
async def running(*endpoints: str, queue_deadline_s: float = 5.0) -> AsyncIterator[ClusterLoop]:
    clock = virtual_clock()
    balancer = Balancer(BalancerSettings(queue_deadline_s=queue_deadline_s))
    loop = ClusterLoop("chat", balancer, DictStore(), (WritingPlane(clock),), clock=clock)
    loop.endpoints.replace("config", [Endpoint(endpoint_id) for endpoint_id in endpoints], clock.now_s())
    await loop.start()
    task = asyncio.create_task(loop.run())
    try:
        yield loop
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_a_placement_is_reserved_confirmed_and_closed() -> None:
    async def main() -> None:
        async with running(A) as loop:
            placement = loop.placements.ask(PlacementRequest(id="p", client="me", hint="match"))
            assert (placement.state, placement.endpoint_id, placement.expires_in_s) == ("reserved", A, 10.0)
            assert loop.connections.open == {}
            connection = loop.placements.confirm("p")
            assert (connection.endpoint_id, connection.client, connection.hint) == (A, "me", "match")
            assert loop.connections.open == {A: 1}
            confirmed = loop.placements.find("p")
            assert confirmed is not None
            assert confirmed.state == "confirmed"
            assert loop.placements.close("p")
            assert not loop.placements.close("p")
            assert loop.connections.open == {}
            assert loop.counts.placements == {"confirmed": 1, "closed": 1}

    run_virtually(main())


def test_asking_again_with_the_same_id_gives_the_same_answer_and_counts_once() -> None:
    async def main() -> None:
        async with running(A, B) as loop:
            first = loop.placements.ask(PlacementRequest(id="p"))
            assert loop.placements.ask(PlacementRequest(id="p")).endpoint_id == first.endpoint_id
            loop.placements.confirm("p")
            again = loop.placements.ask(PlacementRequest(id="p"))
            assert (again.state, again.endpoint_id) == ("confirmed", first.endpoint_id)
            assert sum(loop.counts.decisions.values()) == 1

    run_virtually(main())


def test_placements_without_an_id_get_different_ones() -> None:
    async def main() -> None:
        async with running(A) as loop:
            ids = {loop.placements.ask(PlacementRequest()).id for _ in range(100)}
            assert len(ids) == 100
            assert all(len(placement_id) == 32 for placement_id in ids)

    run_virtually(main())


def test_every_placement_is_told_to_the_data_planes() -> None:
    async def main() -> None:
        clock = virtual_clock()
        plane = WritingPlane(clock)
        loop = ClusterLoop("chat", Balancer(), DictStore(), (plane,), clock=clock)
        loop.endpoints.add(Endpoint(A), 0.0)
        await loop.start()
        loop.placements.ask(PlacementRequest())
        assert plane.placements == [A]

    run_virtually(main())


def test_a_reservation_that_nobody_confirms_expires() -> None:
    async def main() -> None:
        async with running(A) as loop:
            loop.placements.ask(PlacementRequest(id="p"))
            await asyncio.sleep(9.5)
            assert loop.placements.find("p") is not None
            await asyncio.sleep(1.5)
            assert loop.placements.find("p") is None
            assert loop.placements.reserved == 0
            assert loop.counts.placements == {"expired": 1}
            with pytest.raises(UnknownConnection):
                loop.placements.confirm("p")
            loop.placements.confirm("p", endpoint_id=A)  # it did connect, and says where
            assert loop.connections.open == {A: 1}

    run_virtually(main())


def test_a_failed_connect_is_held_against_the_endpoint() -> None:
    async def main() -> None:
        async with running(A, B) as loop:
            first = loop.placements.ask(PlacementRequest(id="p"))
            loop.placements.close("p", failed=True)
            assert loop.counts.connections == {"failed": 1}
            second = loop.placements.ask(PlacementRequest(id="q"))
            assert second.endpoint_id != first.endpoint_id

    run_virtually(main())


def test_a_queued_placement_gets_its_turn_as_soon_as_there_is_room() -> None:
    async def main() -> None:
        async with running(A) as loop:
            loop.endpoints.drain(A, loop.clock.now_s())
            placement = loop.placements.ask(PlacementRequest(id="p"))
            assert placement.state == "queued"
            waiting = asyncio.create_task(loop.placements.wait("p", 4.0))
            await asyncio.sleep(1.2)
            loop.endpoints.undrain(A, loop.clock.now_s())
            settled = await waiting
            assert settled is not None
            assert (settled.state, settled.endpoint_id) == ("reserved", A)
            assert loop.clock.now_s() <= 1.3
            assert loop.placements.queued == 0
            assert sum(loop.counts.wait_s.buckets) == 1

    run_virtually(main())


def test_a_waiter_whose_time_is_up_sees_that_it_is_still_queued() -> None:
    async def main() -> None:
        async with running(A) as loop:
            loop.endpoints.drain(A, loop.clock.now_s())
            loop.placements.ask(PlacementRequest(id="p"))
            placement = await loop.placements.wait("p", 0.5)
            assert placement is not None
            assert placement.state == "queued"
            with pytest.raises(InvalidInput, match="still queued"):
                loop.placements.confirm("p")
            assert loop.placements.close("p")
            assert loop.placements.queued == 0
            assert loop.counts.placements == {"abandoned": 1}

    run_virtually(main())


def test_a_placement_that_waits_past_the_deadline_is_refused_with_a_time_to_retry() -> None:
    async def main() -> None:
        async with running(A, queue_deadline_s=2.0) as loop:
            loop.endpoints.drain(A, loop.clock.now_s())
            loop.placements.ask(PlacementRequest(id="p"))
            placement = await loop.placements.wait("p", 30.0)
            assert placement is not None
            assert placement.state == "shed"
            assert placement.retry_after_s > 0
            assert 2.0 <= loop.clock.now_s() <= 2.1
            assert loop.placements.find("p") is None

    run_virtually(main())


def test_connections_of_a_data_plane_cannot_be_touched_as_placements() -> None:
    async def main() -> None:
        async with running(A) as loop:
            connection = relayed(relay_id(1, 1), A)
            loop.opened(connection, loop.clock.now_s())
            for act in (loop.placements.find, loop.placements.close, loop.placements.confirm):
                with pytest.raises(InvalidInput, match="data plane"):
                    act(connection.id)
            with pytest.raises(InvalidInput, match="data plane"):
                loop.placements.ask(PlacementRequest(id=connection.id))
            assert loop.connections.open == {A: 1}

    run_virtually(main())


def test_confirming_on_another_endpoint_is_a_move_and_on_an_unknown_one_an_error() -> None:
    async def main() -> None:
        async with running(A, B) as loop:
            loop.placements.confirm("p", endpoint_id=A)
            loop.placements.confirm("p", endpoint_id=B)
            assert loop.connections.open == {B: 1}
            assert loop.counts.connections == {"opened": 1, "moved": 1}
            with pytest.raises(UnknownEndpoint):
                loop.placements.confirm("p", endpoint_id="10.9.9.9:1")
            assert loop.connections.open == {B: 1}

    run_virtually(main())
