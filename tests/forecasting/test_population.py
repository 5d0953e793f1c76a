"""Incremental counts against counting anew."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from forestay.forecasting.ages import AGE_EDGES_S, AGES
from forestay.forecasting.population import Population
from forestay.model.plan import FloatArray

ENDPOINTS, KINDS = 4, 3


class PopulationMachine(RuleBasedStateMachine):
    """Opens, closes and time, beside a dict of who opened when and where."""

    @initialize()
    def begin(self) -> None:
        self.population = Population(ENDPOINTS)
        self.population.widen(KINDS)
        self.now_s = self.advanced_s = 50.0
        self.live: dict[int, tuple[int, float, int]] = {}
        self.excess: dict[int, float] = {}

    @rule(endpoint=st.integers(0, ENDPOINTS - 1), count=st.integers(1, 800), kind=st.integers(0, KINDS - 1))
    def open(self, endpoint: int, count: int, kind: int) -> None:
        for _ in range(count):
            slot = self.population.open(endpoint, self.now_s, kind)
            assert slot not in self.live
            self.live[slot] = (endpoint, self.now_s, kind)

    @rule(data=st.data(), excess=st.floats(-2.0, 5.0))
    def some_are_found_dearer(self, data: st.DataObject, excess: float) -> None:
        rng = data.draw(st.randoms(use_true_random=False))
        slots = rng.sample(sorted(self.live), len(self.live) // 3)
        self.population.attribute(np.array(slots, np.int64), np.full(len(slots), excess), np.full(len(slots), 0.5))
        for slot in slots:
            self.excess[slot] = max(self.excess.get(slot, 0.0) + excess, -1.0)

    @rule(kind=st.integers(1, KINDS - 1))
    def a_kind_is_given_up(self, kind: int) -> None:
        self.population.merge(kind)
        for slot, (endpoint, opened_s, mine) in self.live.items():
            self.live[slot] = (endpoint, opened_s, 0 if mine == kind else mine)

    @rule(data=st.data(), share=st.floats(0.0, 1.0))
    def close(self, data: st.DataObject, share: float) -> None:
        rng = data.draw(st.randoms(use_true_random=False))
        for slot in rng.sample(sorted(self.live), int(share * len(self.live))):
            endpoint, opened_s, kind = self.live.pop(slot)
            assert self.population.owner(slot) == endpoint
            assert self.population.close(slot)[:4] == (endpoint, kind, self.bucket(opened_s), opened_s)
            self.excess.pop(slot, None)

    @rule(step_s=st.sampled_from([0.0, 0.1, 1.0, 7.0, 40.0, 500.0, 5000.0]))
    def advance(self, step_s: float) -> None:
        self.now_s += step_s
        self.advanced_s = self.now_s
        self.population.advance(self.now_s)

    @rule(step_s=st.floats(0.0, 0.5))
    def time_passes_without_a_tick(self, step_s: float) -> None:
        self.now_s += step_s

    @rule(step_s=st.floats(0.0, 100.0))
    def the_clock_steps_back_and_nobody_gets_younger(self, step_s: float) -> None:
        self.population.advance(self.advanced_s - step_s)

    def bucket(self, opened_s: float) -> int:
        """The bucket of an age at the last `advance`; who opened since is in the first."""
        age_s = max(self.advanced_s - opened_s, 0.0)
        return min(int(np.searchsorted(AGE_EDGES_S, age_s, side="right")) - 1, AGES - 1)

    @invariant()
    def counts_are_those_of_a_recount(self) -> None:
        recount: FloatArray = np.zeros((KINDS, AGES, ENDPOINTS))
        for endpoint, opened_s, kind in self.live.values():
            recount[kind, self.bucket(opened_s), endpoint] += 1
        np.testing.assert_array_equal(self.population.by_kind, recount)
        recount[:] = 0.0
        for slot, excess in self.excess.items():
            endpoint, opened_s, kind = self.live[slot]
            recount[kind, self.bucket(opened_s), endpoint] += excess
        np.testing.assert_allclose(self.population.excess, recount, atol=1e-9)
        assert len(self.population) == len(self.live)

    @invariant()
    def listings_are_complete_and_in_order(self) -> None:
        in_order = self.population.in_order()
        assert set(in_order.tolist()) == self.live.keys()
        times = self.population.opened_at(in_order)
        assert (np.diff(times) >= 0).all()
        mine = [slot for slot, (endpoint, _, _) in self.live.items() if endpoint == 1]
        assert sorted(self.population.on_endpoint(1)) == sorted(mine)
        young, kinds = self.population.ages_since(self.now_s - 3.0, self.now_s)
        expected = sorted(kind for _, opened_s, kind in self.live.values() if opened_s > self.now_s - 3.0)
        assert sorted(kinds.tolist()) == expected
        assert len(young) == len(expected)


TestPopulationMachine = PopulationMachine.TestCase
TestPopulationMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_counts_stay_exact_through_growth_and_compaction(seed: int) -> None:
    rng = np.random.default_rng(seed)  # noqa: TID251 # a test is a caller
    population, live = Population(ENDPOINTS), dict[int, float]()
    for second in range(30):
        for _ in range(1000):
            live[population.open(int(rng.integers(ENDPOINTS)), float(second))] = float(second)
        leaving = rng.choice(list(live), int(len(live) * rng.uniform(0.0, 0.9)), replace=False)
        for slot in leaving.tolist():
            assert population.close(slot)[3] == live.pop(slot)
        population.advance(second + 1.0)
    ages = 30.0 - np.array(list(live.values()))
    np.testing.assert_array_equal(population.counts.sum(1), np.histogram(ages, AGE_EDGES_S)[0])
    assert len(population.in_order()) == len(live)


def test_the_log_does_not_grow_with_connections_that_are_gone() -> None:
    population = Population(1)
    for second in range(200):
        for slot in [population.open(0, float(second)) for _ in range(500)]:
            population.close(slot)
        population.advance(second + 1.0)
    assert len(population._log) < 10_000


def test_an_opening_before_the_latest_one_counts_as_the_latest() -> None:
    population = Population(1)
    population.open(0, 10.0)
    late = population.open(0, 3.0)
    assert population.close(late)[:4] == (0, 0, 0, 10.0)
