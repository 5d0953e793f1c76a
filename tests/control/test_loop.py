import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from forestay import Balancer, Connection, Endpoint, LoadReport, Plan
from forestay.control.events import AnnouncedEvent
from forestay.control.loop import ADOPTION_S, ClusterLoop
from tests.control.virtual_time import jump, run_virtually, virtual_clock
from tests.control.worlds import A, B, BrokenPlane, DictStore, WritingPlane, relay_id, relayed


@asynccontextmanager
async def running(loop: ClusterLoop) -> AsyncIterator[ClusterLoop]:
    await loop.start()
    task = asyncio.create_task(loop.run())
    try:
        yield loop
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def new_loop(store: DictStore | None = None, *, planes: tuple[WritingPlane, ...] = ()) -> ClusterLoop:
    store = store or DictStore()
    clock = virtual_clock()
    loop = ClusterLoop("chat", Balancer(), store, planes, blobs=store, clock=clock)
    loop.endpoints.replace("config", [Endpoint(A), Endpoint(B)], clock.now_s())
    return loop


def test_a_plan_is_published_every_second_from_the_start_on() -> None:
    async def main() -> list[float]:
        plane = WritingPlane(virtual_clock())
        async with running(new_loop(planes=(plane,))):
            await asyncio.sleep(5.5)
        return plane.published_s

    # Two at 0: before the plane starts it may be told already, and once it has started it must be.
    assert run_virtually(main()) == [0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_missed_ticks_are_counted_and_not_made_up_for() -> None:
    async def main() -> None:
        plane = WritingPlane(virtual_clock())
        async with running(new_loop(planes=(plane,))) as loop:
            await asyncio.sleep(2.5)
            jump(3.7)  # at 6.2 the tick of 3 begins; those of 4, 5 and 6 are gone
            await asyncio.sleep(2.0)
        assert plane.published_s[-3:] == [6.2, 7.0, 8.0]
        assert (loop.counts.ticks_late, loop.counts.ticks_missed) == (1, 3)

    run_virtually(main())


class Faulty(Balancer):
    """Fails in the tick at `fails_at_s`."""

    fails_at_s = 2.0

    def tick(self, now_s: float, wall_s: float | None = None) -> Plan:
        if now_s == self.fails_at_s:
            raise ZeroDivisionError("a defect")
        return super().tick(now_s, wall_s)


def test_a_tick_that_raises_is_counted_and_the_next_one_works() -> None:
    async def main() -> None:
        clock = virtual_clock()
        plane = WritingPlane(clock)
        loop = ClusterLoop("chat", Faulty(), DictStore(), (plane,), clock=clock)
        loop.endpoints.add(Endpoint(A), 0.0)
        async with running(loop):
            await asyncio.sleep(2.5)
            assert loop.counts.errors == {"tick": 1}
            assert loop.plan is plane.plans[-1]
            assert loop.plan.now_s == 1.0
            await asyncio.sleep(1.0)
            assert loop.plan.now_s == 3.0

    run_virtually(main())


def test_a_data_plane_that_fails_does_not_cost_the_others_their_plan() -> None:
    async def main() -> None:
        clock = virtual_clock()
        broken, sound = BrokenPlane(clock), WritingPlane(clock)
        async with running(new_loop(planes=(broken, sound))) as loop:
            await asyncio.sleep(2.5)
            await loop.stop(drain_s=7.0)
        assert sound.published_s == [0.0, 0.0, 1.0, 2.0]
        assert sound.stopped_within_s == 7.0
        assert loop.counts.errors == {"publish": 4, "plane_stop": 1}

    run_virtually(main())


def test_a_data_plane_added_while_running_gets_the_plan_at_once() -> None:
    async def main() -> None:
        async with running(new_loop()) as loop:
            await asyncio.sleep(1.5)
            plane = WritingPlane(loop.clock)
            await loop.add_plane(plane)
            assert plane.plans == [loop.plan]
            await loop.remove_plane(plane, drain_s=3.0)
            await asyncio.sleep(2.0)
            assert plane.stopped_within_s == 3.0
            assert len(plane.plans) == 1

    run_virtually(main())


def test_connections_are_counted_registered_and_forgotten() -> None:
    async def main() -> None:
        store = DictStore()
        async with running(new_loop(store)) as loop:
            first, second = relayed(relay_id(1, 1), A), relayed(relay_id(1, 2), A)
            loop.opened(first, loop.clock.now_s())
            loop.opened(first, loop.clock.now_s())  # repeated: the plane resends what was not acknowledged
            loop.opened(second, loop.clock.now_s())
            assert loop.connections.open == {A: 2}
            assert list(store.connections) == [first.id, second.id]
            loop.opened(relayed(second.id, B), loop.clock.now_s())  # moved
            assert loop.connections.open == {A: 1, B: 1}
            loop.closed(first.id, loop.clock.now_s())
            loop.closed(first.id, loop.clock.now_s())
            assert loop.connections.open == {B: 1}
            assert loop.counts.connections == {"opened": 2, "moved": 1, "closed": 1}

    run_virtually(main())


def test_a_resync_closes_what_the_owner_no_longer_has_and_touches_nobody_else() -> None:
    async def main() -> None:
        async with running(new_loop()) as loop:
            now_s = loop.clock.now_s()
            kept, gone, other = (relayed(relay_id(p, n), A) for p, n in ((7, 1), (7, 2), (8, 1)))
            direct = Connection(relay_id(7, 3), A, "me", 1_700_000_000.0)  # an id by chance like the owner's
            for connection in (kept, gone, other, direct):
                loop.opened(connection, now_s)
            new = relayed(relay_id(7, 4), B)
            loop.resynced("0007", [kept, new])
            assert {c.id for c in loop.connections} == {kept.id, new.id, other.id, direct.id}
            assert loop.counts.connections["resync_gone"] == 1

    run_virtually(main())


def test_adopted_connections_that_no_plane_names_are_given_up_after_a_while() -> None:
    async def main() -> None:
        store = DictStore()
        named, orphan = relayed(relay_id(1, 1), A), relayed(relay_id(2, 1), A)
        direct = Connection("player-1", B, "me", 1_700_000_000.0)
        for connection in (named, orphan, direct):
            store.register(connection)
        async with running(new_loop(store.restarted())) as loop:
            assert loop.connections.open == {A: 2, B: 1}
            loop.resynced("0001", [named])
            await asyncio.sleep(ADOPTION_S - 0.5)
            assert loop.connections.open == {A: 2, B: 1}
            await asyncio.sleep(1.0)
            assert {c.id for c in loop.connections} == {named.id, direct.id}
            assert loop.counts.connections["adopted_gone"] == 1

    run_virtually(main())


def test_what_operators_said_survives_a_restart() -> None:
    async def main() -> None:
        store = DictStore()
        added, event = Endpoint("10.0.0.3:80", capacity=2.0, zone="a"), AnnouncedEvent("final", 1.7e9, 1.7e9 + 60, 3.0)
        async with running(new_loop(store)) as loop:
            loop.endpoints.add(added, loop.clock.now_s(), "api")
            loop.endpoints.drain(A, loop.clock.now_s())
            loop.events.announce(event)
            await asyncio.sleep(1.5)  # no clean stop: the next tick has kept it
        async with running(new_loop(store.restarted())) as loop:
            assert loop.endpoints.get(added.id).endpoint == added
            assert loop.endpoints.get(A).draining
            assert list(loop.events) == [event]
            assert loop.plan is not None
            assert set(loop.plan.pool) == {B, added.id}

    run_virtually(main())


def test_an_unreadable_operator_state_is_dropped() -> None:
    async def main() -> None:
        for data in (b"", b"{", b"[]", b'{"version": 2}', json.dumps({"version": 1, "endpoints": [1]}).encode()):
            store = DictStore()
            store.save_blob("operator/chat", data)
            async with running(new_loop(store)) as loop:
                assert {state.endpoint.id for state in loop.endpoints} == {A, B}

    run_virtually(main())


def test_an_event_that_is_over_is_forgotten() -> None:
    async def main() -> None:
        async with running(new_loop()) as loop:
            wall_s = loop.clock.wall_s()
            loop.events.announce(AnnouncedEvent("final", wall_s + 1, wall_s + 2, 3.0))
            await asyncio.sleep(1.9)
            assert [event.name for event in loop.events] == ["final"]
            await asyncio.sleep(1.0)
            assert list(loop.events) == []

    run_virtually(main())


def test_load_reports_are_counted_by_what_became_of_them() -> None:
    async def main() -> None:
        async with running(new_loop()) as loop:
            now_s = loop.clock.now_s()
            assert loop.report(LoadReport(A, now_s, load=0.5))
            assert not loop.report(LoadReport("10.9.9.9:1", now_s, load=0.5))
            assert not loop.report(LoadReport(B, now_s, load=float("nan")))
            assert loop.counts.reports == {"taken": 1, "unknown_endpoint": 1, "unusable": 1}
            assert list(loop.reports) == [A]
            loop.endpoints.remove(A, now_s)
            assert loop.reports == {}

    run_virtually(main())


def test_fallbacks_in_force_are_counted_every_tick() -> None:
    async def main() -> None:
        async with running(new_loop()) as loop:
            await asyncio.sleep(2.5)  # nobody ever reports
            assert loop.counts.fallbacks == {"telemetry_missing": 3}

    run_virtually(main())


def test_a_failed_connect_is_counted_and_makes_the_endpoint_a_suspect() -> None:
    async def main() -> None:
        async with running(new_loop()) as loop:
            suspects: list[str] = []
            loop.on_failed.append(suspects.append)
            loop.failed(relay_id(1, 1), A, loop.clock.now_s())
            assert suspects == [A]
            assert loop.counts.connections == {"failed": 1}

    run_virtually(main())


def test_an_endpoint_that_left_goes_when_its_last_connection_closes() -> None:
    async def main() -> None:
        async with running(new_loop()) as loop:
            connection = relayed(relay_id(1, 1), A)
            loop.opened(connection, loop.clock.now_s())
            loop.endpoints.replace("config", [Endpoint(B)], loop.clock.now_s())
            await asyncio.sleep(1.5)
            assert loop.endpoints.get(A).leaving
            loop.closed(connection.id, loop.clock.now_s())
            await asyncio.sleep(1.0)
            assert A not in loop.endpoints

    run_virtually(main())
