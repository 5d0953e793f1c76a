"""Any sequence of events: a balancer beside a plain model of what it must know and may answer."""

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from forestay import Balancer, BalancerSettings, LoadReport, Plan, UnknownConnection, UnknownEndpoint, Verdict

ENDPOINTS = st.sampled_from([f"10.0.0.{number}:80" for number in range(4)])
CONNECTIONS = st.sampled_from([f"conn-{number}" for number in range(8)])
ZONES = st.sampled_from(["", "a", "b"])
LOADS = st.floats(0.0, 1.2)
UNUSABLE = st.sampled_from([math.nan, math.inf, -math.inf, -0.1])
EXCLUDED = st.lists(ENDPOINTS, max_size=3).map(tuple)


@dataclass
class Known:
    """What the model knows of one endpoint.

    Attributes:
        memory: every value that may have counted since the last table.
        room: placements that the last table still allows; None: the endpoints changed since, and with them the table.
    """

    healthy: bool = True
    draining: bool = False
    connections_max: int | None = None
    memory: list[float] = field(default_factory=lambda: [0.0])
    room: int | None = None


class BalancerMachine(RuleBasedStateMachine):
    """Endpoints, connections, time that goes forward and sometimes back."""

    @initialize(overload=st.sampled_from(["queue", "place"]), queue_max=st.integers(0, 4), seed=st.integers(0, 3))
    def begin(self, overload: str, queue_max: int, seed: int) -> None:
        self.settings = BalancerSettings(overload=overload, queue_max=queue_max)  # type: ignore[arg-type] # sampled
        self.balancer = Balancer(self.settings, seed=seed)
        self.clock_s, self.latest_s = 1000.0, -math.inf
        self.endpoints: dict[str, Known] = {}
        self.open: dict[str, str] = {}
        self.reserved: dict[str, tuple[str, float]] = {}
        self.deadlines: dict[str, float] = {}

    # ---- the model

    def now(self) -> float:
        """What the clock says; the latest time that it said is what counts."""
        self.latest_s = max(self.latest_s, self.clock_s)
        return self.clock_s

    def changed(self) -> None:
        for known in self.endpoints.values():
            known.room = None

    def give_room(self, endpoint_id: str, places: int) -> None:
        known = self.endpoints.get(endpoint_id)
        if known is not None and known.room is not None:
            known.room += places

    def release(self, connection_id: str) -> None:
        if connection_id in self.reserved:
            self.give_room(self.reserved.pop(connection_id)[0], 1)

    def held(self, endpoint_id: str) -> int:
        """Connections open or reserved on an endpoint."""
        return Counter(self.open.values())[endpoint_id] + sum(at == endpoint_id for at, _ in self.reserved.values())

    def is_usable(self, endpoint_id: str) -> bool:
        known = self.endpoints[endpoint_id]
        return known.healthy and not known.draining and max(known.memory) < self.settings.memory_max

    def take(self, verdict: Verdict, exclude: tuple[str, ...] = ()) -> None:
        """Check an admission and take it into the model."""
        known = self.endpoints[verdict.endpoint_id]
        assert known.healthy
        assert not known.draining
        assert verdict.endpoint_id not in exclude
        assert min(known.memory) < self.settings.memory_max
        assert known.connections_max is None or self.held(verdict.endpoint_id) < known.connections_max
        assert known.room is None or known.room > 0
        self.give_room(verdict.endpoint_id, -1)
        self.reserved[verdict.connection_id] = (verdict.endpoint_id, self.latest_s)
        self.deadlines.pop(verdict.connection_id, None)

    # ---- endpoints

    @rule(step_s=st.floats(0.0, 4.0))
    def time_passes(self, step_s: float) -> None:
        self.clock_s += step_s

    @rule(step_s=st.floats(0.0, 100.0))
    def the_clock_jumps_back(self, step_s: float) -> None:
        self.clock_s -= step_s

    @rule(
        endpoint_id=ENDPOINTS,
        capacity=st.none() | st.floats(0.1, 10.0),
        zone=ZONES,
        connections_max=st.none() | st.integers(0, 5),
    )
    def add_endpoint(self, endpoint_id: str, capacity: float | None, zone: str, connections_max: int | None) -> None:
        self.balancer.add_endpoint(endpoint_id, self.now(), capacity, zone, connections_max)
        known = self.endpoints.setdefault(endpoint_id, Known())
        known.draining, known.connections_max = False, connections_max
        self.changed()

    @rule(count=st.integers(1, 20))
    def a_rack_is_added(self, count: int) -> None:
        for number in range(count):
            self.add_endpoint(f"10.0.1.{number}:80", None, "rack", None)

    @rule(endpoint_id=ENDPOINTS)
    def remove_endpoint(self, endpoint_id: str) -> None:
        if endpoint_id not in self.endpoints:
            with pytest.raises(UnknownEndpoint):
                self.balancer.remove_endpoint(endpoint_id, self.now())
            return
        self.balancer.remove_endpoint(endpoint_id, self.now())
        del self.endpoints[endpoint_id]
        self.open = {name: at for name, at in self.open.items() if at != endpoint_id}
        self.reserved = {name: held for name, held in self.reserved.items() if held[0] != endpoint_id}
        self.changed()

    @precondition(lambda self: self.endpoints)
    @rule(data=st.data(), healthy=st.booleans())
    def set_health(self, data: st.DataObject, healthy: bool) -> None:
        endpoint_id = data.draw(st.sampled_from(sorted(self.endpoints)))
        self.balancer.set_health(endpoint_id, healthy, self.now())
        self.endpoints[endpoint_id].healthy = healthy
        self.changed()

    @precondition(lambda self: self.endpoints)
    @rule(data=st.data())
    def drain_endpoint(self, data: st.DataObject) -> None:
        endpoint_id = data.draw(st.sampled_from(sorted(self.endpoints)))
        self.balancer.drain_endpoint(endpoint_id, self.now())
        self.endpoints[endpoint_id].draining = True
        self.changed()

    @rule(load=LOADS, memory=st.none() | st.floats(0.0, 1.0))
    def everybody_reports(self, load: float, memory: float | None) -> None:
        for endpoint_id, known in self.endpoints.items():
            now_s = self.now()
            # A window that ended before the last one is old news; one that ends in the future ended now.
            if self.balancer.report(LoadReport(endpoint_id, at_s=now_s, load=load, memory=memory), now_s) and (
                memory is not None
            ):
                known.memory.append(memory)

    @rule(endpoint_id=ENDPOINTS, load=UNUSABLE)
    def an_unusable_report(self, endpoint_id: str, load: float) -> None:
        now_s = self.now()
        assert not self.balancer.report(LoadReport(endpoint_id, at_s=now_s, load=load), now_s)

    @rule(load=LOADS)
    def a_second_as_in_life(self, load: float) -> None:
        self.clock_s += 1.0
        self.everybody_reports(load, None)
        self.tick()
        self.poll()

    # ---- connections

    @rule(connection_id=CONNECTIONS, zone=ZONES, prefer=st.none() | ENDPOINTS, exclude=EXCLUDED)
    def place(self, connection_id: str, zone: str, prefer: str | None, exclude: tuple[str, ...]) -> None:
        now_s = self.now()
        held = self.reserved.get(connection_id)
        self.balancer.closed("nobody", now_s)  # moments in a snapshot are relative: the time must have been seen
        before = self.balancer.snapshot()
        foreseen = self.balancer.preview(connection_id, now_s, zone=zone, prefer=prefer, exclude=exclude)
        assert self.balancer.snapshot() == before
        verdict = self.balancer.place(connection_id, now_s, zone=zone, prefer=prefer, exclude=exclude)
        assert verdict == foreseen
        assert verdict.connection_id == connection_id
        if held is not None and held[0] not in exclude and self.is_usable(held[0]):
            assert (verdict.kind, verdict.endpoint_id) == ("admit", held[0])
            return
        self.release(connection_id)
        match verdict.kind:
            case "admit":
                assert connection_id not in self.deadlines
                self.take(verdict, exclude)
            case "queue":
                self.deadlines.setdefault(connection_id, self.latest_s + self.settings.queue_deadline_s)
            case "shed":
                assert verdict.retry_after_s > 0
                assert connection_id not in self.deadlines
        if self.settings.overload == "place" and verdict.reason != "waiting":
            unbounded = [name for name, known in self.endpoints.items() if known.connections_max is None]
            takers = [name for name in unbounded if self.is_usable(name) and name not in exclude]
            assert verdict.kind == "admit" or not takers

    @rule()
    def poll(self) -> None:
        for verdict in self.balancer.poll(self.now()):
            assert verdict.connection_id in self.deadlines
            if verdict.kind == "admit":
                self.take(verdict)
            else:
                assert (verdict.kind, verdict.reason) == ("shed", "deadline")
                assert self.deadlines.pop(verdict.connection_id) <= self.latest_s
        assert all(deadline_s > self.latest_s for deadline_s in self.deadlines.values())

    @precondition(lambda self: self.reserved)
    @rule(data=st.data())
    def opened_where_placed(self, data: st.DataObject) -> None:
        connection_id = data.draw(st.sampled_from(sorted(self.reserved)))
        self.is_open(connection_id, self.reserved[connection_id][0])

    @precondition(lambda self: self.endpoints)
    @rule(data=st.data(), connection_id=CONNECTIONS)
    def opened_anywhere(self, data: st.DataObject, connection_id: str) -> None:
        self.is_open(connection_id, data.draw(st.sampled_from(sorted(self.endpoints))))

    def is_open(self, connection_id: str, endpoint_id: str) -> None:
        self.balancer.opened(connection_id, endpoint_id, self.now())
        self.deadlines.pop(connection_id, None)
        before = self.open.get(connection_id)
        if before == endpoint_id:
            return
        if before is not None:
            self.give_room(before, 1)
        self.release(connection_id)
        self.give_room(endpoint_id, -1)
        self.open[connection_id] = endpoint_id

    @rule(connection_id=CONNECTIONS, endpoint_id=ENDPOINTS)
    def failed(self, connection_id: str, endpoint_id: str) -> None:
        self.balancer.failed(connection_id, endpoint_id, self.now())
        self.release(connection_id)
        self.deadlines.pop(connection_id, None)

    @rule(connection_id=CONNECTIONS)
    def closed(self, connection_id: str) -> None:
        self.balancer.closed(connection_id, self.now())
        if connection_id in self.open:
            self.give_room(self.open.pop(connection_id), 1)
        else:
            self.release(connection_id)
            self.deadlines.pop(connection_id, None)

    @rule(connection_id=CONNECTIONS)
    def explain(self, connection_id: str) -> None:
        try:
            words = self.balancer.explain(connection_id)
        except UnknownConnection:
            assert connection_id not in self.reserved
        else:
            assert words.startswith(connection_id)

    # ---- once a second

    @rule()
    def tick(self) -> None:
        plan = self.balancer.tick(self.now())
        assert plan.now_s == self.latest_s
        for connection_id, (_, at_s) in list(self.reserved.items()):
            if self.latest_s - at_s >= self.settings.reservation_s:
                del self.reserved[connection_id]
        for known in self.endpoints.values():
            known.memory = known.memory[-1:]
        self.check_plan(plan)
        limits = (plan.table.slots + plan.table.paced).tolist()
        for endpoint_id, limit in zip(plan.table.endpoint_ids, limits, strict=True):
            if endpoint_id:
                reserved = sum(at == endpoint_id for at, _ in self.reserved.values())
                self.endpoints[endpoint_id].room = limit - reserved

    def check_plan(self, plan: Plan) -> None:
        table = plan.table
        taking = {
            endpoint_id
            for endpoint_id, slots, paced in zip(table.endpoint_ids, table.slots, table.paced, strict=True)
            if slots + paced > 0
        }
        assert all(self.is_usable(endpoint_id) for endpoint_id in taking)
        assert set(plan.pool) <= taking
        assert set(plan.weights) == set(self.endpoints)
        assert {endpoint_id for endpoint_id, weight in plan.weights.items() if weight > 0} == (set(plan.pool) or taking)
        assert np.isfinite(table.price).all()
        assert (table.price > 0).all()
        assert (table.factor >= 1).all()
        assert table.weight.sum() == pytest.approx(1.0)
        for horizon_s in (0.0, 5.0, 10.0, 30.0):
            expected, high = plan.forecast.at(horizon_s), plan.forecast.quantile(horizon_s, 0.9)
            assert set(expected) == set(high) == set(self.endpoints)
            assert all(math.isfinite(load) and load >= 0 for load in (*expected.values(), *high.values()))

    # ---- always

    @invariant()
    def the_queue_is_bounded(self) -> None:
        assert len(self.deadlines) <= self.settings.queue_max

    @invariant()
    def open_connections_are_those_of_the_model(self) -> None:
        assert self.balancer.connections == self.open.keys()
        population, slot = self.balancer._forecaster.population, self.balancer._roster.slot
        counts = population.counts
        assert counts.min(initial=0) >= 0
        by_endpoint = {name: int(counts[:, slot[name]].sum()) for name in self.endpoints}
        assert by_endpoint == {name: Counter(self.open.values())[name] for name in self.endpoints}
        assert counts.sum() == len(population) == len(self.open)


TestBalancerMachine = BalancerMachine.TestCase
TestBalancerMachine.settings = settings(
    max_examples=60,
    stateful_step_count=60,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),  # explaining a failure takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
