from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestay.telemetry.usage import Link, Reading, usage

BEFORE = Reading(
    at_s=10.0,
    cpu_s=100.0,
    cpu_cores=2.0,
    memory_bytes=512.0,
    memory_limit_bytes=1024.0,
    links={"eth0": Link(1000, 2000, 1000.0), "eth1": Link(0, 0, None)},
)


def after(**changes: object) -> Reading:
    return replace(BEFORE, at_s=12.0, **changes)  # type: ignore[arg-type]  # each test names one field


def test_load_is_the_growth_of_counters_over_time_and_limit() -> None:
    used = usage(BEFORE, after(cpu_s=101.0, memory_bytes=768.0, links={"eth0": Link(1400, 3000, 1000.0)}))
    assert used is not None
    assert (used.elapsed_s, used.cpu, used.memory, used.network) == (2.0, 0.25, 0.75, 0.5)


@pytest.mark.parametrize("at_s", [10.0, 9.0])
def test_no_time_between_readings_says_nothing(at_s: float) -> None:
    assert usage(BEFORE, replace(BEFORE, at_s=at_s)) is None


def test_a_cpu_counter_that_went_backwards_is_unknown_and_not_zero() -> None:
    used = usage(BEFORE, after(cpu_s=3.0))
    assert used is not None
    assert used.cpu is None
    assert used.memory == 0.5


def test_memory_that_nobody_can_tell_is_unknown() -> None:
    used = usage(BEFORE, after(memory_bytes=None))
    assert used is not None
    assert used.memory is None


@pytest.mark.parametrize(
    "links",
    [
        {},
        {"eth1": Link(5000, 5000, None)},
        {"eth2": Link(5000, 5000, 1000.0)},
        {"eth0": Link(10, 3000, 1000.0)},
        {"eth0": Link(3000, 10, 1000.0)},
    ],
    ids=["none", "speed unknown", "new", "received backwards", "sent backwards"],
)
def test_a_link_that_cannot_be_compared_does_not_count(links: dict[str, Link]) -> None:
    used = usage(BEFORE, after(links=links))
    assert used is not None
    assert used.network is None


def test_the_busiest_direction_of_the_busiest_link_counts() -> None:
    before = replace(BEFORE, links={"a": Link(0, 0, 100.0), "b": Link(0, 0, 1000.0)})
    used = usage(before, after(links={"a": Link(20, 10, 100.0), "b": Link(0, 1600, 1000.0)}))
    assert used is not None
    assert used.network == 0.8


MOTHER, CHILD, OTHER = (1, 0.0), (2, 5.0), (3, 6.0)


@pytest.mark.parametrize(
    ("total_before", "total_after", "own_before", "own_after", "used_s"),
    [
        (7.0, 8.0, {MOTHER: 3.0, CHILD: 4.0}, {MOTHER: 3.5, CHILD: 4.5}, 1.0),
        (7.0, 8.0, {MOTHER: 3.0, CHILD: 4.0}, {MOTHER: 3.5}, 1.0),
        (7.0, 3.5, {MOTHER: 3.0, CHILD: 4.0}, {MOTHER: 3.5}, 0.5),
        (3.0, 4.0, {MOTHER: 3.0}, {MOTHER: 3.25, OTHER: 0.75}, 1.0),
        (3.0, 3.5, {MOTHER: 3.0}, {MOTHER: 3.0}, 0.5),
        (3.0, 1.0, {MOTHER: 3.0}, {(1, 9.0): 1.0}, 1.0),
    ],
    ids=[
        "both go on",
        "a child was reaped",
        "a child was lost",
        "a child was born",
        "born and reaped in between",
        "another process with the same pid",
    ],
)
def test_the_cpu_of_a_process_tree_survives_the_death_of_its_members(
    total_before: float,
    total_after: float,
    own_before: dict[tuple[int, float], float],
    own_after: dict[tuple[int, float], float],
    used_s: float,
) -> None:
    used = usage(
        replace(BEFORE, cpu_s=total_before, processes=own_before), after(cpu_s=total_after, processes=own_after)
    )
    assert used is not None
    assert used.cpu == pytest.approx(used_s / 2.0 / 2.0)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(1e-3, 1e6), st.integers(0, 10**12), st.integers(0, 10**12))
def test_what_is_said_is_never_negative(
    cpu_before_s: float, cpu_after_s: float, elapsed_s: float, sent_before: int, sent_after: int
) -> None:
    before = replace(BEFORE, at_s=0.0, cpu_s=cpu_before_s, links={"a": Link(0, sent_before, 1e9)})
    used = usage(before, replace(before, at_s=elapsed_s, cpu_s=cpu_after_s, links={"a": Link(0, sent_after, 1e9)}))
    assert used is not None
    assert used.cpu is None or used.cpu >= 0
    assert used.network is None or used.network >= 0
