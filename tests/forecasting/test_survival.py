"""P(still open), learned from populations whose law is known."""

import numpy as np
import pytest

from forestay.forecasting.ages import AGE_EDGES_S, AGES
from forestay.forecasting.population import Population
from forestay.forecasting.survival import YOUNG_S, Survival


def learned(lifetimes_s: "list[float]", arrivals_per_s: int, seconds: int) -> Survival:
    """What a tick a second teaches, where lifetimes are those given, in turn."""
    rng = np.random.default_rng(5)  # noqa: TID251 # a test is a caller
    population, survival = Population(1), Survival()
    closing: list[list[tuple[float, int]]] = [[] for _ in range(seconds)]
    turn = 0
    for second in range(seconds):
        closed: list[tuple[float, float]] = []  # opened, closed
        for opened_s in np.sort(rng.uniform(second, second + 1, arrivals_per_s)).tolist():
            lifetime_s = lifetimes_s[turn % len(lifetimes_s)]
            turn += 1
            slot, end_s = population.open(0, opened_s), opened_s + lifetime_s
            if end_s < second + 1:
                population.close(slot)
                closed.append((opened_s, end_s))
            elif int(end_s) < seconds:
                closing[int(end_s)].append((end_s, slot))
        for end_s, slot in closing[second]:
            closed.append((population.close(slot)[3], end_s))
        now_s = second + 1.0
        population.advance(now_s)
        opened, ended = np.array(closed).reshape(-1, 2).T
        age = ended - opened
        exposure_s = np.zeros(AGES)
        for bucket in range(AGES):
            lived = np.minimum(age, AGE_EDGES_S[bucket + 1]) - np.maximum(second - opened, AGE_EDGES_S[bucket])
            exposure_s[bucket] = np.maximum(np.minimum(lived, age), 0.0).sum()
        survival.learn(
            counts=population.counts.sum(1),
            young_s=population.ages_since(now_s - YOUNG_S - 1.0, now_s)[0],
            closed=np.histogram(age, AGE_EDGES_S)[0],
            closed_exposure_s=exposure_s,
            dt_s=1.0,
        )
    return survival


@pytest.mark.parametrize("mean_s", [2.0, 20.0, 120.0])
def test_exponential_lifetimes_are_learned_within_a_few_per_cent(mean_s: float) -> None:
    rng = np.random.default_rng(1)  # noqa: TID251 # a test is a caller
    survival = learned(
        rng.exponential(mean_s, 5000).tolist(), arrivals_per_s=40, seconds=int(min(6 * mean_s, 400)) + 60
    )
    ages_s = np.array([0.25, 0.5, 1.0, 1.5]) * mean_s
    assert survival.from_birth(ages_s) == pytest.approx(np.exp(-ages_s / mean_s), rel=0.06)


def test_old_connections_of_a_mixed_clientele_are_expected_to_stay() -> None:
    survival = learned([1.5, 1.5, 1.5, 300.0], arrivals_per_s=40, seconds=120)
    assert survival.from_birth(np.array([4.0]))[0] == pytest.approx(0.25, abs=0.06)  # one hazard a bucket
    staying = survival.staying(10.0)
    young, old = np.searchsorted(AGE_EDGES_S, [0.5, 30.0], side="right") - 1
    assert staying[young] < 0.4
    assert staying[old] > 0.9


def test_staying_is_a_probability_that_falls_with_the_horizon() -> None:
    survival = learned([3.0, 30.0], arrivals_per_s=20, seconds=60)
    curve = np.stack([survival.staying(horizon_s) for horizon_s in (0.0, 1.0, 5.0, 30.0)])
    assert curve[0] == pytest.approx(1.0)
    assert (np.diff(curve, axis=0) <= 1e-12).all()
    assert (curve > 0).all()


def test_before_any_close_connections_are_expected_to_stay() -> None:
    survival = Survival()
    assert survival.from_birth(np.array([30.0]))[0] > 0.9
