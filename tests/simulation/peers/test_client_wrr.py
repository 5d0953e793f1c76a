from collections import Counter

import pytest

from forestay.model.load import LoadReport
from forestay.simulation.peers.client_wrr import BLACKOUT_S, EXPIRY_S, ClientWrr, Stride, weight

NAMES = ("a:1", "b:1", "c:1")


def cluster() -> ClientWrr:
    policy = ClientWrr(1)
    for name in NAMES:
        policy.add_endpoint(name, 0.0)
    return policy


def report(policy: ClientWrr, first_s: int, last_s: int, names: tuple[str, ...] = NAMES) -> None:
    for second in range(first_s, last_s + 1):
        for name, load in zip(NAMES, (0.2, 0.4, 0.8), strict=True):
            if name in names:
                policy.report(LoadReport(name, float(second), load=load, requests_per_s=80.0), float(second))
        policy.tick(float(second))


def picks(policy: ClientWrr, now_s: float, count: int = 7000) -> Counter[str]:
    return Counter(policy.place(f"{now_s}-{number}", now_s).endpoint_id for number in range(count))


def test_the_weight_is_throughput_over_utilisation_and_errors() -> None:
    assert weight(100.0, 0.5) == pytest.approx(200.0)
    assert weight(100.0, 0.5, errors_per_s=10.0) == pytest.approx(100.0 / (0.5 + 0.1))
    assert weight(0.0, 0.5) == weight(100.0, 0.0) == 0.0


def test_during_the_blackout_all_get_the_same() -> None:
    policy = cluster()
    report(policy, 1, int(BLACKOUT_S))
    assert policy.weights(BLACKOUT_S) == [0.0, 0.0, 0.0]
    placed = picks(policy, BLACKOUT_S)
    assert max(placed.values()) - min(placed.values()) <= 1


def test_after_the_blackout_shares_follow_weights() -> None:
    policy = cluster()
    report(policy, 1, 12)
    assert policy.weights(12.0) == [400.0, 200.0, 100.0]
    placed = picks(policy, 12.0)
    assert [placed[name] for name in NAMES] == pytest.approx([4000, 2000, 1000], rel=0.01)


def test_an_endpoint_that_came_back_gets_the_mean_until_its_blackout_is_over() -> None:
    policy = cluster()
    report(policy, 1, 12)
    policy.remove_endpoint("a:1", 12.0)
    policy.add_endpoint("a:1", 13.0)
    report(policy, 14, 20)
    assert policy.weights(20.0) == [0.0, 200.0, 100.0]
    placed = picks(policy, 20.0, 4500)
    assert [placed[name] for name in NAMES] == pytest.approx([1500, 2000, 1000], rel=0.01)


def test_a_weight_expires_and_needs_another_blackout() -> None:
    policy = cluster()
    report(policy, 1, 12)
    silent_s = int(12 + EXPIRY_S)
    report(policy, 13, silent_s, names=("b:1", "c:1"))
    assert policy.weights(float(silent_s)) == [0.0, 200.0, 100.0]
    report(policy, silent_s + 1, silent_s + 5)
    assert policy.weights(silent_s + 5.0)[0] == 0.0
    report(policy, silent_s + 6, silent_s + 11)
    assert policy.weights(silent_s + 11.0)[0] == 400.0


def test_connections_stand_for_throughput_where_requests_are_not_reported() -> None:
    policy = cluster()
    for number, name in enumerate(("a:1", "a:1", "b:1")):
        policy.opened(f"c{number}", name, 0.0)
    for second in range(1, 13):
        for name in NAMES:
            policy.report(LoadReport(name, float(second), load=0.5), float(second))
    assert policy.weights(12.0) == [4.0, 2.0, 0.0]


def test_the_stride_is_even_and_bounded_by_ten_times_the_mean() -> None:
    stride = Stride([1.0] * 30 + [1000.0])
    picked = Counter(stride.next() for _ in range(10_000))
    mean = (30 + 1000) / 31
    share = picked[30] / 10_000
    assert share < 10 * mean / (10 * mean + 30 * 1.0) + 0.01
    even = Stride([3.0, 1.0, 0.0], 0)
    counts = Counter(even.next() for _ in range(6000))
    assert [counts[index] for index in range(3)] == pytest.approx([3000, 1000, 2000], rel=0.01)
