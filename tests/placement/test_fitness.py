"""Water filling, weights of the horizon, prices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestay.model.horizons import HORIZONS
from forestay.placement.fitness import (
    HANDSHAKE_S,
    KAPPA,
    LOAD_CAP,
    SAMPLED_MAX,
    fill_level,
    horizon_weights,
    increment,
    squared_prices,
)

MODEST = settings(max_examples=60, deadline=None)


@MODEST
@given(seed=st.integers(0, 2**32 - 1), endpoints=st.integers(1, 60), scale=st.sampled_from([0.0, 0.01, 1.0, 100.0]))
def test_the_level_is_where_the_arrivals_exactly_fill_the_valleys(seed: int, endpoints: int, scale: float) -> None:
    rng = np.random.default_rng(seed)  # noqa: TID251 # a test is a caller
    load = rng.uniform(0.0, 1.5, (HORIZONS, endpoints))
    capacity = rng.uniform(0.1, 4.0, endpoints) * (rng.random(endpoints) < 0.8)
    arriving = rng.uniform(0.0, scale, HORIZONS)
    level = fill_level(load, capacity, arriving)
    if not capacity.any():
        assert (level == 0).all()
        return
    filled = np.maximum(level[:, None] - load, 0.0) @ capacity
    assert filled == pytest.approx(arriving, rel=1e-6, abs=1e-6)


def test_of_thousands_of_endpoints_a_sample_tells_the_level() -> None:
    rng = np.random.default_rng(2)  # noqa: TID251 # a test is a caller
    endpoints = 6 * SAMPLED_MAX
    load = rng.uniform(0.2, 0.6, (HORIZONS, endpoints))
    capacity, arriving = rng.uniform(0.5, 2.0, endpoints), np.full(HORIZONS, 0.1 * endpoints)
    level = fill_level(load, capacity, arriving)
    exact = [fill_level(load[:, part], capacity[part], arriving / 6) for part in np.split(np.arange(endpoints), 6)]
    assert level == pytest.approx(np.mean(exact, axis=0), abs=0.01)


def test_who_takes_nothing_has_no_part_in_the_level() -> None:
    load = np.array([[0.0, 0.5]])
    assert fill_level(load, np.array([0.0, 2.0]), np.array([0.4])) == pytest.approx([0.7])


def test_weights_sum_to_one_and_follow_the_connections_own_load() -> None:
    newcomer = np.linspace(0.02, 0.0, HORIZONS)
    weights = horizon_weights(newcomer)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[-1] < 1e-6 < weights[0]
    assert horizon_weights(np.zeros(HORIZONS)).sum() == pytest.approx(1.0)


def test_a_placement_raises_the_present_by_its_handshake_at_full_height_and_the_future_by_its_load() -> None:
    newcomer = np.full(HORIZONS, 0.001)
    newcomer[0] += 0.01
    raised = increment(newcomer, handshake=0.01)
    assert raised[0] == pytest.approx(0.001 + 0.01 / HANDSHAKE_S)
    assert raised[1:] == pytest.approx(newcomer[1:])
    assert newcomer[0] == pytest.approx(0.011)


def test_a_tenth_more_load_costs_eight_tenths_more() -> None:
    prices = np.sqrt(squared_prices(np.array([0.5, 0.6])))
    assert prices[1] / prices[0] == pytest.approx(np.exp(KAPPA * 0.1)) == pytest.approx(1.82, abs=0.01)


def test_absurd_loads_have_finite_prices() -> None:
    assert squared_prices(np.array([LOAD_CAP, 1e6])) == pytest.approx(np.exp(2 * KAPPA * LOAD_CAP))
