"""The world as it would have been, with costs that are known exactly."""

import numpy as np
import pytest

from forestay import BalancerSettings, Endpoint, LoadReport
from forestay.control.directory import EndpointState
from forestay.control.shadow.would_be import WouldBeWorld
from forestay.forecasting.ages import AGES
from forestay.model.cost import ConnectionCost
from forestay.model.plan import FloatArray
from tests.control.worlds import A, B

EACH = 0.01
COST = ConnectionCost(np.full(AGES, EACH), {"": 1.0, "dear": 5.0}, 0.0, {A: 1.0, B: 2.0})


def named(endpoint_id: str, healthy: bool = True) -> EndpointState:
    return EndpointState(Endpoint(endpoint_id), {"config": Endpoint(endpoint_id)}, healthy)


def world() -> WouldBeWorld:
    found = WouldBeWorld(BalancerSettings(), seed=0)
    found.set_endpoints([named(A), named(B)], 0.0)
    return found


def young(a: int, b: int) -> dict[str, FloatArray]:
    counts = np.zeros((2, AGES))
    counts[:, 0] = a, b
    return {A: counts[0], B: counts[1]}


def test_a_world_that_follows_reality_shifts_nothing() -> None:
    here = world()
    for number in range(4):
        here.follow(f"c{number}", A, 0.0, "")
    here.tick(1.0, 1.0, 0.0, COST, young(4, 0), 1.0)
    assert here.shift == {A: 0.0, B: 0.0}
    assert here.load(A, 0.3) == 0.3


def test_connections_take_their_load_with_them_at_the_scale_of_each_server() -> None:
    here = world()
    for number in range(4):
        here.follow(f"c{number}", B, 0.0, "")
    here.tick(1.0, 1.0, 0.0, COST, young(4, 0), 1.0)
    assert here.shift == {A: pytest.approx(-4 * EACH), B: pytest.approx(8 * EACH)}


def test_a_hint_that_tells_of_dear_connections_moves_more_load() -> None:
    here = world()
    here.follow("c1", B, 0.0, "dear")
    here.follow("c2", B, 0.0, "")
    here.tick(1.0, 1.0, 0.0, COST, young(6, 0), 1.0)  # as the real world would weigh them
    assert here.shift == {A: pytest.approx(-6 * EACH), B: pytest.approx(12 * EACH)}


def test_accepts_cost_their_load_in_the_second_in_which_they_happen() -> None:
    here = world()
    here.balancer.tick(0.0)
    for number in range(10):
        here.place(f"c{number}", A, 0.5, "", ())
    moved = 10 - round(float(here.balancer.connections_by_age()[A].sum()))
    assert moved > 0
    cost = ConnectionCost(np.zeros(AGES), {"": 1.0}, 0.02, {A: 1.0, B: 1.0})
    here.tick(1.0, 1.0, 0.0, cost, young(10, 0), 1.0)
    assert here.shift == {A: pytest.approx(-0.02 * moved), B: pytest.approx(0.02 * moved)}
    here.tick(2.0, 1.0, 0.0, cost, young(10, 0), 1.0)
    assert here.shift == {A: 0.0, B: 0.0}


def test_where_only_half_of_the_connections_is_known_half_of_the_cost_is_believed() -> None:
    here = world()
    here.follow("c", B, 0.0, "")
    here.tick(1.0, 1.0, 0.0, COST, young(1, 0), 0.5)
    assert here.shift[B] == pytest.approx(EACH)


def test_its_servers_report_what_they_would_carry() -> None:
    here = world()
    here.shift = {A: -0.3, B: 0.2}
    assert here.load(A, 0.5) == pytest.approx(0.2)
    for at_s in (1.0, 2.0, 3.0):
        here.report(LoadReport(A, at_s, load=0.5), 0.5)
        here.report(LoadReport(B, at_s, load=0.5), 0.5)
        forecast = here.balancer.tick(at_s).forecast.at(1.0)
    assert forecast == {A: pytest.approx(0.2, abs=0.05), B: pytest.approx(0.7, abs=0.05)}


def test_a_load_never_becomes_negative() -> None:
    here = world()
    for number in range(50):
        here.follow(f"c{number}", B, 0.0, "")
    here.tick(1.0, 1.0, 0.0, COST, young(50, 0), 1.0)
    assert here.load(A, 0.1) == 0.0


def test_endpoints_come_change_and_go() -> None:
    here = world()
    state = named(A, healthy=False)
    here.set_endpoints([state], 1.0)
    assert set(here.balancer.endpoints) == {A}
    here.place("c", A, 2.0, "", ())
    assert here.balancer.tick(3.0).pool == ()
    state.healthy = True
    here.set_endpoints([state], 4.0)
    assert here.balancer.tick(5.0).pool == (A,)
    state.draining = True
    here.set_endpoints([state], 6.0)
    assert here.balancer.tick(7.0).pool == ()
