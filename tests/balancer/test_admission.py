"""Threshold, pace, queue and refusal; client rates and reservations."""

from collections import Counter

import pytest

from forestay import BalancerSettings, Verdict
from tests.balancer.clusters import A, B, Cluster


def cluster_at(load: dict[str, float], settings: BalancerSettings | None = None) -> Cluster:
    """Two endpoints with fifty lasting connections each, which have reported `load` for half a minute."""
    cluster = Cluster(settings=settings)
    for endpoint_id in (A, B):
        cluster.open(endpoint_id, 50)
    cluster.seconds(30, load)
    return cluster


def test_an_endpoint_at_the_threshold_is_not_in_the_pool_and_gets_nothing() -> None:
    cluster = cluster_at({A: 0.75, B: 0.3})
    assert cluster.plan.pool == (B,)
    assert set(cluster.admit(20)) == {B}


def test_an_endpoint_takes_no_more_than_fit_under_the_threshold() -> None:
    cluster = cluster_at({A: 0.75, B: 0.6})
    slots = dict(zip(cluster.plan.table.endpoint_ids, cluster.plan.table.slots.tolist(), strict=True))
    assert 0 < slots[B] < 50  # connections cost about a hundredth each
    assert cluster.admit(slots[B]) == {B: slots[B]}


def test_between_threshold_and_maximum_connections_are_admitted_at_a_pace_and_the_rest_waits() -> None:
    cluster = cluster_at({A: 0.8, B: 0.8})
    assert cluster.plan.pool == ()
    paced = int(cluster.plan.table.paced.sum())
    assert 0 < paced < 30
    assert cluster.admit(50).total() == paced
    assert cluster.place().kind == "queue"
    served = 0
    for _ in range(3):
        cluster.second({A: 0.8, B: 0.8})
        served += sum(verdict.kind == "admit" for verdict in cluster.balancer.poll(cluster.now_s))
    assert served > 0


def test_when_everybody_is_over_the_maximum_connections_are_refused() -> None:
    cluster = cluster_at({A: 1.1, B: 1.0})
    verdict = cluster.place()
    assert (verdict.kind, verdict.reason) == ("shed", "overload")
    assert verdict.retry_after_s > 0


def test_a_close_on_an_endpoint_over_the_maximum_lets_nobody_in() -> None:
    cluster = Cluster()
    connections = cluster.open(A, 50)
    cluster.open(B, 50)
    cluster.seconds(30, 1.1)
    for connection_id in connections[:10]:
        cluster.balancer.closed(connection_id, cluster.now_s)
    assert cluster.place().kind == "shed"


def test_overload_place_takes_the_least_bad_endpoint() -> None:
    cluster = cluster_at({A: 1.5, B: 1.2}, BalancerSettings(overload="place"))
    assert cluster.admit(5) == {B: 5}


def test_a_queue_serves_those_who_came_first() -> None:
    cluster = cluster_at({A: 0.8, B: 0.8})
    waiting = [verdict.connection_id for verdict in (cluster.place() for _ in range(40)) if verdict.kind == "queue"]
    cluster.second({A: 0.2, B: 0.2})
    served = [verdict.connection_id for verdict in cluster.balancer.poll(cluster.now_s)]
    assert served == waiting[: len(served)]
    assert served


def test_clients_that_wait_take_turns() -> None:
    cluster = cluster_at({A: 0.8, B: 0.8})
    while cluster.place().kind == "admit":
        pass
    greedy = [cluster.place(client="greedy").connection_id for _ in range(20)]
    modest = cluster.place(client="modest").connection_id
    cluster.second({A: 0.2, B: 0.2})
    served = [verdict.connection_id for verdict in cluster.balancer.poll(cluster.now_s)]
    assert served.index(modest) < served.index(greedy[1])


