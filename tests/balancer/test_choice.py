"""Which endpoint: preference, exclusion, zone; failed connects; no herd."""

from collections import Counter

import pytest

from forestay import Balancer, BalancerSettings
from forestay.model.errors import InvalidInput
from tests.balancer.clusters import A, B, C, Cluster, D


def steady_cluster(load: dict[str, float]) -> Cluster:
    """Endpoints with fifty lasting connections each, which have reported `load` for half a minute."""
    cluster = Cluster(endpoints=load)
    for endpoint_id in load:
        cluster.open(endpoint_id, 50)
    cluster.seconds(30, load)
    return cluster


def test_a_preferred_endpoint_wins_while_it_is_hardly_dearer_than_the_cheapest() -> None:
    cluster = steady_cluster({A: 0.300, B: 0.310})
    cost = dict(zip(cluster.plan.table.endpoint_ids, cluster.plan.table.cost().tolist(), strict=True))
    assert cost[A] < cost[B] < 1.2 * cost[A]
    verdict = cluster.place(prefer=B)
    assert (verdict.endpoint_id, verdict.reason) == (B, "prefer")


def test_a_preferred_endpoint_that_is_much_dearer_loses() -> None:
    cluster = steady_cluster({A: 0.3, B: 0.5})
    verdict = cluster.place(prefer=B)
    assert (verdict.endpoint_id, verdict.reason) == (A, "fittest")


def test_how_much_dearer_a_preferred_endpoint_may_be_is_a_setting() -> None:
    cluster = steady_cluster({A: 0.3, B: 0.5})
    cluster.balancer.configure(BalancerSettings(prefer_factor=100.0))
    assert cluster.place(prefer=B).endpoint_id == B


def test_a_preferred_endpoint_that_is_not_eligible_loses() -> None:
    cluster = steady_cluster({A: 0.690, B: 0.705})
    assert cluster.plan.pool == (A,)
    assert cluster.place(prefer=B).endpoint_id == A


@pytest.mark.parametrize("preferred", ["nobody:80", B])
def test_a_preferred_endpoint_that_is_unknown_or_excluded_is_no_preference(preferred: str) -> None:
    cluster = steady_cluster({A: 0.3, B: 0.3})
    assert cluster.place(prefer=preferred, exclude=[B]).endpoint_id == A


def test_excluded_endpoints_get_nothing_and_unknown_names_are_no_matter() -> None:
    cluster = steady_cluster({A: 0.1, B: 0.3, C: 0.3})
    placed = {cluster.place(exclude=[A, C, "nobody:80"]).endpoint_id for _ in range(20)}
    assert placed == {B}


def test_who_excludes_everybody_waits() -> None:
    cluster = steady_cluster({A: 0.1, B: 0.1})
    assert cluster.place(exclude=[A, B]).kind == "queue"
    assert cluster.place().kind == "admit"


def test_excluding_everybody_is_answered_in_a_large_cluster_too() -> None:
    cluster = Cluster(endpoints=[f"10.0.{number}.1:80" for number in range(700)])
    assert cluster.place(exclude=cluster.ids).kind == "queue"
    assert cluster.place(exclude=cluster.ids[1:]).endpoint_id == cluster.ids[0]


def test_who_waits_with_an_exclusion_keeps_it() -> None:
    cluster = Cluster()
    cluster.balancer.set_health(B, False, cluster.now_s)
    waiting = cluster.place(exclude=[A])
    assert waiting.kind == "queue"
    assert cluster.balancer.poll(cluster.now_s) == []
    cluster.balancer.set_health(B, True, cluster.now_s)
    assert [verdict.endpoint_id for verdict in cluster.balancer.poll(cluster.now_s)] == [B]


def zoned_cluster(load: dict[str, float]) -> Cluster:
    cluster = steady_cluster(load)
    for endpoint_id, zone in zip((A, B, C, D), ("east", "east", "west", "west"), strict=True):
        cluster.balancer.add_endpoint(endpoint_id, cluster.now_s, zone=zone)
    cluster.second(load)
    return cluster


def test_a_near_endpoint_wins_while_it_is_hardly_dearer() -> None:
    cluster = zoned_cluster({A: 0.300, B: 0.300, C: 0.305, D: 0.4})
    verdict = cluster.place(zone="west")
    assert (verdict.endpoint_id, verdict.reason) == (C, "zone")


def test_near_endpoints_that_are_busier_by_far_lose() -> None:
    cluster = zoned_cluster({A: 0.3, B: 0.3, C: 0.6, D: 0.6})
    assert cluster.place(zone="west").endpoint_id in (A, B)


def test_near_endpoints_over_the_threshold_lose_to_eligible_ones_elsewhere() -> None:
    cluster = zoned_cluster({A: 0.670, B: 0.8, C: 0.720, D: 0.8})
    assert cluster.plan.pool == (A,)
    assert cluster.place(zone="west").endpoint_id == A


