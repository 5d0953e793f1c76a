import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestay.demo.throttle import CATCH_UP_MAX_S, CpuThrottle, burn


def test_after_work_the_next_waits_for_cpu_time_over_budget() -> None:
    throttle = CpuThrottle(0.25)
    throttle.charge(0.010, asked_s=100.0, started_s=100.0)
    assert throttle.wait_s(100.010) == pytest.approx(0.030)
    assert throttle.wait_s(100.040) == 0.0


def test_idle_time_earns_nothing() -> None:
    throttle = CpuThrottle(0.5)
    throttle.charge(0.1, asked_s=10.0, started_s=10.0)
    throttle.charge(0.1, asked_s=1000.0, started_s=1000.0)
    assert throttle.ready_at_s == pytest.approx(1000.2)


@given(budget=st.floats(0.05, 1.0), works=st.lists(st.floats(0.0, 0.05), min_size=1, max_size=60))
def test_a_server_that_never_rests_uses_exactly_its_budget(budget: float, works: list[float]) -> None:
    throttle = CpuThrottle(budget)
    now_s = 5.0
    for cpu_s in works:
        now_s += throttle.wait_s(now_s)
        throttle.charge(cpu_s, 5.0, now_s)
    assert throttle.ready_at_s == pytest.approx(5.0 + sum(works) / budget)


def test_a_late_start_is_earned_back_up_to_a_bound() -> None:
    throttle = CpuThrottle(0.5)
    throttle.charge(0.1, asked_s=10.0, started_s=10.3)
    assert throttle.ready_at_s == pytest.approx(10.2)
    throttle.charge(0.1, asked_s=10.0, started_s=20.0)
    assert throttle.ready_at_s == pytest.approx(20.0 - CATCH_UP_MAX_S + 0.2)


@pytest.mark.parametrize("budget", [0.0, -0.1, 1.5])
def test_an_impossible_budget_is_refused(budget: float) -> None:
    with pytest.raises(ValueError, match="budget"):
        CpuThrottle(budget)


def test_burning_uses_the_cpu_time_that_was_asked_for() -> None:
    before_s = time.thread_time()
    burn(0.02)
    assert 0.02 <= time.thread_time() - before_s < 0.03
