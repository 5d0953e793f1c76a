"""The pool's width: one step at a time, never swinging, never empty."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestay.model.plan import Table
from forestay.placement.pool import BUSY, MARGIN, PANIC, QUIET, STEPS, Pool, narrowed
from tests.placement.tables import random_table

LOADS = st.floats(0.0, 2.0)
PARTS = st.floats(0.0, 1.0)


def after(ticks: int, load: float, need: float = 0.0, pool: Pool | None = None) -> Pool:
    pool = pool or Pool()
    for _ in range(ticks):
        pool.step(load, need, 1.0)
    return pool


def test_it_is_wide_when_quiet_narrow_when_busy_and_wide_again() -> None:
    pool = after(100, 1.0)
    assert pool.steps < MARGIN
    assert after(100, 0.5, pool=pool).steps == STEPS


@given(st.lists(st.tuples(LOADS, PARTS, PARTS), max_size=200))
def test_it_moves_one_step_a_tick_and_is_never_empty(ticks: list[tuple[float, float, float]]) -> None:
    pool = Pool()
    for load, need, well in ticks:
        before = pool.steps
        pool.step(load, need, well)
        assert abs(pool.steps - before) <= 1
        assert 1 <= pool.steps <= STEPS
        assert all(1 <= pool.size(eligible) <= eligible for eligible in (1, 2, 15, 10_000))
        assert pool.size(0) == 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), load=st.floats(0.0, 1.3), need=PARTS, noise=st.floats(0.0, 0.15))
def test_it_never_oscillates_on_a_constant_load_and_need_with_noise(
    seed: int, load: float, need: float, noise: float
) -> None:
    """At any load, at the edges of the band as well, it settles and turns at most once on the way."""
    rng = np.random.default_rng(seed)  # noqa: TID251 # a test is a caller
    pool, steps = Pool(), []
    for _ in range(3000):
        pool.step(load + noise * rng.standard_normal(), float(np.clip(need + noise * rng.standard_normal(), 0, 1)), 1.0)
        steps.append(pool.steps)
    moves = np.diff(steps)
    moves = moves[moves != 0]
    turns = int((np.diff(np.sign(moves)) != 0).sum())
    assert turns <= 1


def test_inside_the_band_it_stays_where_it_is() -> None:
    middle = (BUSY + QUIET) / 2
    pool = after(100, middle, pool=after(5, BUSY + 0.01))
    width = pool.steps
    assert MARGIN < width < STEPS
    assert after(1000, middle, pool=pool).steps == width


@pytest.mark.parametrize("need", [0.25, 0.5, 1.0])
def test_it_holds_the_endpoints_that_arrivals_will_fill(need: float) -> None:
    assert after(200, 1.2, need).steps >= need * STEPS


def test_where_too_few_are_known_to_be_well_it_is_everybody_and_says_so() -> None:
    pool = after(100, 1.2)
    pool.step(1.2, 0.0, PANIC - 0.01)
    assert pool.panic
    assert pool.size(40) == 40
    pool.step(1.2, 0.0, PANIC)
    assert not pool.panic
    assert pool.size(40) < 40


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 30))
def test_the_pool_holds_the_fittest_whatever_their_order(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)  # noqa: TID251 # a test is a caller
    table = random_table(30, rng, slots_max=2, paced_max=2)
    order = rng.permutation(30)
    shuffled = Table(
        endpoint_ids=tuple(np.array(table.endpoint_ids)[order].tolist()),
        price=table.price[order],
        factor=table.factor[order],
        weight=table.weight,
        level=table.level,
        slots=table.slots[order],
        paced=table.paced[order],
    )
    fittest = [table.endpoint_ids[slot] for slot in table.fittest(size)]
    assert fittest == [shuffled.endpoint_ids[slot] for slot in shuffled.fittest(size)]
    taking = narrowed(table, size)
    if table.eligible.any():
        assert {e for e, slots in zip(taking.endpoint_ids, taking.slots, strict=True) if slots} == set(fittest)
    else:
        assert taking is table
