"""The balancer that is told the truth is the real one but for what it is told."""

from functools import cache

import numpy as np
import pytest

from forestay import Balancer, BalancerSettings
from forestay.forecasting.ages import AGE_MID_S
from forestay.model.plan import Plan
from forestay.simulation.ablation import ABLATIONS, Piece, Told
from forestay.simulation.engine import run
from forestay.simulation.outcome import Outcome
from forestay.simulation.scenario import Scenario
from forestay.simulation.steps import STEPS_PER_S
from forestay.simulation.world import World

SCENARIO = """
[fleet]
servers = 6
[traffic]
connections = 300
duration_s = 20.0
load = 0.65
accept_share = 0.1
cost_sigma = 0.1
[reports]
noise = 0.1
delay_s = 2.0
[[background]]
kind = "pulse"
amplitude = 0.4
period_s = 20.0
[[faults]]
kind = "join"
first_s = 30.0
[[faults]]
kind = "death"
first_s = 70.0
length_s = 20.0
"""


def build(minutes: float = 2.0, text: str = SCENARIO, seed: int = 2) -> World:
    return World.build(Scenario.parse(f"minutes = {minutes}\n{text}", "test"), seed)


def told(world: World, *pieces: Piece) -> Told:
    policy = Told(world, 0, pieces)
    run(world, policy, "told")
    return policy


@cache
def plain() -> Outcome:
    return run(build(), Balancer(BalancerSettings(overload="place"), seed=0), "forestay")


def test_told_nothing_it_places_as_the_balancer_does() -> None:
    world = build()
    assert run(world, Told(world, 0), "told nothing").digest == plain().digest


@pytest.mark.parametrize("name", sorted(set(ABLATIONS) - {"kind"}))
def test_whatever_it_is_told_it_decides_differently_but_places_everybody(name: str) -> None:
    world = build()
    ablated = run(world, ABLATIONS[name](world, 0), name)
    assert ablated.digest != plain().digest
    assert ablated.refused == 0
    assert ablated.delay < 1.25 * plain().delay


def test_told_the_scale_it_knows_every_capacity() -> None:
    world = build()
    scale = told(world, "scale").connection_cost().scale
    capacity = {endpoint_id: world.capacity[0, i] for i, endpoint_id in enumerate(world.endpoint_ids)}
    products = [scale[endpoint_id] * capacity[endpoint_id] for endpoint_id in scale]
    assert products == pytest.approx([products[0]] * len(products), rel=1e-6)


def test_told_costs_it_knows_what_a_connection_brings() -> None:
    world = build()
    cost = told(world, "scale", "cost", "accept").connection_cost()
    unit = cost.scale["s0"] * world.capacity[0, 0]
    young = AGE_MID_S < 20.0
    assert cost.by_age[young] * unit == pytest.approx([world.mean_cost] * int(young.sum()), rel=0.05)
    assert cost.per_accept * unit == pytest.approx(world.accept_work)


class Forecasting(Told):
    """Keeps its plans."""

    def __init__(self, world: World, pieces: tuple[Piece, ...]) -> None:
        super().__init__(world, 0, pieces)
        self.plans: dict[int, Plan] = {}

    def tick(self, now_s: float, wall_s: float | None = None) -> Plan:
        plan = self.plans[round(now_s)] = super().tick(now_s, wall_s)
        return plan

    def error(self, ahead_s: int) -> float:
        """Root mean square error of its forecasts, of servers that exist."""
        assert self._servers is not None
        squares = []
        for now_s, plan in self.plans.items():
            forecast = plan.forecast.at(float(ahead_s))
            at_s = now_s + ahead_s
            if now_s >= 100 and at_s <= max(self.plans):
                window = slice((at_s - 1) * STEPS_PER_S, at_s * STEPS_PER_S)
                truth = dict(zip(self._world.endpoint_ids, self._servers.busy(window).tolist(), strict=True))
                squares += [(load - truth[name]) ** 2 for name, load in forecast.items() if truth[name] > 0]
        return float(np.sqrt(np.mean(squares)))