def test_who_polls_often_gets_a_seconds_places_spread_over_it() -> None:
    cluster = cluster_at({A: 0.8, B: 0.8})
    cluster.admit(40)
    for _ in range(500):
        cluster.place()
    cluster.balancer.poll(cluster.now_s + 0.95)
    cluster.second({A: 0.5, B: 0.5})
    offered = int((cluster.plan.table.slots + cluster.plan.table.paced).sum())
    at_once = len(cluster.balancer.poll(cluster.now_s))
    later = sum(len(cluster.balancer.poll(cluster.now_s + tenth / 10)) for tenth in range(1, 11))
    assert 5 < offered < 500
    assert at_once + later == pytest.approx(offered, abs=1)
    assert at_once < offered / 2


def test_nobody_overtakes_the_queue_unless_there_is_room_for_all() -> None:
    cluster = Cluster()
    for endpoint_id in (A, B):
        cluster.balancer.add_endpoint(endpoint_id, cluster.now_s, connections_max=1)
    assert [cluster.place().kind for _ in range(3)] == ["admit", "admit", "queue"]
    cluster.balancer.closed("conn-1", cluster.now_s)
    assert cluster.place().kind == "queue"
    assert [verdict.connection_id for verdict in cluster.balancer.poll(cluster.now_s)] == ["conn-3"]


def test_a_place_that_frees_up_goes_to_the_queue_before_the_next_tick() -> None:
    cluster = Cluster()
    for endpoint_id in (A, B):
        cluster.balancer.add_endpoint(endpoint_id, cluster.now_s, connections_max=1)
    cluster.admit(2)
    cluster.second(0.1)
    waiting = cluster.place()
    assert waiting.kind == "queue"
    cluster.balancer.closed("conn-2", cluster.now_s)
    assert [(v.kind, v.reason) for v in cluster.balancer.poll(cluster.now_s)] == [("admit", "queued")]


def test_who_waits_until_the_deadline_is_refused_by_the_next_poll() -> None:
    cluster = cluster_at({A: 1.1, B: 0.75})
    while cluster.place().kind == "admit":
        pass
    cluster.now_s += cluster.balancer.settings.queue_deadline_s
    assert {(verdict.kind, verdict.reason) for verdict in cluster.balancer.poll(cluster.now_s)} == {
        ("shed", "deadline")
    }
    assert cluster.balancer.poll(cluster.now_s) == []


def test_a_full_queue_refuses() -> None:
    cluster = Cluster(endpoints=(), settings=BalancerSettings(queue_max=2))
    assert [cluster.place().kind for _ in range(3)] == ["queue", "queue", "shed"]
    assert cluster.place().reason == "queue_full"


def test_a_connection_that_gives_up_leaves_the_queue() -> None:
    cluster = Cluster(endpoints=(), settings=BalancerSettings(queue_max=1))
    waiting = cluster.place()
    cluster.balancer.closed(waiting.connection_id, cluster.now_s)
    assert cluster.place().kind == "queue"


def test_a_waiting_connection_that_opened_somewhere_leaves_the_queue() -> None:
    cluster = Cluster()
    for endpoint_id in (A, B):
        cluster.balancer.drain_endpoint(endpoint_id, cluster.now_s)
    waiting = cluster.place()
    cluster.balancer.opened(waiting.connection_id, A, cluster.now_s)
    assert cluster.balancer.poll(cluster.now_s + 60.0) == []


def test_asking_again_while_waiting_keeps_the_place_and_the_deadline() -> None:
    cluster = Cluster(endpoints=())
    first = cluster.place()
    again = cluster.balancer.place(first.connection_id, cluster.now_s + 3.0)
    assert (again.kind, again.reason) == ("queue", "waiting")
    refused = cluster.balancer.poll(cluster.now_s + 5.0)
    assert [verdict.connection_id for verdict in refused] == [first.connection_id]


def test_connections_max_is_kept_by_reservations_too() -> None:
    cluster = Cluster()
    for endpoint_id in (A, B):
        cluster.balancer.add_endpoint(endpoint_id, cluster.now_s, connections_max=5)
    cluster.seconds(3, 0.1)
    assert Counter(cluster.place().kind for _ in range(12)) == {"admit": 10, "queue": 2}
    cluster.second(0.1)
    assert cluster.place().kind == "queue"


