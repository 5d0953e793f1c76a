"""Connections over each report's own window."""

import numpy as np
import pytest

from forestay.forecasting.window import INTERVALS, Interval, Window


def window_of(means: list[float], tick_s: float = 1.0, endpoints: int = 1) -> Window:
    """Ticks from time 0 on, between which every endpoint had so many connections on average."""
    window = Window()
    for number, mean in enumerate(means):
        window.push(Interval(number * tick_s, (number + 1) * tick_s, np.full((2, endpoints), mean)))
    return window


@pytest.mark.parametrize(("at_s", "mean"), [(3.0, 30.0), (2.0, 20.0), (2.25, 22.5), (1.5, 15.0)])
def test_a_window_between_ticks_is_the_mean_of_the_parts_it_covers(at_s: float, mean: float) -> None:
    x, covered = window_of([10.0, 20.0, 30.0]).at(np.array([at_s]))
    assert x[:, 0] == pytest.approx(mean)
    assert covered == pytest.approx(1.0)


def test_every_endpoint_has_its_own_window() -> None:
    window = Window()
    for number in range(3):
        window.push(Interval(float(number), number + 1.0, np.array([[number, 10.0 * number]])))
    x, _ = window.at(np.array([3.0, 2.5]))
    assert x[0] == pytest.approx([2.0, 15.0])


def test_what_lies_outside_of_memory_is_said_to_be_uncovered() -> None:
    window = window_of([10.0] * (INTERVALS + 5), endpoints=3)
    _, covered = window.at(np.array([INTERVALS + 5.5, 1.0, INTERVALS + 4.0]))
    assert covered == pytest.approx([0.5, 0.0, 1.0])


def test_an_empty_window_covers_nothing() -> None:
    x, covered = Window().at(np.array([1.0, 2.0]))
    assert x.shape == (0, 2)
    assert covered == pytest.approx([0.0, 0.0])


def test_ticks_that_are_late_are_weighed_by_their_length() -> None:
    x, covered = window_of([10.0, 40.0], tick_s=0.75).at(np.array([1.5]))
    assert x[0, 0] == pytest.approx((0.25 * 10.0 + 0.75 * 40.0) / 1.0)
    assert covered == pytest.approx(1.0)