def test_told_the_background_it_foresees_what_periods_bring() -> None:
    world = build(minutes=4, text=SCENARIO.replace("noise = 0.1", "noise = 0.02"))
    errors = []
    told_what: tuple[tuple[Piece, ...], ...] = ((), ("background",))
    for pieces in told_what:
        policy = Forecasting(world, pieces)
        run(world, policy, "told")
        errors.append(policy.error(ahead_s=5))
    assert errors[1] < 0.85 * errors[0]


def test_told_arrivals_it_expects_the_surge() -> None:
    text = SCENARIO + "[[surges]]\nfirst_s = 130.0\nlength_s = 30.0\nfactor = 3.0\n"
    world = build(minutes=3, text=text)
    policy = Told(world, 0, ("arrivals",))
    policy.add_endpoint("s0", 0.0)
    arrivals = policy._forecaster.arrivals
    arrivals.learn(np.zeros(1), 120.0, 1.0)
    ahead = arrivals.ahead(120.0)
    usual = 300 / 20.0
    assert ahead[5] == pytest.approx(usual, rel=0.05)
    assert ahead[15] == pytest.approx(3 * usual, rel=0.05)
    assert len(arrivals.ahead(179.0)) == len(ahead)


def test_told_survival_it_knows_how_many_stay() -> None:
    world = build()
    (survival,) = told(world, "survival")._forecaster.kinds.survivals
    ages_s = np.array([1.0, 10.0, 40.0])
    stay = [(world.law.duration_s > age).mean() for age in ages_s.tolist()]
    assert survival.from_birth(ages_s) == pytest.approx(stay, rel=0.01)


def test_told_loads_it_needs_no_reports() -> None:
    world = build(text=SCENARIO.replace("delay_s = 2.0", "delay_s = 2.0\nloss = 1.0"))
    policy = Forecasting(world, ("load",))
    run(world, policy, "told")
    assert policy.plans[60].fallbacks == frozenset()
    blind = Forecasting(world, ())
    run(world, blind, "told")
    assert blind.plans[60].fallbacks


TWO_CLASSES = """
[[classes]]
name = "light"
share = 0.7
[[classes]]
name = "heavy"
share = 0.3
cost = 9.0
duration = 0.2
"""


def test_told_kinds_survival_and_cost_it_knows_them_of_every_kind() -> None:
    world = build(text=SCENARIO + TWO_CLASSES)
    kinds = told(world, "kind", "survival", "cost")._forecaster.kinds
    light, heavy = kinds.find("light"), kinds.find("heavy")
    assert kinds.relative[heavy] / kinds.relative[light] == pytest.approx(9.0, rel=0.1)
    for kind, index in ((light, 0), (heavy, 1)):
        duration_s = world.law.duration_s[world.law.kind == index]
        ages_s = np.array([1.0, 5.0, 20.0])
        stay = [(duration_s > age).mean() for age in ages_s.tolist()]
        assert kinds.survivals[kind].from_birth(ages_s) == pytest.approx(stay, rel=0.01)


def test_told_kinds_it_hears_each_connections_class() -> None:
    text = SCENARIO + TWO_CLASSES
    heard: list[str] = []

    class Listening(Told):
        def opened(self, connection_id: str, endpoint_id: str, now_s: float, hint: str = "") -> None:
            heard.append(hint or self._kind(connection_id))
            super().opened(connection_id, endpoint_id, now_s, hint)

    world = build(text=text)
    run(world, Listening(world, 0, ("kind",)), "told")
    first = len(world.connections.kind)
    assert heard[:100] == [("light", "heavy")[kind] for kind in world.connections.kind[:100].tolist()]
    assert heard.count("") == len(heard) - first  # those that came back after the death
