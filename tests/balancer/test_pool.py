"""The pool of a cluster: wide when quiet, narrow when busy, everybody when too few are known to be well."""

from forestay import BalancerSettings
from forestay.placement.pool import STEPS
from tests.balancer.clusters import Cluster

ENDPOINTS = [f"10.0.0.{number}:80" for number in range(32)]
STEP = len(ENDPOINTS) // STEPS


def uneven(mean: float) -> dict[str, float]:
    """Loads around a mean, all under the threshold."""
    return {endpoint_id: mean + 0.03 * (number / 31 - 0.5) for number, endpoint_id in enumerate(ENDPOINTS)}


def lasting_cluster() -> Cluster:
    cluster = Cluster(ENDPOINTS, BalancerSettings(overload="place"))
    for endpoint_id in ENDPOINTS:
        cluster.open(endpoint_id, 50)
    return cluster


def test_it_narrows_to_those_with_most_headroom_one_step_a_tick_and_widens_again() -> None:
    cluster = lasting_cluster()
    assert len(cluster.seconds(20, uneven(0.3)).pool) == len(ENDPOINTS)
    before = len(ENDPOINTS)
    for mean in [0.68] * 120 + [0.3] * 120:
        size = len(cluster.second(uneven(mean)).pool)
        assert abs(size - before) <= STEP
        before = size
        if mean == 0.68:
            narrow = cluster.plan
    assert len(narrow.pool) <= len(ENDPOINTS) // 4
    assert set(narrow.pool) == set(ENDPOINTS[: len(narrow.pool)])  # those with least load
    assert before == len(ENDPOINTS)


def test_weights_send_nobody_outside_of_the_pool() -> None:
    cluster = lasting_cluster()
    plan = cluster.seconds(120, uneven(0.68))
    taking = {endpoint_id for endpoint_id, weight in plan.weights.items() if weight}
    assert taking == set(plan.pool)
    assert len(taking) < len(ENDPOINTS)
    assert taking == {endpoint_id for endpoint_id, weight in plan.weights_for(5.0).items() if weight}


def test_a_pick_by_price_stays_within_the_pool() -> None:
    cluster = lasting_cluster()
    cluster.seconds(120, uneven(0.68))
    for _ in range(30):
        pool = set(cluster.second(uneven(0.68)).pool)
        assert set(cluster.admit(10)) <= pool


def test_where_most_endpoints_stopped_reporting_it_is_everybody_and_the_plan_says_so() -> None:
    cluster = lasting_cluster()
    assert not cluster.seconds(120, uneven(0.68)).fallbacks
    some = dict(list(uneven(0.68).items())[:10])
    plan = cluster.seconds(15, some)
    assert "pool_panic" in plan.fallbacks
    assert len(plan.pool) == len(ENDPOINTS)
    assert "pool_panic" not in cluster.seconds(2, uneven(0.68)).fallbacks
