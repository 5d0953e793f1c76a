"""What every peer does alike, whatever it picks by."""

from collections import Counter
from collections.abc import Callable
from functools import cache

import pytest

from forestay.model.errors import UnknownEndpoint
from forestay.model.load import LoadReport
from forestay.simulation.engine import Privileged
from forestay.simulation.peers import PEERS, REACTIVE
from forestay.simulation.policy import Policy
from forestay.simulation.scenario import Scenario
from forestay.simulation.servers import Servers
from forestay.simulation.world import World

NAMES = ("s0", "s1", "s2", "s3")


@cache
def world() -> World:
    return World.build(Scenario.parse("minutes = 1\n[fleet]\nservers = 4\ncapacity_max = 0.6", "four alike"), 0)


@pytest.fixture(params=sorted(PEERS))
def policy(request: pytest.FixtureRequest) -> Policy:
    return cluster(PEERS[request.param])


def cluster(factory: Callable[[int], Policy], seed: int = 7) -> Policy:
    policy = factory(seed)
    if isinstance(policy, Privileged):
        policy.attach(world(), Servers(world()))
    for name in NAMES:
        policy.add_endpoint(name, 0.0)
    return policy


def place(
    policy: Policy, count: int, now_s: float, exclude: tuple[str, ...] = (), first: int | None = None
) -> Counter[str]:
    """Place and open some connections within a second; their numbers differ from second to second."""
    first = int(now_s) * 50 if first is None else first
    placed: Counter[str] = Counter()
    for number in range(count):
        at_s = now_s + number / count
        connection = f"c{first + number}"
        verdict = policy.place(connection, at_s, exclude=exclude)
        assert verdict.kind == "admit"
        assert verdict.connection_id == connection
        policy.opened(connection, verdict.endpoint_id, at_s)
        placed[verdict.endpoint_id] += 1
    return placed


def report_all(policy: Policy, now_s: float, load: float = 0.5) -> None:
    for name in NAMES:
        policy.report(LoadReport(name, now_s, load=load), now_s)
    policy.tick(now_s)


def test_only_endpoints_that_take_newcomers_get_any(policy: Policy) -> None:
    policy.set_health("s0", False, 0.0)
    policy.drain_endpoint("s1", 0.0)
    policy.remove_endpoint("s2", 0.0)
    assert set(place(policy, 30, 0.0)) == {"s3"}


def test_endpoints_that_recover_get_newcomers_again(policy: Policy) -> None:
    policy.set_health("s0", False, 0.0)
    policy.drain_endpoint("s1", 0.0)
    policy.remove_endpoint("s2", 0.0)
    policy.set_health("s0", True, 1.0)
    policy.add_endpoint("s1", 1.0)
    policy.add_endpoint("s2", 1.0)
    policy.remove_endpoint("s3", 1.0)
    placed: Counter[str] = Counter()
    for second in range(1, 31):  # one alone may be the lowest for a second
        for name, load in zip(NAMES, (0.5, 0.5, 0.5, 0.5), strict=True):
            policy.report(LoadReport(name, float(second), load=load + 0.001 * placed[name]), float(second))
        policy.tick(float(second))
        placed += place(policy, 20, float(second))
    assert set(placed) == {"s0", "s1", "s2"}


def test_excluded_endpoints_are_not_picked(policy: Policy) -> None:
    report_all(policy, 1.0)
    assert set(place(policy, 40, 1.0, exclude=("s0", "s2"))) <= {"s1", "s3"}


def test_when_everybody_is_excluded_the_connection_is_placed_all_the_same(policy: Policy) -> None:
    assert place(policy, 3, 0.0, exclude=NAMES).total() == 3


def test_without_endpoints_the_connection_is_refused(policy: Policy) -> None:
    for name in NAMES:
        policy.remove_endpoint(name, 0.0)
    assert policy.place("c0", 0.0).kind == "shed"


