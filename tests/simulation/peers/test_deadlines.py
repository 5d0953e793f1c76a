import random
from collections import Counter

import pytest

from forestay.simulation.peers.deadlines import Deadlines


def test_turns_follow_weights_evenly() -> None:
    turns = Deadlines(random.Random(1).random)
    turns.schedule({0: 1.0, 1: 2.0, 2: 5.0})
    counts: Counter[int] = Counter()
    for number in range(1, 801):
        counts[turns.next()] += 1
        if number % 8 == 0:  # never more than one off
            assert all(abs(counts[slot] - number * weight / 8) <= 1 for slot, weight in ((0, 1), (1, 2), (2, 5)))


def test_a_schedule_renewed_all_the_time_stays_even() -> None:
    turns = Deadlines(random.Random(1).random)
    counts: Counter[int] = Counter()
    for number in range(600):
        turns.schedule({0: 1.0 + number % 2 / 10, 1: 2.0, 2: 3.0})
        counts[turns.next()] += 1
    assert [counts[slot] for slot in range(3)] == pytest.approx([104, 198, 298], abs=4)


def test_those_not_among_the_candidates_keep_their_turn() -> None:
    turns = Deadlines(random.Random(1).random)
    turns.schedule({0: 1.0, 1: 1.0, 2: 1.0})
    assert {turns.next((2,)) for _ in range(3)} == {2}
    assert {turns.next(), turns.next()} == {0, 1}
