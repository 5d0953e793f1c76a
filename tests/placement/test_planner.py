"""The heap against the rule of `Table` carried out by looking at everybody."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestay.model.plan import UNLIMITED, Table
from forestay.placement import planner as planner_module
from forestay.placement.planner import HOT, Planner
from tests.placement.tables import HORIZONS, Rule, random_table

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.sampled_from([1, 2, 7, 60, HOT - 1, HOT, HOT + 1, 1000, 2000])
FEW_EXAMPLES = settings(max_examples=25, deadline=None)


@FEW_EXAMPLES
@given(seed=SEEDS, endpoints=SIZES, pickers=st.integers(1, 4), limits=st.sampled_from([(UNLIMITED, 0), (3, 2), (1, 1)]))
def test_every_pick_is_the_cheapest_whatever_others_picked_in_between(
    seed: int, endpoints: int, pickers: int, limits: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)  # noqa: TID251 # a test is a caller
    table = random_table(endpoints, rng, slots_max=limits[0], paced_max=limits[1])
    rule = Rule(table)
    columns = [rng.integers(0, 1000, endpoints).tolist() for _ in range(pickers)]  # cumulative: they never begin at 0
    planner = Planner(table, columns[0], columns[1:], seed=seed)
    for _ in range(60):
        if pickers > 1 and rng.random() < 0.5:
            for slot in rng.integers(0, endpoints, rng.integers(1, 4)).tolist():
                columns[rng.integers(1, pickers)][slot] += 1
                rule.placed[slot] += 1
        exclude = set(rng.integers(0, endpoints, rng.integers(0, 3)).tolist()) if rng.random() < 0.3 else set()
        assert planner.peek(exclude) == planner.peek(exclude)
        slot = planner.pick(exclude)
        assert rule.allows(slot, exclude)
        if slot >= 0:
            rule.placed[slot] += 1


@FEW_EXAMPLES
@given(seed=SEEDS, hot=st.integers(1, 12))
def test_picks_are_exact_when_the_hot_ones_run_out_again_and_again(seed: int, hot: int) -> None:
    rng = np.random.default_rng(seed)  # noqa: TID251 # a test is a caller
    table = random_table(40, rng, slots_max=4, paced_max=1)
    rule, own, other = Rule(table), [0] * 40, [0] * 40
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner_module, "HOT", hot)
        small = Planner(table, own, [other], seed=seed)
        for _ in range(150):
            action, slot = rng.random(), int(rng.integers(40))
            if action < 0.1:
                other[slot] += 1
                rule.placed[slot] += 1
            elif action < 0.2:
                factors = np.exp(rng.normal(0, 0.5, HORIZONS))
                small.reprice(slot, factors.tolist(), room=1)
                rule.price[slot] *= factors
                rule.limits = [limit + (np.arange(40) == slot) for limit in rule.limits]
            exclude = set(rng.integers(0, 40, 10).tolist()) if action > 0.8 else set()
            slot = small.pick(exclude)
            # Room that a close gives after everybody had been full counts as paced.
            assert rule.allows(slot, exclude) or (small._wide and rule.allows(slot, exclude, wide=True))
            if slot >= 0:
                rule.placed[slot] += 1


@FEW_EXAMPLES
@given(seed=SEEDS, endpoints=SIZES)
def test_picks_follow_prices_that_change_between_tables(seed: int, endpoints: int) -> None:
    rng = np.random.default_rng(seed)  # noqa: TID251 # a test is a caller
    table = random_table(endpoints, rng, slots_max=5)
    rule, own = Rule(table), [0] * endpoints
    planner = Planner(table, own, seed=seed)
    for _ in range(60):
        changed, room = int(rng.integers(endpoints)), int(rng.integers(2))
        factors = np.exp(rng.normal(0, 0.5, HORIZONS))
        planner.reprice(changed, factors.tolist(), room)
        rule.price[changed] *= factors
        for limit in rule.limits:
            limit[changed] += room
        slot = planner.pick()
        assert rule.allows(slot)
        if slot >= 0:
            rule.placed[slot] += 1


@FEW_EXAMPLES
@given(seed=SEEDS, endpoints=st.sampled_from([5, HOT + 100]))
def test_a_choice_of_the_caller_counts_as_a_pick(seed: int, endpoints: int) -> None:
    rng = np.random.default_rng(seed)  # noqa: TID251 # a test is a caller
    table = random_table(endpoints, rng, slots_max=4)
    rule = Rule(table)
    planner = Planner(table, [0] * endpoints)
    for _ in range(40):
        chosen = int(rng.integers(endpoints))
        planner.count(chosen)
        rule.placed[chosen] += 1
        assert planner.placed(chosen) == rule.placed[chosen]
        assert planner.cost(chosen) == pytest.approx(rule.costs()[chosen], rel=1e-9)
        assert rule.allows(planner.peek())


@FEW_EXAMPLES
@given(seed=SEEDS, endpoints=st.sampled_from([1, 5, HOT + 100]))
def test_a_pick_taken_back_leaves_no_trace(seed: int, endpoints: int) -> None:
    rng = np.random.default_rng(seed)  # noqa: TID251 # a test is a caller
    table = random_table(endpoints, rng, slots_max=2)
    rule, own = Rule(table), [0] * endpoints
    planner = Planner(table, own)
    for _ in range(20):
        before, slot = own.copy(), planner.pick()
        if slot < 0:
            break
        planner.unplace(slot)
        assert own == before
        assert planner.pick() == slot
        rule.placed[slot] += 1
        assert rule.allows(planner.peek())


@FEW_EXAMPLES
@given(seed=SEEDS, endpoints=st.sampled_from([1, 3, HOT + 300]), excluded=st.floats(0.5, 1.0))
def test_the_cheapest_of_the_rest_is_found_however_many_are_excluded(
    seed: int, endpoints: int, excluded: float
) -> None:
    rng = np.random.default_rng(seed)  # noqa: TID251 # a test is a caller
    table = random_table(endpoints, rng, slots_max=1, paced_max=1)
    rule = Rule(table)
    planner = Planner(table, [0] * endpoints)
    cheapest_first = np.argsort(rule.costs()).tolist()
    exclude = set(cheapest_first[: int(np.ceil(excluded * endpoints))])
    assert rule.allows(planner.pick(exclude), exclude)
    rule.placed[:] = [planner.placed(slot) for slot in range(endpoints)]
    assert rule.allows(planner.pick())  # whom others avoided has kept its slots, and comes before the paced


def test_slots_are_used_up_before_paced_ones_and_then_nobody_takes_more() -> None:
    table = Table(
        endpoint_ids=("cheap but busy", "dear", "dearer"),
        price=np.array([[1.0], [2.0], [3.0]]),
        factor=np.full((3, 1), 1.01),
        weight=np.ones(1),
        level=np.zeros(1),
        slots=np.array([0, 2, 1]),
        paced=np.array([1, 0, 1]),
    )
    planner = Planner(table, [0, 0, 0])
    assert [planner.pick() for _ in range(6)] == [1, 1, 2, 0, 2, -1]


def test_equal_prices_are_taken_in_an_order_that_depends_on_the_seed() -> None:
    table = random_table(20, np.random.default_rng(0))  # noqa: TID251 # a test is a caller
    table.price[:] = table.price[0]
    first_picks = {Planner(table, [0] * 20, seed=seed).pick() for seed in range(20)}
    assert len(first_picks) > 5


@pytest.mark.parametrize("endpoints", [3, HOT + 1])
@pytest.mark.parametrize("placements", [100, 100_000])
def test_placements_beyond_what_a_float_holds_make_an_endpoint_dear_not_the_planner_fail(
    endpoints: int, placements: int
) -> None:
    table = random_table(endpoints, np.random.default_rng(1))  # noqa: TID251 # a test is a caller
    table.factor[:] = 1e4
    other = [0] * endpoints
    planner = Planner(table, [0] * endpoints, [other])
    cheapest = planner.pick()
    other[cheapest] += placements
    for _ in range(endpoints):
        assert planner.pick() not in (-1, cheapest)
    planner.reprice(cheapest, [1e-3] * HORIZONS)
    assert np.isfinite(planner.cost(cheapest))


def test_a_planner_of_no_endpoints_has_nobody() -> None:
    table = random_table(0, np.random.default_rng(0))  # noqa: TID251 # a test is a caller
    assert Planner(table, []).pick() == -1


def test_the_base_says_which_placements_the_prices_contain() -> None:
    table = Table(
        endpoint_ids=("a", "b"),
        price=np.ones((2, 1)),
        factor=np.full((2, 1), 2.0),
        weight=np.ones(1),
        level=np.zeros(1),
        slots=np.array([2, 2]),
        paced=np.array([0, 0]),
    )
    planner = Planner(table, [5, 5], base=[5, 4])  # one placement on b is newer than the table
    assert [planner.placed(slot) for slot in (0, 1)] == [0, 1]
    assert planner.pick() == 0
    assert sorted(planner.pick() for _ in range(2)) == [0, 1]
    assert planner.pick() == -1
