"""Population, survival and cost put together."""

import numpy as np
import pytest

from forestay.forecasting import structural
from forestay.forecasting.ages import AGE_EDGES_S, AGE_MID_S, AGES, COSTS
from forestay.forecasting.cost import Cost
from forestay.forecasting.survival import Survival
from forestay.model.horizons import HORIZONS_S

MEAN_S = 20.0


@pytest.fixture
def survival() -> Survival:
    """Exponential lifetimes, known from many closes."""
    known = Survival()
    exposure_s = 1e6 * np.exp(-AGE_MID_S / MEAN_S) * np.diff(AGE_EDGES_S)
    known.learn(np.zeros(AGES), np.zeros(0), (exposure_s / MEAN_S).astype(np.int64), exposure_s, 1.0)
    return known


@pytest.fixture
def cost() -> Cost:
    """One hundredth at every age, and a handshake."""
    known = Cost()
    known.theta = np.append(np.full(COSTS, 0.01), 0.002)
    return known


def test_existing_load_decays_as_connections_leave(survival: Survival, cost: Cost) -> None:
    each = structural.remaining(survival, cost)
    young = np.searchsorted(AGE_EDGES_S, 5.0, side="right") - 1
    assert each[:, young] == pytest.approx(0.01 * np.exp(-HORIZONS_S / MEAN_S), rel=0.05)


def test_a_newcomer_costs_a_handshake_now_and_then_what_is_expected_of_it(survival: Survival, cost: Cost) -> None:
    load = structural.newcomer(survival, cost)
    assert load[0] == pytest.approx(0.012, rel=0.05)
    assert load[1:] == pytest.approx(0.01 * np.exp(-HORIZONS_S[1:] / MEAN_S), rel=0.05)


def test_a_connection_that_is_cheap_now_and_dear_later_is_seen_as_such(survival: Survival, cost: Cost) -> None:
    cost.theta = np.append(np.linspace(0.001, 0.02, COSTS), 0.0)
    cost.theta[COSTS:] = 0.0
    load = structural.newcomer(Survival(), cost)
    assert (np.diff(load) > 0).all()


def test_those_who_arrive_pile_up_as_a_queue_without_waiting_does(survival: Survival, cost: Cost) -> None:
    load = structural.arriving(survival, cost, np.full(31, 5.0))
    expected = 5.0 * 0.01 * MEAN_S * (1 - np.exp(-HORIZONS_S / MEAN_S))  # M/G/infinity
    assert load == pytest.approx(expected, rel=0.05, abs=1e-6)


def test_where_nobody_arrives_nothing_does(survival: Survival, cost: Cost) -> None:
    assert structural.arriving(survival, cost, np.zeros(31)) == pytest.approx(0.0)