def test_a_full_endpoint_gets_no_more_until_one_of_its_connections_closes(policy: Policy) -> None:
    for name in NAMES:
        policy.add_endpoint(name, 0.0, connections_max=2)
    placed = place(policy, 8, 0.0)
    assert placed == dict.fromkeys(NAMES, 2)
    policy.closed("c0", 1.0)
    assert policy.place("c8", 1.0).kind == "admit"
    assert policy.place("c9", 1.0).kind == "shed"


def test_asking_twice_does_not_count_twice(policy: Policy) -> None:
    for name in NAMES:
        policy.add_endpoint(name, 0.0, connections_max=1)
    for _ in range(10):
        assert policy.place("c0", 0.0).kind == "admit"
    assert place(policy, 3, 0.0, first=1).total() == 3


def test_a_failed_connect_gives_its_place_back(policy: Policy) -> None:
    for name in NAMES:
        policy.add_endpoint(name, 0.0, connections_max=1)
    for number in range(10):
        verdict = policy.place(f"c{number}", 0.0)
        policy.failed(f"c{number}", verdict.endpoint_id, 0.0)
    assert place(policy, 4, 0.0, first=10).total() == 4


def test_connections_of_a_removed_endpoint_are_forgotten(policy: Policy) -> None:
    for name in NAMES:
        policy.add_endpoint(name, 0.0, connections_max=5)
    place(policy, 20, 0.0)
    policy.remove_endpoint("s0", 1.0)
    policy.add_endpoint("s0", 2.0, connections_max=5)
    for number in range(20):
        policy.closed(f"c{number}", 3.0)
    assert place(policy, 20, 3.0) == dict.fromkeys(NAMES, 5)


def test_reports_that_cannot_be_used_are_said_to_be_so(policy: Policy) -> None:
    assert policy.report(LoadReport("s0", 5.0, load=0.5), 5.0)
    assert not policy.report(LoadReport("s0", 4.0, load=0.5), 5.0)
    assert not policy.report(LoadReport("nobody", 5.0, load=0.5), 5.0)
    assert not policy.report(LoadReport("s1", 5.0, load=float("nan")), 5.0)
    assert policy.report(LoadReport("s1", 5.0, cpu=0.4, network=0.2), 5.0)


def test_calls_about_unknown_endpoints_raise(policy: Policy) -> None:
    with pytest.raises(UnknownEndpoint):
        policy.remove_endpoint("nobody", 0.0)
    with pytest.raises(UnknownEndpoint):
        policy.opened("c0", "nobody", 0.0)


def test_nobody_waits(policy: Policy) -> None:
    place(policy, 5, 0.0)
    assert policy.poll(1.0) == []


@pytest.mark.parametrize("name", sorted(PEERS))
def test_the_same_seed_gives_the_same_placements(name: str) -> None:
    def placements() -> list[str]:
        policy = cluster(PEERS[name])
        picked = []
        for second in range(1, 6):
            for index, endpoint in enumerate(NAMES):
                policy.report(LoadReport(endpoint, float(second), load=0.1 * index + 0.05 * second), float(second))
            policy.tick(float(second))
            for number in range(20):
                connection = f"c{20 * second + number}"
                picked.append(policy.place(connection, second + number / 20).endpoint_id)
                policy.opened(connection, picked[-1], second + number / 20)
        return picked

    assert placements() == placements()


@pytest.mark.parametrize("name", sorted(set(REACTIVE) - {"lowest_load"}))
def test_equal_endpoints_get_about_equally_many(name: str) -> None:
    policy = cluster(REACTIVE[name])
    placed: Counter[str] = Counter()
    for second in range(1, 41):
        report_all(policy, float(second))
        placed += place(policy, 50, float(second))
    assert max(placed.values()) < 1.3 * min(placed.values())  # the spread of random picks


@pytest.mark.parametrize("name", ["random", "round_robin", "least_connections", "two_choices_connections", "load_own"])
def test_declared_capacities_are_weights(name: str) -> None:
    policy = PEERS[name](3)
    policy.add_endpoint("small:1", 0.0, capacity=1.0)
    policy.add_endpoint("large:1", 0.0, capacity=3.0)
    placed = place(policy, 4000, 0.0)
    assert placed["large:1"] / placed["small:1"] == pytest.approx(3.0, rel=0.15)
