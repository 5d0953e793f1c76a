"""What was forecast, found again when the truth has come."""

from forestay.forecasting.past import ROUNDS, Past


def past_of(times_s: list[float]) -> Past[float]:
    past: Past[float] = Past()
    for at_s in times_s:
        past.push(at_s, at_s)
    return past


def test_the_round_of_about_that_time_is_found() -> None:
    past = past_of([10.0, 11.1, 12.0, 13.2])
    assert [past.near(at_s) for at_s in (10.2, 11.0, 11.9, 13.0)] == [10.0, 11.1, 12.0, 13.2]


def test_a_moment_without_a_round_near_it_finds_nothing() -> None:
    past = past_of([10.0, 15.0])
    assert [past.near(at_s) for at_s in (9.0, 12.0, 16.0)] == [None, None, None]


def test_old_rounds_are_dropped() -> None:
    past = past_of([float(second) for second in range(3 * ROUNDS)])
    assert past.near(float(2 * ROUNDS - 1)) is None
    assert past.near(float(2 * ROUNDS)) == 2 * ROUNDS


def test_a_cleared_past_is_empty() -> None:
    past = past_of([10.0])
    past.clear()
    assert past.near(10.0) is None
