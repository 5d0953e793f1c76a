"""The whole forecast, in worlds whose law is known."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestay.forecasting.calibration import LEVELS
from forestay.forecasting.forecaster import Forecaster
from forestay.model.horizons import HORIZONS_S
from forestay.model.outlook import Outlook
from forestay.model.plan import BoolArray, FloatArray

REPORT_AGE_S = 0.5
AHEAD = int(np.flatnonzero(HORIZONS_S == 11.0)[0])


class World:
    """Endpoints that report at every tick, a second apart, and connections that open at the beginning of a second."""

    def __init__(self, endpoints: int, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)  # noqa: TID251 # a test is a caller
        self.forecaster = Forecaster(np.random.default_rng(seed))  # noqa: TID251 # a test is a caller
        self.forecaster.resize(endpoints)
        self.forecaster.begin(100.0)
        self.now_s = 100.0
        self.everybody: BoolArray = np.ones(endpoints, bool)
        self.leaving: dict[int, list[int]] = {}

    def open(self, endpoint: int, lifetime_s: float) -> None:
        slot = self.forecaster.opened(endpoint, self.now_s)
        self.leaving.setdefault(int(self.now_s + lifetime_s) + 1, []).append(slot)

    def second(self, load: FloatArray, known: npt.NDArray[np.bool_] | None = None) -> Outlook:
        """A second passes: those whose time has come leave at its end, then everybody (or `known`) reports `load`."""
        self.now_s += 1.0
        for slot in self.leaving.pop(int(self.now_s), []):
            self.forecaster.closed(slot, self.now_s)
        who = self.everybody if known is None else known
        at_s = np.full(len(load), self.now_s - REPORT_AGE_S)
        return self.forecaster.tick(self.now_s, load, at_s, who, who, self.everybody)

    def counts(self) -> FloatArray:
        """Open connections by endpoint."""
        total: FloatArray = self.forecaster.population.counts.sum(0)
        return total


@settings(max_examples=12, deadline=None)
@given(
    loads=st.lists(st.floats(0.0, 1.2), min_size=1, max_size=8),
    connections=st.integers(0, 30),
)
def test_the_forecast_of_a_constant_is_that_constant(loads: list[float], connections: int) -> None:
    world = World(len(loads))
    for endpoint in range(len(loads)):
        for _ in range(connections):
            world.forecaster.opened(endpoint, world.now_s - 3600.0)
    constant = np.tile(loads, (len(HORIZONS_S), 1))
    for second in range(60):
        outlook = world.second(np.array(loads))
        if second == 3:
            assert outlook.expected == pytest.approx(constant, abs=0.2)
    assert outlook.expected == pytest.approx(constant, abs=0.05)


def test_the_present_load_of_lasting_connections_stays() -> None:
    world = World(6)
    for endpoint in range(6):
        for _ in range(20 + 10 * endpoint):
            world.forecaster.opened(endpoint, world.now_s - 600.0)
    load = 0.006 * world.counts()
    for _ in range(60):
        outlook = world.second(load)
    assert outlook.present == pytest.approx(np.tile(load, (len(HORIZONS_S), 1)), abs=0.03)


def test_a_load_that_will_leave_with_its_connections_is_forecast_to_fall() -> None:
    world = World(4)
    for _ in range(120):
        for endpoint in range(4):
            for lifetime_s in world.rng.exponential(20.0, world.rng.poisson(2)).tolist():
                world.open(endpoint, lifetime_s)
        world.second(0.01 * world.counts())
    before = world.counts()
    for _ in range(5):  # nobody new from here on
        outlook = world.second(0.01 * world.counts())
    there = 0.01 * world.counts()
    assert (before > 20).all()
    assert outlook.present[AHEAD] == pytest.approx(there * np.exp(-11 / 20), rel=0.15)


def test_the_death_of_an_endpoint_does_not_teach_that_connections_live_briefly() -> None:
    world = World(2)
    slots = [world.forecaster.opened(endpoint % 2, world.now_s) for endpoint in range(1000)]
    for _ in range(30):
        world.second(np.array([0.5, 0.5]))
    for slot in slots[::2]:
        world.forecaster.closed(slot, world.now_s)
    world.second(np.array([0.0, 0.5]))
    assert world.forecaster.survival.from_birth(np.array([60.0]))[0] > 0.9
    for slot in slots[1::20]:  # while these closes are of their age
        world.forecaster.closed(slot, world.now_s)
    world.second(np.array([0.0, 0.5]))
    assert world.forecaster.survival.from_birth(np.array([60.0]))[0] < 0.95


def test_load_of_connections_to_come_is_expected_and_not_yet_present() -> None:
    world = World(4)
    for second in range(30):
        for endpoint in range(4):
            for _ in range(2):
                world.open(endpoint, 1000.0)
        outlook = world.second(np.full(4, 0.01 * 2 * (second + 1)))
    assert outlook.present[AHEAD] == pytest.approx(0.6, abs=0.05)
    assert outlook.expected[AHEAD] == pytest.approx(0.6 + 11 * 0.02, abs=0.08)


def test_who_stopped_reporting_is_judged_by_its_connections_and_by_the_others() -> None:
    world = World(4)
    reporting = np.array([True, True, True, False])
    for endpoint in range(4):
        for _ in range(20):
            world.open(endpoint, 1000.0)
    for second in range(60):
        stale = second > 30
        load = np.array([0.3, 0.3, 0.3, 0.9 if stale else 0.3])  # of a report that no longer counts
        outlook = world.second(load, reporting if stale else None)
    assert outlook.present[:, 3] == pytest.approx(outlook.present[:, 0], abs=0.05)


def test_a_load_that_wanders_at_random_is_forecast_hardly_worse_than_by_its_last_value() -> None:
    world = World(16, seed=3)
    load, squares, last_squares = np.full(16, 0.5), [], []
    forecasts: list[FloatArray] = []
    reports: list[FloatArray] = []
    for second in range(300):
        load = np.clip(load + world.rng.normal(0, 0.01, 16), 0.0, 1.0)
        reports.append(load)
        forecasts.append(world.second(load).expected[AHEAD])
        if second >= 100:
            squares.append((load - forecasts[-12]) ** 2)
            last_squares.append((load - reports[-12]) ** 2)
    assert np.sqrt(np.mean(squares) / np.mean(last_squares)) < 1.03


def test_quantiles_of_a_noisy_load_cover_what_they_promise() -> None:
    world = World(16, seed=4)
    level = np.linspace(0.3, 0.6, 16)
    quantiles: list[FloatArray] = []
    inside: list[BoolArray] = []
    for second in range(300):
        load = level + world.rng.normal(0, 0.04, 16)
        outlook = world.second(load)
        errors = outlook.errors[AHEAD][:, None] * outlook.spread[AHEAD]
        quantiles.append(outlook.expected[AHEAD] + errors)
        if second >= 120:
            inside.append(load <= quantiles[-12])
    coverage = np.mean(inside, axis=(0, 2))
    middle = (LEVELS >= 0.05) & (LEVELS <= 0.95)
    assert coverage[middle] == pytest.approx(LEVELS[middle], abs=0.05)


def test_a_periodic_job_is_forecast_better_than_by_the_last_value() -> None:
    world = World(4, seed=5)
    squares, last_squares = [], []
    forecasts: list[FloatArray] = []
    reports: list[FloatArray] = []
    for second in range(400):
        load = 0.3 + 0.3 * ((second + np.arange(4) * 7) % 30 < 10) + world.rng.normal(0, 0.01, 4)
        reports.append(load)
        forecasts.append(world.second(load).expected[AHEAD])
        if second >= 200:
            squares.append((load - forecasts[-12]) ** 2)
            last_squares.append((load - reports[-12]) ** 2)
    assert np.sqrt(np.mean(squares) / np.mean(last_squares)) < 0.5


def test_the_forecast_of_one_endpoint_does_not_depend_on_where_in_the_list_it_is() -> None:
    def last(order: npt.NDArray[np.int64]) -> FloatArray:
        world, rng = World(6), np.random.default_rng(9)  # noqa: TID251 # a test is a caller
        for _ in range(40):
            load, opens = rng.uniform(0.2, 0.6, 6), rng.poisson(2, 6)
            for endpoint in range(6):
                for _ in range(int(opens[order[endpoint]])):
                    world.open(endpoint, 10.0)
            outlook = world.second(load[order])
        return outlook.expected

    order = np.array([3, 1, 5, 0, 2, 4])
    assert last(order) == pytest.approx(last(np.arange(6))[:, order], rel=1e-6)


def test_connections_of_other_endpoints_do_not_change_a_learned_size() -> None:
    world = World(3)
    for _ in range(150):
        for endpoint in range(3):
            for lifetime_s in world.rng.exponential(15.0, world.rng.poisson(2)).tolist():
                world.open(endpoint, lifetime_s)
        outlook = world.second(np.array([0.5, 1.0, 2.0]) * 0.008 * world.counts() + world.rng.normal(0, 0.003, 3))
    assert np.log(outlook.scale) == pytest.approx(np.log([0.5, 1.0, 2.0]), abs=0.15)


def test_the_handshakes_of_the_last_second_are_load_now_and_not_later() -> None:
    world = World(2)
    for _ in range(60):  # every accept costs .02 in its second, what follows next to nothing
        opens = world.rng.poisson(3.0, 2)
        for endpoint in (0, 1):
            for _ in range(int(opens[endpoint])):
                world.open(endpoint, 600.0)
        world.second(0.02 * opens + 1e-4 * world.counts())
    for _ in range(10):
        world.open(0, 600.0)
    present = world.second(0.02 * np.array([10.0, 0.0]) + 1e-4 * world.counts()).present
    more = present[:, 0] - present[:, 1]
    assert more[0] - more[1] == pytest.approx(0.5 * 10 * 0.02, rel=0.3)


def test_handshakes_since_the_tick_are_in_a_price_that_is_made_anew_before_the_next() -> None:
    world = World(2)
    for endpoint in (0, 1):
        for _ in range(10):
            world.forecaster.opened(endpoint, world.now_s - 600.0)
    load = np.full(2, 0.3)
    for _ in range(10):
        world.second(load)
    for _ in range(20):
        world.open(0, 600.0)
    again = world.forecaster.look_ahead(world.now_s + 0.1, load, world.everybody, world.everybody).present
    handshakes = 20 * world.forecaster.cost.per_accept
    assert handshakes > 0
    assert (again[0, 0] - again[0, 1]) - (again[1, 0] - again[1, 1]) == pytest.approx(handshakes, rel=0.2)
