"""The limits know the present exactly, the causal one nothing that lies ahead of the connection it places."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from forestay.model.plan import Verdict
from forestay.simulation.engine import run
from forestay.simulation.peers.clairvoyant import Clairvoyant
from forestay.simulation.peers.laws import Law
from forestay.simulation.peers.limit import HORIZONS_S, CausalLimit
from forestay.simulation.peers.own_placements import LoadAndOwnPlacements
from forestay.simulation.scenario import Scenario
from forestay.simulation.world import World

EVERYTHING = """
[fleet]
servers = 6
[traffic]
connections = 200
duration_s = 20.0
ramp_s = 6.0
accept_share = 0.1
[hot]
share = 0.1
length_s = 8.0
[[background]]
kind = "pulse"
[[faults]]
kind = "death"
first_s = 40.0
length_s = 20.0
[[faults]]
kind = "deploy"
first_s = 90.0
jitter_s = 5.0
length_s = 10.0
"""

PERIODIC = """
[fleet]
servers = 6
[traffic]
connections = 300
duration_s = 40.0
load = 0.65
[[background]]
kind = "pulse"
amplitude = 0.4
"""


def build(text: str, minutes: float = 3.0, seed: int = 1) -> World:
    return World.build(Scenario.parse(f"minutes = {minutes}\n{text}", "test"), seed)


def test_the_clairvoyants_present_is_the_truth_whatever_happens() -> None:
    class Checked(Clairvoyant):
        def step(self, now_s: float) -> None:
            super().step(now_s)
            truth = np.array(self.servers.a) + np.array(self.servers.b) * now_s
            np.testing.assert_allclose(self.trajectory(now_s)[:, 0], truth, atol=1e-6)

    assert run(build(EVERYTHING), Checked(), "clairvoyant").connections > 500


def test_the_causal_limits_present_is_the_truth() -> None:
    class Checked(CausalLimit):
        def step(self, now_s: float) -> None:
            super().step(now_s)
            truth = np.array(self.servers.a) + np.array(self.servers.b) * now_s
            known = np.array([bool(count) for count in self.servers.count])
            np.testing.assert_allclose(self.trajectory(now_s)[known, 0], truth[known], atol=1e-6)

    assert run(build(EVERYTHING), Checked(), "limit").connections > 500


class Recorded(CausalLimit):
    """Keeps what it placed where."""

    def attach(self, world: Any, servers: Any) -> None:
        super().attach(world, servers)
        self.placed: list[str] = []

    def place(self, connection_id: str, now_s: float, *args: Any, **options: Any) -> Verdict:
        verdict = super().place(connection_id, now_s, *args, **options)
        self.placed.append(verdict.endpoint_id)
        return verdict


def test_the_causal_limit_does_not_know_what_the_connection_it_places_will_do() -> None:
    world = build(PERIODIC)
    first = 900  # from this connection on everything is different
    connections = world.connections
    cost, duration_s = connections.cost.copy(), connections.duration_s.copy()
    cost[first:] *= 3
    duration_s[first:] /= 3
    other = replace(world, connections=replace(connections, cost=cost, duration_s=duration_s))
    one, two = Recorded(), Recorded()
    run(world, one, "limit")
    run(other, two, "limit")
    assert one.placed[: first + 1] == two.placed[: first + 1]
    assert one.placed != two.placed


def test_limits_do_better_than_load_and_own_placements() -> None:
    world = build(PERIODIC, minutes=5)
    reactive = run(world, LoadAndOwnPlacements(), "load_own").delay
    limit = run(world, CausalLimit(), "limit").delay
    clairvoyant = run(world, Clairvoyant(), "clairvoyant").delay
    assert limit - 1 < 0.7 * (reactive - 1)
    assert clairvoyant < 1.03 * limit


TWO_CLASSES = """
[fleet]
servers = 6
[traffic]
connections = 150
cost_sigma = 0.1
hints = {hints}
[[classes]]
name = "light"
share = 0.9
[[classes]]
name = "heavy"
share = 0.1
cost = 10.0
"""


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hints_tell_the_limit_what_a_connection_will_cost(seed: int) -> None:
    def unevenness(hints: str) -> float:
        world = build(TWO_CLASSES.format(hints=hints), minutes=5, seed=seed)
        return run(world, CausalLimit(own=0.5), "limit").max_over_mean - 1

    assert unevenness("true") < 0.9 * unevenness("false")


@pytest.mark.parametrize("text", [EVERYTHING, PERIODIC])
def test_a_laws_loads_add_up_to_what_the_scenario_asks_for(text: str) -> None:
    world = build(text, minutes=20)
    law = Law(world, np.ones(len(world.law.cost), dtype=bool))
    ages_s = np.arange(0.05, 2000, 0.1)
    each = float(law.load(ages_s).sum()) * 0.1 + world.accept_work
    traffic = world.scenario.traffic
    rate = traffic.connections / float(world.law.duration_s.mean())
    background = float((world.background[: world.steps].mean(0) * world.capacity[0]).sum())
    assert rate * each == pytest.approx(traffic.load * world.capacity[0].sum() - background, rel=0.02)


def test_expected_load_falls_with_age_as_connections_go_and_rises_as_they_ramp_up() -> None:
    law = Law(build(EVERYTHING), np.ones(200_000, dtype=bool))
    load = law.load(HORIZONS_S)
    assert load[0] < load[5]
    assert load[-1] < load[10]
    assert law.is_open(np.array([0.0, 1e6])) == pytest.approx([1.0, 0.0], abs=1e-6)
