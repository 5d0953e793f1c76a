"""Opens, moves and closes; endpoints that die and return; a clock that jumps back."""

import numpy as np
import pytest

from forestay import Balancer, InvalidInput, LoadReport, UnknownEndpoint
from forestay.balancer.snapshot import Snapshot
from forestay.placement.fitness import KAPPA
from tests.balancer.clusters import A, B, Cluster


def homes(balancer: Balancer) -> dict[str, str]:
    """The open connections and where they live, as the balancer remembers them."""
    kept = Snapshot.unpack(balancer.snapshot())
    return {
        connection_id: kept.endpoints[owner].id
        for connection_id, owner in zip(kept.connections, kept.owners.tolist(), strict=True)
    }


def test_a_connection_that_opens_twice_is_one_connection() -> None:
    cluster = Cluster()
    cluster.balancer.opened("twin", A, cluster.now_s)
    before = cluster.balancer.snapshot()
    cluster.balancer.opened("twin", A, cluster.now_s)
    assert cluster.balancer.snapshot() == before
    cluster.balancer.closed("twin", cluster.now_s)
    assert homes(cluster.balancer) == {}


def test_a_connection_that_opens_elsewhere_has_moved() -> None:
    cluster = Cluster()
    cluster.balancer.opened("mover", A, cluster.now_s)
    cluster.second()
    cluster.balancer.opened("mover", B, cluster.now_s)
    assert homes(cluster.balancer) == {"mover": B}


def test_a_close_of_an_unknown_connection_is_no_matter() -> None:
    cluster = Cluster()
    cluster.open(A, 3)
    before = cluster.balancer.snapshot()
    cluster.balancer.closed("nobody", cluster.now_s)
    assert cluster.balancer.snapshot() == before


def test_a_connection_may_open_elsewhere_than_it_was_placed() -> None:
    cluster = Cluster()
    for endpoint_id in (A, B):
        cluster.balancer.add_endpoint(endpoint_id, cluster.now_s, connections_max=1)
    verdict = cluster.place()
    other = ({A, B} - {verdict.endpoint_id}).pop()
    cluster.balancer.opened(verdict.connection_id, other, cluster.now_s)
    assert cluster.place().endpoint_id == verdict.endpoint_id  # what was reserved there is free again


def test_adopted_connections_are_neither_newcomers_nor_young() -> None:
    adopting, settled = Cluster(), Cluster()
    for endpoint_id in (A, B):
        settled.open(endpoint_id, 200)
    settled.seconds(60)
    adopting.now_s = settled.now_s
    for number in range(400):
        adopting.balancer.opened(f"old-{number}", (A, B)[number % 2], adopting.now_s - 120.0)
    for cluster in (adopting, settled):
        cluster.seconds(10, 0.5)
        assert set(cluster.plan.pool) == {A, B}
        assert cluster.plan.forecast.at(30.0) == pytest.approx({A: 0.5, B: 0.5}, abs=0.05)


@pytest.mark.parametrize("now_s", [0.0, 1e5])
def test_connections_before_the_first_tick_teach_the_right_cost_wherever_the_clock_begins(now_s: float) -> None:
    balancer = Balancer()
    for endpoint_id in (A, B):
        balancer.add_endpoint(endpoint_id, now_s)
    for number in range(100):
        balancer.opened(f"conn-{number}", (A, B)[number % 2], now_s + 0.5)
    for second in range(1, 6):
        for endpoint_id in (A, B):
            load = 0.2 if second == 1 else 0.4  # the mean over the second: they opened in the middle of it
            balancer.report(LoadReport(endpoint_id, at_s=now_s + second, load=load), now_s + second)
        plan = balancer.tick(now_s + second)
    each = np.log(plan.table.factor[plan.table.endpoint_ids.index(A)]) / (2 * KAPPA)
    assert each[1:4] == pytest.approx(0.4 / 50, rel=0.2)


def test_a_removed_endpoint_takes_its_connections_and_reservations_along() -> None:
    cluster = Cluster()
    cluster.open(A, 3)
    staying = cluster.open(B, 2)
    verdict = cluster.place(exclude=[B])
    cluster.balancer.remove_endpoint(A, cluster.now_s)
    assert set(homes(cluster.balancer)) == set(staying)
    assert cluster.balancer.place(verdict.connection_id, cluster.now_s).endpoint_id == B
    assert list(cluster.second().forecast.at(0.0)) == [B]


def test_an_endpoint_that_returns_after_its_removal_begins_empty_and_healthy() -> None:
    cluster = Cluster()
    cluster.open(A, 50)
    cluster.seconds(20, {A: 0.9, B: 0.3})
    cluster.balancer.set_health(A, False, cluster.now_s)
    cluster.balancer.remove_endpoint(A, cluster.now_s)
    cluster.second({B: 0.3})
    cluster.balancer.add_endpoint(A, cluster.now_s)
    plan = cluster.second({A: 0.0, B: 0.3})
    assert plan.forecast.at(0.0)[A] < 0.1
    assert plan.pool[0] == A
    assert cluster.place().endpoint_id == A


