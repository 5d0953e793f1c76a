"""Announced events change what is expected to arrive."""

import math

import pytest

from forestay import Balancer, Event, InvalidInput, Plan
from forestay.forecasting.arrivals import EVENTS_MAX
from tests.balancer.clusters import Cluster

LOAD_PER_CONNECTION = 0.002


def arriving_cluster() -> Cluster:
    """Four connections a second that last, for a minute."""
    cluster = Cluster()
    for _ in range(60):
        pass_a_second(cluster)
        cluster.admit(4)
    pass_a_second(cluster)
    return cluster


def pass_a_second(cluster: Cluster) -> Plan:
    return cluster.second(LOAD_PER_CONNECTION * len(cluster.balancer.connections) / 2)


def rise(cluster: Cluster) -> float:
    """By how much the load of both together is expected to rise in half a minute."""
    forecast = pass_a_second(cluster).forecast
    return sum(forecast.at(30.0).values()) - sum(forecast.at(0.0).values())


def test_an_announced_event_raises_what_is_expected_while_it_lasts() -> None:
    cluster = arriving_cluster()
    without = rise(cluster)
    now_s = cluster.now_s
    cluster.balancer.announce(Event("launch", now_s + 5.0, now_s + 60.0, arrival_factor=3.0), now_s)
    assert rise(cluster) > 1.5 * without
    cluster.balancer.announce(Event("launch", now_s + 3600.0, now_s + 7200.0, arrival_factor=3.0), now_s)
    assert rise(cluster) < 1.1 * without


def test_an_event_that_is_expected_fills_the_valleys_beforehand() -> None:
    cluster = arriving_cluster()
    level = cluster.plan.table.level.copy()
    now_s = cluster.now_s
    cluster.balancer.announce(Event("launch", now_s, now_s + 60.0, arrival_factor=5.0), now_s)
    assert pass_a_second(cluster).table.level[-1] > 1.2 * level[-1]


def test_events_that_are_over_are_forgotten() -> None:
    balancer = Balancer()
    for number in range(2000):
        balancer.announce(Event(f"event-{number}", float(number), number + 1.0, 2.0), float(number))
    assert len(balancer.snapshot()) < len(Balancer().snapshot()) + 2000


def test_there_is_a_bound_on_announced_events_but_replacing_one_is_always_possible() -> None:
    balancer = Balancer()
    for number in range(EVENTS_MAX):
        balancer.announce(Event(f"event-{number}", 10.0, 20.0, 2.0), 0.0)
    with pytest.raises(InvalidInput, match="one more"):
        balancer.announce(Event("one more", 10.0, 20.0, 2.0), 0.0)
    balancer.announce(Event("event-0", 5.0, 8.0, 2.0), 0.0)
    balancer.announce(Event("one more", 10.0, 20.0, 2.0), 8.0)  # event-0 is over


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (Event("backwards", 10.0, 5.0), "ends_s"),
        (Event("empty", 10.0, 10.0), "ends_s"),
        (Event("never", math.nan, 5.0), "starts_s"),
        (Event("endless doubt", 5.0, math.nan), "ends_s"),
        (Event("negative", 5.0, 10.0, arrival_factor=-1.0), "arrival_factor"),
        (Event("absurd", 5.0, 10.0, arrival_factor=1e6), "arrival_factor"),
        (Event("infinite", 5.0, 10.0, arrival_factor=math.inf), "arrival_factor"),
    ],
)
def test_a_bad_event_is_named(event: Event, field: str) -> None:
    with pytest.raises(InvalidInput, match=rf"{event.name}.*{field}"):
        Balancer().announce(event, 0.0)
