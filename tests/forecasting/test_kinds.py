"""Hints: whose cost and survival are learned apart."""

import numpy as np
import pytest

from forestay import Balancer, BalancerSettings, LoadReport
from forestay.forecasting.kinds import KINDS_MAX, OUTGROWS, Kinds
from forestay.forecasting.survival import Survival
from forestay.model.plan import FloatArray


def traffic(balancer: Balancer, hints: "dict[str, tuple[float, float]]", seconds: int, seed: int = 3) -> FloatArray:
    """Four servers, 20 arrivals a second; cost and mean lifetime by hint. Returns the last loads."""
    rng = np.random.default_rng(seed)  # noqa: TID251 # a test is a caller
    endpoints = [f"server-{i}" for i in range(4)]
    for endpoint in endpoints:
        balancer.add_endpoint(endpoint, now_s=0.0)
    lives: dict[str, tuple[float, float, str, float]] = {}  # opened, until, where, cost
    load, number = dict.fromkeys(endpoints, 0.0), 0
    for second in range(seconds):
        events = [(second + rng.uniform(), "") for _ in range(20)]
        events += [(until_s, name) for name, (_, until_s, _, _) in lives.items() if until_s < second + 1]
        load = dict.fromkeys(endpoints, 0.0)
        for now_s, name in sorted(events):
            if name:
                balancer.closed(name, now_s)
                continue
            number += 1
            hint = list(hints)[number % len(hints)]
            cost, mean_s = hints[hint]
            verdict = balancer.place(f"c{number}", now_s, hint=hint)
            balancer.opened(f"c{number}", verdict.endpoint_id, now_s)
            lives[f"c{number}"] = (now_s, max(now_s + rng.exponential(mean_s), second + 1.0), verdict.endpoint_id, cost)
        for name, (opened_s, until_s, endpoint, cost) in list(lives.items()):
            load[endpoint] += cost * (min(until_s, second + 1) - max(opened_s, second))
            if until_s < second + 1:
                del lives[name]
        for endpoint, value in load.items():
            balancer.report(LoadReport(endpoint, second + 1.0, value * rng.normal(1, 0.02)), second + 1.0)
        balancer.tick(second + 1.0)
    return np.array(list(load.values()))


def test_a_kind_that_costs_more_and_stays_longer_is_priced_accordingly() -> None:
    balancer = Balancer(BalancerSettings(overload="place"), seed=1)
    traffic(balancer, {"light": (0.001, 10.0), "heavy": (0.008, 30.0)}, seconds=240)
    kinds = balancer._forecaster.kinds
    light, heavy = kinds.find("light"), kinds.find("heavy")
    level = balancer._forecaster.cost.theta[:-1].mean()
    assert level * kinds.relative[heavy] == pytest.approx(0.008, rel=0.15)
    assert level * kinds.relative[light] == pytest.approx(0.001, abs=0.002)
    stay_light, stay_heavy = (float(kinds.survivals[kind].from_birth(np.array([20.0]))[0]) for kind in (light, heavy))
    assert stay_light == pytest.approx(np.exp(-2), abs=0.05)
    assert stay_heavy == pytest.approx(np.exp(-2 / 3), abs=0.06)


def test_a_snapshot_keeps_what_hints_told() -> None:
    balancer = Balancer(BalancerSettings(overload="place"), seed=1)
    traffic(balancer, {"light": (0.001, 10.0), "heavy": (0.008, 30.0)}, seconds=60)
    restored = Balancer.restore(balancer.snapshot(), balancer.settings, seed=1, now_s=1000.0)
    assert restored._forecaster.kinds.names == balancer._forecaster.kinds.names
    np.testing.assert_allclose(restored._forecaster.kinds.relative, balancer._forecaster.kinds.relative)
    np.testing.assert_array_equal(
        restored._forecaster.population.by_kind.sum((1, 2)), balancer._forecaster.population.by_kind.sum((1, 2))
    )


def test_a_hint_without_a_row_is_a_stranger_until_it_outgrows_the_rarest_kind() -> None:
    kinds = Kinds(Survival())
    for number in range(KINDS_MAX - 1):
        assert kinds.admit(f"tenant-{number}") == number + 1
    opens = np.full(KINDS_MAX, 10)
    opens[5] = 1
    kinds.arrived(opens, 1.0)
    assert kinds.admit("newcomer") == 0
    assert kinds.succession() == -1
    for _ in range(int(2 * OUTGROWS) + 1):
        kinds.admit("newcomer")
    assert kinds.succession() == 5
    assert kinds.find("newcomer") == 5
    assert kinds.find("tenant-4") == 0


def test_strangers_are_bounded() -> None:
    kinds = Kinds(Survival())
    for number in range(5000):
        kinds.admit(f"one-off-{number}")
    assert len(kinds) == KINDS_MAX
    assert len(kinds._strangers) <= 1000


def test_a_kind_lives_like_the_others_until_its_own_closes_tell() -> None:
    pooled = Survival()
    ages = len(pooled.closes)
    closes, exposure_s = np.full(ages, 20.0), np.full(ages, 400.0)
    pooled.resume(closes, exposure_s)
    kind = Survival(pooled)
    kind.resume(np.zeros(ages), np.zeros(ages))
    at = np.array([5.0, 60.0])
    np.testing.assert_allclose(kind.from_birth(at), pooled.from_birth(at), rtol=1e-6)
    kind.resume(closes * 2, exposure_s)
    np.testing.assert_allclose(kind.cumulative_hazard(at), 2 * pooled.cumulative_hazard(at), rtol=0.1)