def test_an_unhealthy_endpoint_keeps_its_connections_and_gets_no_newcomers() -> None:
    cluster = Cluster()
    cluster.open(A, 5)
    cluster.seconds(5, {A: 0.1, B: 0.5})
    cluster.balancer.set_health(A, False, cluster.now_s)
    assert {cluster.place().endpoint_id for _ in range(10)} == {B}
    plan = cluster.second({A: 0.1, B: 0.5})
    assert plan.pool == (B,)
    assert plan.weights[A] == 0
    assert len(homes(cluster.balancer)) == 5
    cluster.balancer.set_health(A, True, cluster.now_s)
    assert cluster.place().endpoint_id == A


@pytest.mark.parametrize("load", [None, 0.3])
@pytest.mark.parametrize("state", ["unhealthy", "draining"])
def test_a_close_on_an_endpoint_that_takes_nobody_makes_no_room_there(state: str, load: float | None) -> None:
    cluster = Cluster()
    connections = cluster.open(A, 20)
    cluster.open(B, 20)
    cluster.seconds(3, load)
    if state == "unhealthy":
        cluster.balancer.set_health(A, False, cluster.now_s)
    else:
        cluster.balancer.drain_endpoint(A, cluster.now_s)
    cluster.second(load)
    for connection_id in connections[:10]:
        cluster.balancer.closed(connection_id, cluster.now_s)
    assert {cluster.place().endpoint_id for _ in range(20)} == {B}


def test_a_drain_lasts_until_the_endpoint_is_added_again() -> None:
    cluster = Cluster()
    cluster.balancer.drain_endpoint(A, cluster.now_s)
    for _ in range(3):
        cluster.seconds(1, {A: 0.0, B: 0.5})
        assert cluster.plan.pool == (B,)
        assert cluster.place().endpoint_id == B
    cluster.balancer.add_endpoint(A, cluster.now_s)
    assert cluster.place().endpoint_id == A


def test_a_clock_that_jumps_back_stops_time_and_breaks_nothing() -> None:
    cluster = Cluster()
    connections = cluster.open(A, 10)
    cluster.seconds(10, 0.3)
    latest_s = cluster.now_s
    cluster.now_s -= 3600.0
    plan = cluster.second(0.3)
    assert plan.now_s == latest_s
    assert cluster.admit(20).total() == 20
    cluster.balancer.closed(connections[0], cluster.now_s)
    plan = cluster.seconds(5, 0.3)
    assert plan.now_s == latest_s
    assert all(0.0 <= load < 1.0 for load in plan.forecast.at(10.0).values())
    cluster.now_s = latest_s
    assert cluster.second(0.3).now_s == latest_s + 1.0


def test_many_endpoints_that_come_and_go_do_not_fill_the_memory() -> None:
    cluster = Cluster()
    for number in range(500):
        endpoint_id = f"10.1.{number // 250}.{number % 250}:80"
        cluster.balancer.add_endpoint(endpoint_id, cluster.now_s)
        cluster.balancer.opened(f"short-{number}", endpoint_id, cluster.now_s)
        cluster.balancer.remove_endpoint(endpoint_id, cluster.now_s)
    assert len(cluster.second().table.endpoint_ids) < 120


def test_what_happens_on_an_endpoint_newer_than_the_table_is_no_matter() -> None:
    cluster = Cluster()
    cluster.seconds(5, 0.3)
    for number in range(50):
        cluster.balancer.add_endpoint(f"10.2.0.{number}:80", cluster.now_s)
        cluster.balancer.opened(f"early-{number}", f"10.2.0.{number}:80", cluster.now_s)
        cluster.balancer.failed(f"refused-{number}", f"10.2.0.{number}:80", cluster.now_s)
        cluster.balancer.closed(f"early-{number}", cluster.now_s)
    assert cluster.place().kind == "admit"


@pytest.mark.parametrize("call", ["set_health", "drain_endpoint", "remove_endpoint", "opened"])
def test_an_unknown_endpoint_is_an_error_that_names_it_and_says_what_to_do(call: str) -> None:
    balancer = Balancer()
    calls = {
        "set_health": lambda: balancer.set_health("nobody:80", True, 1.0),
        "drain_endpoint": lambda: balancer.drain_endpoint("nobody:80", 1.0),
        "remove_endpoint": lambda: balancer.remove_endpoint("nobody:80", 1.0),
        "opened": lambda: balancer.opened("conn", "nobody:80", 1.0),
    }
    with pytest.raises(UnknownEndpoint, match=r"nobody:80.*add_endpoint"):
        calls[call]()


@pytest.mark.parametrize("capacity", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_capacity_is_named(capacity: float) -> None:
    with pytest.raises(InvalidInput, match="capacity"):
        Balancer().add_endpoint(A, 0.0, capacity=capacity)


def test_a_negative_bound_on_connections_is_named() -> None:
    with pytest.raises(InvalidInput, match="connections_max"):
        Balancer().add_endpoint(A, 0.0, connections_max=-1)


def test_an_endpoint_needs_a_name() -> None:
    with pytest.raises(InvalidInput, match="endpoint_id"):
        Balancer().add_endpoint("", 0.0)
