"""Headroom, pace and token buckets."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestay.model.plan import UNLIMITED
from forestay.placement.admission import HANDSHAKES_PART, ClientRates, Pace, headroom_slots


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_with_all_its_slots_but_one_taken_an_endpoint_is_under_the_bound_at_every_horizon(seed: int) -> None:
    rng = np.random.default_rng(seed)  # noqa: TID251 # a test is a caller
    load, newcomer = rng.uniform(0.0, 1.2, (9, 20)), rng.uniform(0.001, 0.05, 9)
    scale, bound = rng.uniform(0.2, 3.0, 20), 0.7
    slots = headroom_slots(load, newcomer, scale, bound)
    full = load + slots * newcomer[:, None] * scale
    assert (slots[(load >= bound).any(0)] == 0).all()
    takes = slots > 0
    assert ((full - newcomer[:, None] * scale)[:, takes] < bound + 1e-9).all()
    assert (full.max(0)[takes] >= bound - 1e-9).all()


def test_connections_that_cost_nothing_fit_without_bound() -> None:
    slots = headroom_slots(np.zeros((9, 1)), np.zeros(9), np.ones(1), 0.7)
    assert 10**9 < slots[0] <= UNLIMITED


def taken_at_full_pace(room: int, seconds: int, dt_s: float = 1.0, per_s: int = UNLIMITED) -> list[int]:
    """An endpoint between threshold and maximum whose room stays, and which takes all that it is allowed."""
    pace, taken, history = Pace(1), np.zeros(1, np.int64), []
    for _ in range(int(seconds / dt_s)):
        taken = pace.allow(np.array([room]), np.array([per_s]), taken, np.zeros(1, bool), dt_s)
        history.append(int(taken[0]))
    return history


@pytest.mark.parametrize("dt_s", [0.5, 1.0, 2.0])
def test_the_pace_does_not_depend_on_the_tick(dt_s: float) -> None:
    per_s = sum(taken_at_full_pace(60, 60, dt_s)) / 60
    assert per_s == pytest.approx(sum(taken_at_full_pace(60, 60)) / 60, rel=0.1)


def test_paces_under_one_a_second_work() -> None:
    history = taken_at_full_pace(1, 60)
    assert 3 <= sum(history) <= 30
    assert max(history) == 1


def test_room_for_handshakes_is_there_anew_every_second_and_is_never_exceeded() -> None:
    history = taken_at_full_pace(60, 60, per_s=8)
    assert max(history) == 8 * HANDSHAKES_PART
    assert sum(history) >= 59 * 8 * HANDSHAKES_PART


def test_who_has_no_room_takes_nothing() -> None:
    assert sum(taken_at_full_pace(0, 60)) == 0


def test_a_pace_that_was_not_used_is_not_saved_up() -> None:
    pace, nothing, eligible = Pace(1), np.zeros(1, np.int64), np.zeros(1, bool)
    room, per_s = np.array([60]), np.array([1000])
    first = pace.allow(room, per_s, nothing, eligible, 1.0)
    for _ in range(100):
        later = pace.allow(room, per_s, nothing, eligible, 1.0)
    assert first[0] < later[0] <= 60.0


@settings(max_examples=60, deadline=None)
@given(
    gaps_s=st.lists(st.floats(0.0, 2.0), min_size=1, max_size=80),
    rate_per_s=st.floats(0.1, 20.0),
    burst=st.integers(1, 10),
)
def test_a_client_never_gets_more_than_its_burst_and_its_rate(
    gaps_s: list[float], rate_per_s: float, burst: int
) -> None:
    rates, now_s, granted = ClientRates(rate_per_s, burst), 0.0, 0
    for gap_s in gaps_s:
        now_s += gap_s
        wait_s = rates.take("client", now_s)
        assert 0 <= wait_s <= 1 / rate_per_s + 1e-9
        granted += wait_s == 0
    assert granted <= burst + now_s * rate_per_s + 1e-6
    assert granted >= min(len(gaps_s), burst)


def test_after_the_wait_it_was_told_a_client_is_admitted() -> None:
    rates = ClientRates(3.0, 1)
    rates.take("client", 0.0)
    wait_s = rates.take("client", 0.1)
    assert wait_s == pytest.approx(1 / 3 - 0.1)
    assert rates.take("client", 0.1 + math.nextafter(wait_s, 1.0) + 1e-9) == 0


def test_a_clock_that_jumps_back_takes_no_tokens_away() -> None:
    rates = ClientRates(1.0, 2)
    assert rates.take("client", 100.0) == 0
    assert rates.take("client", 0.0) == 0


def test_the_number_of_remembered_clients_is_bounded_and_the_silent_are_forgotten_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ClientRates, "CLIENTS_MAX", 3)
    rates = ClientRates(0.001, 1)
    for client in ("a", "b", "c"):
        assert rates.take(client, 0.0) == 0
    assert rates.take("a", 1.0) > 0  # not silent
    assert rates.take("d", 2.0) == 0  # b is forgotten
    assert rates.take("a", 3.0) > 0
    assert rates.take("b", 4.0) == 0
