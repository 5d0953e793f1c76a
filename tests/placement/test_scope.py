"""The cheapest of a zone, beside the planner of everybody."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestay.model.plan import UNLIMITED
from forestay.placement.planner import HOT, Planner
from forestay.placement.scope import Scope, scopes
from tests.placement.tables import HORIZONS, Rule, random_table


@pytest.mark.parametrize(
    ("zone", "expected"), [("", ()), ("eu", ("eu",)), ("eu/rack-3/left", ("eu/rack-3/left", "eu/rack-3", "eu"))]
)
def test_zones_nest_nearest_first(zone: str, expected: tuple[str, ...]) -> None:
    assert scopes(zone) == expected


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    endpoints=st.sampled_from([4, 60, HOT + 300]),
    slots_max=st.sampled_from([3, UNLIMITED]),
)
def test_a_scope_finds_the_cheapest_of_its_part_whatever_is_placed_or_repriced(
    seed: int, endpoints: int, slots_max: int
) -> None:
    rng = np.random.default_rng(seed)  # noqa: TID251 # a test is a caller
    table = random_table(endpoints, rng, slots_max=slots_max)
    rule, other = Rule(table), [0] * endpoints
    planner = Planner(table, [0] * endpoints, [other])
    here = rng.random(endpoints) < 0.5
    elsewhere = set(np.flatnonzero(~here).tolist())
    for _ in range(10):
        slot = planner.pick()
        rule.placed[slot] += slot >= 0
    scope = Scope(planner, np.flatnonzero(here))
    for _ in range(40):
        what = rng.integers(4)
        if what == 0:  # somebody else's placement
            slot = int(rng.integers(endpoints))
            other[slot] += 1
            rule.placed[slot] += 1
        elif what == 1:  # a connection closes
            slot = int(rng.integers(endpoints))
            rule.price[slot] *= 0.7
            rule.limits = [limit + (np.arange(endpoints) == slot) for limit in rule.limits]
            planner.reprice(slot, [0.7] * HORIZONS, room=1)
            if slot in scope:
                scope.changed(slot)
        elif what == 2:
            slot = planner.pick()
            assert rule.allows(slot)
            rule.placed[slot] += slot >= 0
        cost, near = scope.peek()
        assert rule.allows(near, elsewhere)
        if near >= 0:
            assert cost == pytest.approx(rule.costs()[near])
            assert rule.allows(scope.peek({near})[1], elsewhere | {near})
            planner.count(near)
            rule.placed[near] += 1
