"""Shares for planes that only take weights, against exact picks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestay.model.plan import UNLIMITED, Table
from forestay.placement.fitness import KAPPA
from forestay.placement.planner import Planner
from forestay.placement.weights import SCALE, weigh
from tests.placement.tables import HORIZONS, random_table

ARRIVALS = 2000


def cluster_table(seed: int, endpoints: int, slots: int = UNLIMITED) -> Table:
    """Endpoints whose loads differ little, as they do under this rule, and whose sizes differ fourfold."""
    rng = np.random.default_rng(seed)  # noqa: TID251 # a test is a caller
    capacity = rng.choice([1.0, 2.0, 4.0], (endpoints, 1))
    load = rng.uniform(0.45, 0.55, (endpoints, 1)) + rng.normal(0, 0.02, (endpoints, HORIZONS))
    own = 0.2 * endpoints / ARRIVALS / capacity * np.ones(HORIZONS)
    return Table(
        endpoint_ids=tuple(f"10.0.0.{slot}:80" for slot in range(endpoints)),
        price=np.exp(2 * KAPPA * load),
        factor=np.exp(2 * KAPPA * own),
        weight=np.full(HORIZONS, 1 / HORIZONS),
        level=np.zeros(HORIZONS),
        slots=np.full(endpoints, slots),
        paced=np.zeros(endpoints, np.int64),
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("endpoints", [2, 8, 16])
def test_weights_are_the_shares_of_exact_picks_within_a_few_per_cent(seed: int, endpoints: int) -> None:
    table = cluster_table(seed, endpoints)
    exact = [0] * endpoints
    planner = Planner(table, exact)
    for _ in range(ARRIVALS):
        planner.pick()
    weights = np.array(list(weigh(table, ARRIVALS).values()), float)
    assert weights / weights.sum() == pytest.approx(np.array(exact) / ARRIVALS, abs=0.03)


def test_in_a_large_cluster_nobody_gets_a_multiple_of_what_exact_picks_give() -> None:
    endpoints = 1000
    table = cluster_table(0, endpoints)
    exact = [0] * endpoints
    planner = Planner(table, exact)
    for _ in range(ARRIVALS):
        planner.pick()
    weights = np.array(list(weigh(table, ARRIVALS).values()), float)
    got = ARRIVALS * weights / weights.sum()
    assert got.max() <= max(exact) + 1
    assert np.abs(got - exact).sum() / 2 < 0.15 * ARRIVALS


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), arrivals=st.floats(0.0, 1e5), limits=st.sampled_from([(UNLIMITED, 0), (2, 1)]))
def test_whoever_takes_newcomers_has_a_weight_and_nobody_else(
    seed: int, arrivals: float, limits: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)  # noqa: TID251 # a test is a caller
    table = random_table(20, rng, slots_max=limits[0], paced_max=limits[1])
    takes = (table.slots + table.paced > 0).tolist()
    weights = list(weigh(table, arrivals).values())
    assert [weight > 0 for weight in weights] == takes
    assert all(0 <= weight <= SCALE for weight in weights)


def test_slots_of_nobody_have_no_weight() -> None:
    table = cluster_table(0, 3)
    named = Table(("a", "", "c"), table.price, table.factor, table.weight, table.level, table.slots, table.paced)
    assert set(weigh(named, 10.0)) == {"a", "c"}


def test_where_nobody_takes_newcomers_all_weights_are_nothing() -> None:
    assert set(weigh(cluster_table(0, 4, slots=0), 10.0).values()) == {0}
