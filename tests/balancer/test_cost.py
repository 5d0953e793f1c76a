"""What the balancer says that it has learned of the cost of connections."""

import numpy as np
import pytest

from forestay.forecasting.ages import AGES

from .clusters import A, B, Cluster


def test_without_reports_connections_cost_something_on_every_endpoint() -> None:
    cost = Cluster().balancer.connection_cost()
    assert cost.by_age.shape == (AGES,)
    assert np.all(cost.by_age > 0)
    assert cost.scale == {A: 1.0, B: 1.0}


def test_the_learned_cost_explains_the_reported_load() -> None:
    cluster = Cluster()
    cluster.open(A, 20)
    cluster.open(B, 20)
    cluster.seconds(60, 0.4)
    cost = cluster.balancer.connection_cost()
    assert 20 * cost.by_age.mean() * cost.scale[A] == pytest.approx(0.4, rel=0.3)


def test_asking_for_the_cost_changes_nothing() -> None:
    cluster = Cluster()
    cluster.open(A, 5)
    cluster.seconds(5, 0.2)
    before = cluster.balancer.snapshot()
    cluster.balancer.connection_cost()
    assert cluster.balancer.snapshot() == before


def test_an_endpoint_that_was_removed_is_not_in_it() -> None:
    cluster = Cluster()
    cluster.balancer.remove_endpoint(B, cluster.now_s)
    assert set(cluster.balancer.connection_cost().scale) == {A}


def test_connections_are_counted_by_age() -> None:
    cluster = Cluster()
    cluster.open(A, 3)
    cluster.seconds(4)
    cluster.open(A, 2)
    by_age = cluster.balancer.connections_by_age()
    assert {endpoint_id: counts.sum() for endpoint_id, counts in by_age.items()} == {A: 5.0, B: 0.0}
    assert by_age[A][0] == 2.0


def test_connections_count_for_the_weight_of_their_hint() -> None:
    cluster = Cluster()
    cluster.open(A, 2)
    cluster.balancer.opened("dear", A, cluster.now_s, hint="video")
    cluster.balancer.opened("strange", B, cluster.now_s, hint="unheard of")
    weighted = cluster.balancer.connections_by_age({"": 0.5, "video": 4.0})
    assert {endpoint_id: counts.sum() for endpoint_id, counts in weighted.items()} == {A: 5.0, B: 1.0}
    assert set(cluster.balancer.connection_cost().by_hint) == {"", "video", "unheard of"}
