import numpy as np
import pytest

from forestay.control.shadow.measures import Measures


def test_before_any_load_there_is_nothing_to_say() -> None:
    measures = Measures()
    measures.add(np.zeros(0), 1.0)
    assert (measures.seconds, measures.max_over_mean, measures.delay) == (0.0, None, None)
    measures.add(np.zeros(3), 1.0)
    assert (measures.seconds, measures.max_over_mean, measures.delay) == (1.0, None, None)


def test_seconds_over_a_load_count_for_every_server() -> None:
    measures = Measures()
    measures.add(np.array([0.6, 0.8, 1.2]), 2.0)
    measures.add(np.array([0.71, 0.1, 0.1]), 1.0)
    assert (measures.over_busy_s, measures.over_full_s, measures.seconds) == (5.0, 2.0, 3.0)


def test_max_over_mean_is_averaged_over_time() -> None:
    measures = Measures()
    measures.add(np.array([0.2, 0.6]), 3.0)  # 1.5
    measures.add(np.array([0.4, 0.4]), 1.0)  # 1
    assert measures.max_over_mean == pytest.approx(1.375)


def test_delay_is_weighted_by_load_and_bounded() -> None:
    measures = Measures()
    measures.add(np.array([0.5, 0.0]), 1.0)
    assert measures.delay == pytest.approx(2.0)
    full = Measures()
    full.add(np.array([5.0]), 1.0)
    assert full.delay == pytest.approx(50.0)
