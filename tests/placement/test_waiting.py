"""The order of the queue, and the pace at which it is served."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestay.placement.waiting import TURNS_KEPT, Drip, Queue


def queue_of(*clients: str, size_max: int = 10_000) -> Queue[str]:
    """One connection of each of these clients, in this order; what waits is "client/number of arrival"."""
    queue: Queue[str] = Queue(size_max)
    for number, client in enumerate(clients):
        queue.push(f"{client}/{number}", f"{client}/{number}", client)
    return queue


def served(queue: Queue[str], count: int) -> list[str]:
    """Clients of the next ones, one after the other."""
    order = []
    for _ in range(count):
        (name,) = queue.first(1)
        queue.remove(name)
        order.append(name.partition("/")[0])
    return order


def test_without_clients_the_order_is_that_of_arrival_and_who_leaves_is_gone() -> None:
    queue: Queue[str] = Queue(3)
    for name in "abc":
        queue.push(name, name)
    assert queue.full
    assert queue.remove("b")
    assert not queue.remove("b")
    queue.push("d", "d")
    assert queue.first(10) == ["a", "c", "d"] == list(queue)
    assert "c" in queue


def test_a_client_with_many_waiting_gets_one_turn_like_the_others() -> None:
    queue = queue_of(*["greedy"] * 5, "modest", "late")
    assert served(queue, 7) == ["greedy", "modest", "late", "greedy", "greedy", "greedy", "greedy"]


def test_connections_without_a_client_are_clients_of_their_own() -> None:
    queue = queue_of("greedy", "greedy", "", "", "")
    assert served(queue, 5) == ["greedy", "", "", "", "greedy"]


def test_who_comes_later_does_not_catch_up_on_turns_before_it() -> None:
    queue = queue_of(*["first"] * 10)
    assert served(queue, 5) == ["first"] * 5
    for number in range(3):
        queue.push(f"late/{number}", f"late/{number}", "late")
    assert served(queue, 6) == ["first", "late", "first", "late", "first", "late"]


def test_who_leaves_and_comes_back_goes_to_the_end() -> None:
    queue = queue_of("a", "b")
    queue.remove("a/0")
    queue.push("a/0", "a/0", "a")
    assert served(queue, 2) == ["b", "a"]


def test_an_empty_queue_remembers_no_turns() -> None:
    queue = queue_of("a", "a", "a")
    served(queue, 3)
    queue.push("a/9", "a/9", "a")
    queue.push("b/9", "b/9", "b")
    assert served(queue, 2) == ["a", "b"]


def test_turns_of_clients_that_have_gone_are_forgotten() -> None:
    queue = queue_of("always")
    for number in range(20 * TURNS_KEPT):
        queue.push(f"{number}", f"{number}", f"client {number}")
        queue.remove(f"{number}")
    assert len(queue._last_turn) <= 2 * TURNS_KEPT + 4


@settings(max_examples=100, deadline=None)
@given(clients=st.lists(st.sampled_from("abcd"), min_size=1, max_size=40), leaving=st.sets(st.integers(0, 39)))
def test_while_several_clients_wait_none_is_served_more_than_once_more_than_another(
    clients: list[str], leaving: set[int]
) -> None:
    queue = queue_of(*clients)
    for number, client in enumerate(clients):
        if number in leaving:
            queue.remove(f"{client}/{number}")
    remaining = Counter(name.partition("/")[0] for name in queue)
    got: Counter[str] = Counter()
    if not leaving:  # gaps that leavers left in their own line may cost them turns, nobody else
        while len(queue):
            (client,) = served(queue, 1)
            got[client] += 1
            remaining[client] -= 1
            assert all(got[client] <= got[other] + 1 for other in remaining if remaining[other] > 0)
    else:
        assert sorted(queue.first(100)) == sorted(queue)


def test_looking_at_the_first_changes_nothing() -> None:
    queue = queue_of("a", "b", "a")
    assert queue.first(2) == queue.first(2) == ["a/0", "b/1"]
    assert len(queue) == 3


def taken(polls_per_s: int, seconds: float, places: int) -> list[int]:
    """Places handed out at each poll, to a queue that never ends."""
    drip, history = Drip(), []
    for number in range(int(seconds * polls_per_s)):
        allowed = drip.allow(places, 100.0 + number / polls_per_s)
        history.append(allowed)
        for _ in range(allowed):
            drip.take()
    return history


@pytest.mark.parametrize("polls_per_s", [1, 2, 10, 100])
def test_a_seconds_places_go_out_in_a_second_however_often_one_asks(polls_per_s: int) -> None:
    history = taken(polls_per_s, 10.0, places=20)
    later = history[polls_per_s:]
    assert sum(later) == pytest.approx(9 * 20, abs=2)


def test_asked_often_it_hands_out_evenly() -> None:
    assert max(taken(100, 5.0, places=40)[100:]) <= 1


def test_a_place_that_is_free_need_not_wait() -> None:
    drip = Drip()
    for tenth in range(10):
        drip.allow(0, 100.0 + tenth / 10)
    assert drip.allow(1, 101.0) == 1
