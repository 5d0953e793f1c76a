from hypothesis import given
from hypothesis import strategies as st

from forestay.control.schedule import Schedule


@given(st.lists(st.floats(0.0, 20.0), max_size=30))
def test_the_next_tick_is_never_due_in_the_past_and_keeps_its_phase(delays_s: list[float]) -> None:
    schedule = Schedule(start_s=100.0, every_s=1.0)
    begun = missed = 0
    for delay_s in delays_s:
        now_s = schedule.due_s + delay_s
        late_s, skipped = schedule.begin(now_s)
        begun, missed = begun + 1, missed + skipped
        assert abs(late_s - delay_s) < 1e-9
        assert now_s < schedule.due_s <= now_s + 1.0 + 1e-9
    assert schedule.due_s == 100.0 + begun + missed


def test_a_tick_on_time_is_not_late() -> None:
    assert Schedule(start_s=5.0, every_s=1.0).begin(5.0) == (0.0, 0)


def test_a_clock_before_the_due_time_counts_as_on_time() -> None:
    schedule = Schedule(start_s=5.0, every_s=1.0)
    assert schedule.begin(4.9999) == (0.0, 0)
    assert schedule.due_s == 6.0