def test_a_zone_takes_its_own_clients_until_it_is_dearer_and_passes_on_only_what_is_too_much() -> None:
    """No cliff: the more a zone's clients want, the more spill over, and the zone keeps what it has."""
    kept = []
    for arrivals in (20, 60, 120, 240):
        cluster = zoned_cluster(dict.fromkeys((A, B, C, D), 0.4))
        cluster.balancer.configure(BalancerSettings(zone_factor=2.0))
        zones = Counter(cluster.place(zone="west").reason for _ in range(arrivals))
        kept.append(zones["zone"] / arrivals)
    assert kept[0] == 1.0
    assert kept == sorted(kept, reverse=True)
    assert 0.3 <= kept[-1] < 0.95


def test_a_quiet_zone_keeps_its_clients_however_idle_others_are() -> None:
    cluster = zoned_cluster({A: 0.05, B: 0.05, C: 0.25, D: 0.25})
    assert cluster.place(zone="west").reason == "zone"


def test_tables_say_where_endpoints_are_only_where_any_is_somewhere() -> None:
    cluster = zoned_cluster(dict.fromkeys((A, B, C, D), 0.3))
    zones = dict(zip(cluster.plan.table.endpoint_ids, cluster.plan.table.zones, strict=True))
    assert (zones[A], zones[D]) == ("east", "west")
    assert Cluster().plan.table.zones == ()


def test_a_zone_must_be_printable() -> None:
    with pytest.raises(InvalidInput, match="zone"):
        Cluster().balancer.add_endpoint(A, 100.0, zone="a\tb")


def test_the_nearest_scope_wins_then_the_one_around_it() -> None:
    cluster = steady_cluster({A: 0.3, B: 0.3, C: 0.3, D: 0.1})
    for endpoint_id, zone in zip((A, B, C, D), ("eu/1", "eu/2", "us/1", "us/2"), strict=True):
        cluster.balancer.add_endpoint(endpoint_id, cluster.now_s, zone=zone)
    cluster.balancer.configure(BalancerSettings(zone_factor=20.0))
    assert cluster.place(zone="eu/1").endpoint_id == A
    assert cluster.place(zone="eu/1", exclude=[A]).endpoint_id == B
    assert cluster.place(zone="eu/7").endpoint_id in (A, B)
    assert cluster.place(zone="eu/1", exclude=[A, B]).endpoint_id == D
    assert cluster.place(zone="us").endpoint_id == D
    cluster.balancer.add_endpoint(A, cluster.now_s, zone="us/2")
    assert cluster.place(zone="eu/1").endpoint_id == B


def test_a_zone_without_endpoints_is_no_zone() -> None:
    assert zoned_cluster(dict.fromkeys((A, B, C, D), 0.3)).place(zone="north").kind == "admit"


def test_an_endpoint_that_refused_a_connection_is_avoided_for_seconds_and_comes_back() -> None:
    cluster = steady_cluster({A: 0.20, B: 0.30})
    refused = cluster.place()
    assert refused.endpoint_id == A
    cluster.balancer.failed(refused.connection_id, A, cluster.now_s)
    assert {cluster.place().endpoint_id for _ in range(10)} == {B}
    for _ in range(4):
        cluster.second({A: 0.20, B: 0.30})
        assert cluster.place().endpoint_id == B
    cluster.seconds(26, {A: 0.20, B: 0.30})
    assert cluster.place().endpoint_id == A


def test_an_idle_endpoint_that_refuses_everything_is_tried_ever_more_seldom_not_by_everybody() -> None:
    cluster = Cluster()
    tried = 0
    for _ in range(30):
        cluster.second({A: 0.0, B: 0.3})
        for _ in range(20):
            verdict = cluster.place()
            if verdict.endpoint_id == A:
                tried += 1
                cluster.balancer.failed(verdict.connection_id, A, cluster.now_s)
                verdict = cluster.place(exclude=[A])
            cluster.balancer.opened(verdict.connection_id, verdict.endpoint_id, cluster.now_s)
    assert 1 <= tried <= 10


def test_a_failed_connect_to_an_endpoint_that_is_gone_is_no_matter() -> None:
    cluster = Cluster()
    verdict = cluster.place()
    cluster.balancer.remove_endpoint(verdict.endpoint_id, cluster.now_s)
    cluster.balancer.failed(verdict.connection_id, verdict.endpoint_id, cluster.now_s)
    assert cluster.place().kind == "admit"


@pytest.mark.parametrize("arrivals_per_s", [100, 1000])
def test_there_is_no_herd_in_the_first_seconds_when_nothing_is_learned_yet(arrivals_per_s: int) -> None:
    endpoints = [f"10.0.1.{number}:80" for number in range(16)]
    balancer = Balancer(BalancerSettings(overload="place"))
    cluster = Cluster(endpoints=endpoints)
    cluster.balancer = balancer
    for endpoint_id in endpoints:
        balancer.add_endpoint(endpoint_id, cluster.now_s)
    load = dict.fromkeys(endpoints, 0.0)  # as it was a second ago
    got = dict.fromkeys(endpoints, 0)
    for _ in range(5):
        cluster.second(load)
        load = {endpoint_id: 0.4 * count / (5 * arrivals_per_s / 16) for endpoint_id, count in got.items()}
        for endpoint_id, count in cluster.admit(arrivals_per_s).items():
            got[endpoint_id] += count
        assert max(got.values()) <= 1.2 * sum(got.values()) / 16 + 1
