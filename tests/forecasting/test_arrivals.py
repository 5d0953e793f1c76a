"""How many will come, and who gets them."""

import numpy as np
import pytest

from forestay import Event
from forestay.forecasting.arrivals import Arrivals
from forestay.model.plan import FloatArray


def learned(opens_per_s: FloatArray, seconds: int = 200, tick_s: float = 1.0) -> Arrivals:
    arrivals = Arrivals()
    arrivals.resize(len(opens_per_s))
    for tick in range(int(seconds / tick_s)):
        arrivals.learn(opens_per_s * tick_s, tick * tick_s, tick_s)
    return arrivals


@pytest.mark.parametrize("tick_s", [0.5, 1.0, 5.0])
def test_a_constant_rate_is_learned_whatever_the_tick(tick_s: float) -> None:
    arrivals = learned(np.array([3.0, 5.0]), tick_s=tick_s)
    assert arrivals.ahead(0.0) == pytest.approx(8.0, rel=0.01)


def test_an_event_multiplies_the_rate_from_its_start_to_before_its_end() -> None:
    arrivals = learned(np.array([8.0]))
    arrivals.announce(Event("launch", 1005.0, 1010.0, arrival_factor=3.0), 1000.0)
    ahead = arrivals.ahead(1000.0) / arrivals.rate_per_s
    assert ahead[:5] == pytest.approx(1.0)
    assert ahead[5:10] == pytest.approx(3.0)
    assert ahead[10:] == pytest.approx(1.0)


def test_events_that_overlap_multiply() -> None:
    arrivals = Arrivals()
    arrivals.announce(Event("launch", 0.0, 10.0, arrival_factor=3.0), 0.0)
    arrivals.announce(Event("holiday", 5.0, 15.0, arrival_factor=0.5), 0.0)
    assert [arrivals.factor(at_s) for at_s in (4.0, 5.0, 12.0)] == [3.0, 1.5, 0.5]


def test_what_an_event_brought_is_not_taken_for_the_usual_rate() -> None:
    arrivals = learned(np.array([8.0]))
    arrivals.announce(Event("launch", 200.0, 300.0, arrival_factor=3.0), 200.0)
    for second in range(200, 300):
        arrivals.learn(np.array([24.0]), float(second), 1.0)
    assert arrivals.rate_per_s == pytest.approx(8.0, rel=0.05)


def test_during_an_event_of_no_arrivals_nothing_is_learned_and_nothing_breaks() -> None:
    arrivals = learned(np.array([8.0]))
    arrivals.announce(Event("maintenance", 200.0, 300.0, arrival_factor=0.0), 200.0)
    for second in range(200, 300):
        arrivals.learn(np.array([1.0]), float(second), 1.0)
    assert np.isfinite(arrivals.ahead(250.0)).all()
    assert arrivals.rate_per_s == pytest.approx(8.0, rel=0.05)


def test_shares_follow_what_each_endpoint_got_and_sum_to_one() -> None:
    arrivals = learned(np.array([30.0, 10.0, 0.0]))
    share = arrivals.share(np.ones(3))
    assert share.sum() == pytest.approx(1.0)
    assert share[0] / share[1] == pytest.approx(3.0, rel=0.05)
    assert 0 < share[2] < 0.05


def test_who_takes_no_newcomers_has_no_share() -> None:
    share = learned(np.array([30.0, 10.0])).share(np.array([0.0, 1.0]))
    assert share == pytest.approx([0.0, 1.0])


def test_before_any_arrival_shares_are_by_capacity() -> None:
    arrivals = Arrivals()
    arrivals.resize(2)
    assert arrivals.share(np.array([3.0, 1.0])) == pytest.approx([0.75, 0.25])


def test_where_nobody_takes_newcomers_nobody_has_a_share() -> None:
    assert learned(np.array([30.0, 10.0])).share(np.zeros(2)) == pytest.approx([0.0, 0.0])
