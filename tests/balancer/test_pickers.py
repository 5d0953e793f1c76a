"""Several balancers that place on the same endpoints and do not see each other's placements."""

import numpy as np
import pytest

from benchmarks.replicas import Fleet, Replicas, ideal_level
from forestay import BalancerSettings, LoadReport
from tests.balancer.clusters import A, B, Cluster

SECONDS = 30


def test_the_ideal_level_is_that_of_water_filling() -> None:
    own, sizes = np.array([0.1, 0.3, 0.9]), np.array([1.0, 2.0, 1.0])
    assert ideal_level(own, sizes, 0.2) == pytest.approx(0.9)  # nothing can be taken from the busiest
    assert ideal_level(np.array([0.1, 0.3]), np.array([1.0, 2.0]), 0.1) == pytest.approx(0.3)
    assert ideal_level(np.array([0.1, 0.3]), np.array([1.0, 2.0]), 0.8) == pytest.approx(0.5)


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("pickers", [4, 20])
def test_pickers_that_see_only_their_own_placements_keep_servers_level(pickers: int, told: bool) -> None:
    above = Replicas(Fleet(pickers=pickers, told=told, own_load_max=0.02)).run(SECONDS, 20.0)
    assert above.mean() <= 0.02


def test_pickers_with_little_traffic_among_busy_ones_keep_servers_level() -> None:
    above = Replicas(Fleet(pickers=20, uneven=True, told=True, own_load_max=0.02)).run(SECONDS, 20.0)
    assert above.mean() <= 0.02


@pytest.mark.parametrize("told", [False, True])
def test_a_connection_does_not_look_as_many_times_too_dear_as_there_are_pickers(told: bool) -> None:
    fleet = Fleet(pickers=20, told=told, own_load_max=0.05)
    replicas = Replicas(fleet)
    replicas.run(SECONDS, SECONDS)
    costs = [balancer._forecaster.cost.theta[:-1].mean() for balancer in replicas.balancers]
    assert max(costs) <= 1.5 * fleet.cost
    assert min(costs) >= fleet.cost / 1.5


def test_pickers_learn_their_part_of_the_traffic_from_reports() -> None:
    replicas = Replicas(Fleet(pickers=5, uneven=True, told=True))
    replicas.run(SECONDS, SECONDS)
    ratios = [balancer._forecaster.unseen.ratio for balancer in replicas.balancers]
    parts = 0.5 ** np.arange(5)
    assert ratios == pytest.approx(parts.sum() / parts, rel=0.25)


def test_what_others_opened_counts_towards_the_most_connections_where_reports_tell() -> None:
    cluster = Cluster(settings=BalancerSettings(pickers=2, overload="place"))
    cluster.balancer.add_endpoint(A, cluster.now_s, connections_max=100)
    for _ in range(3):
        cluster.now_s += 1.0
        for endpoint_id, load in ((A, 0.1), (B, 0.6)):
            report = LoadReport(endpoint_id, at_s=cluster.now_s, load=load, open_connections=100)
            cluster.balancer.report(report, cluster.now_s)
        cluster.balancer.tick(cluster.now_s)
    assert {cluster.place().endpoint_id for _ in range(5)} == {B}


def test_each_of_two_pickers_fills_half_of_the_most_connections_where_reports_do_not_tell() -> None:
    cluster = Cluster([A], BalancerSettings(pickers=2))
    cluster.balancer.add_endpoint(A, cluster.now_s, connections_max=100)
    for _ in range(10):
        cluster.second(0.1)
        cluster.admit(20)
    assert 45 <= len(cluster.balancer.connections) <= 55