def test_an_endpoint_over_its_bound_shrinks_to_it_before_it_takes_anybody() -> None:
    cluster = Cluster(settings=BalancerSettings(queue_max=0))
    connections = cluster.open(A, 5)
    for endpoint_id, connections_max in ((A, 3), (B, 0)):
        cluster.balancer.add_endpoint(endpoint_id, cluster.now_s, connections_max=connections_max)
    admitted = []
    for connection_id in connections:
        cluster.second(0.1)
        cluster.balancer.closed(connection_id, cluster.now_s)
        admitted.append(cluster.place().kind)
    assert admitted == ["shed", "shed", "admit", "admit", "admit"]


def placed_once(cluster: Cluster) -> Verdict:
    """The only place there is, given to somebody."""
    for endpoint_id in (A, B):
        cluster.balancer.add_endpoint(endpoint_id, cluster.now_s, connections_max=int(endpoint_id == A))
    verdict = cluster.place()
    assert verdict.endpoint_id == A
    return verdict


def test_a_reservation_is_forgotten_after_ten_seconds() -> None:
    cluster = Cluster(settings=BalancerSettings(queue_max=0))
    placed_once(cluster)
    for _ in range(9):
        cluster.second(0.1)
        assert cluster.place().kind == "shed"
    cluster.second(0.1)
    assert cluster.place().kind == "admit"


def test_an_opened_connection_holds_its_place_for_as_long_as_it_is_open() -> None:
    cluster = Cluster(settings=BalancerSettings(queue_max=0))
    verdict = placed_once(cluster)
    cluster.balancer.opened(verdict.connection_id, A, cluster.now_s)
    cluster.seconds(20, 0.1)
    assert cluster.place().kind == "shed"
    cluster.balancer.closed(verdict.connection_id, cluster.now_s)
    assert cluster.place().kind == "admit"


@pytest.mark.parametrize("end", ["closed", "failed"])
def test_a_reservation_given_back_is_free_at_once(end: str) -> None:
    cluster = Cluster(settings=BalancerSettings(queue_max=0))
    verdict = placed_once(cluster)
    if end == "closed":
        cluster.balancer.closed(verdict.connection_id, cluster.now_s)
    else:
        cluster.balancer.failed(verdict.connection_id, A, cluster.now_s)
    assert cluster.place().kind == "admit"


def test_asking_again_for_a_reserved_connection_gives_the_same_answer_and_takes_nothing_more() -> None:
    cluster = Cluster(settings=BalancerSettings(queue_max=0))
    verdict = placed_once(cluster)
    again = cluster.balancer.place(verdict.connection_id, cluster.now_s)
    assert (again.endpoint_id, again.reason) == (A, "reserved")
    cluster.balancer.closed(verdict.connection_id, cluster.now_s)
    assert cluster.place().kind == "admit"


def test_a_reservation_on_an_endpoint_that_fell_ill_is_not_repeated() -> None:
    cluster = Cluster()
    verdict = cluster.place()
    cluster.balancer.set_health(verdict.endpoint_id, False, cluster.now_s)
    again = cluster.balancer.place(verdict.connection_id, cluster.now_s)
    assert again.endpoint_id == ({A, B} - {verdict.endpoint_id}).pop()


def test_a_client_has_a_burst_and_then_its_rate() -> None:
    cluster = Cluster(settings=BalancerSettings(client_rate_per_s=2.0, client_burst=3))
    assert [cluster.place(client="eager").kind for _ in range(4)] == ["admit"] * 3 + ["shed"]
    refused = cluster.place(client="eager")
    assert (refused.reason, refused.retry_after_s) == ("client_rate", 0.5)
    assert cluster.place(client="another").kind == "admit"
    assert cluster.place().kind == "admit"
    cluster.now_s += refused.retry_after_s
    assert [cluster.place(client="eager").kind for _ in range(2)] == ["admit", "shed"]
