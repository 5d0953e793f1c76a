from hypothesis import given
from hypothesis import strategies as st

from forestay.control.shadow.sightings import WaitingLine


@given(st.lists(st.floats(0, 100), max_size=50), st.floats(0, 100))
def test_what_is_due_comes_in_order_of_time_and_nothing_else(times: list[float], now_s: float) -> None:
    line = WaitingLine[int]()
    for number, at_s in enumerate(times):
        line.join(at_s, number)
    due = list(line.due(now_s))
    assert due == sorted((at_s, number) for number, at_s in enumerate(times) if at_s <= now_s)
    assert len(line) == len(times) - len(due)


def test_a_line_says_when_it_is_full() -> None:
    line = WaitingLine[str](waiting_max=2)
    line.join(1.0, "a")
    assert not line.full
    line.join(2.0, "b")
    assert line.full
