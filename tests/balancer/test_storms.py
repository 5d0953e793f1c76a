"""Many connections at once: after a death, on a return, before anything is learned. Nobody waits (overload="place")."""

from collections import Counter

import numpy as np
import pytest

from forestay import BalancerSettings
from tests.balancer.clusters import A, B, C, Cluster, D

ACCEPT, EACH = 0.012, 0.0008
"""Load-seconds of an accept, and load of a connection: 15 s worth of it."""


class Stormy(Cluster):
    """Endpoints A to D, D half as large, whose reports say what their connections and accepts cost."""

    def __init__(self, connections: int = 0) -> None:
        super().__init__((A, B, C, D), BalancerSettings(overload="place"))
        self.rng = np.random.default_rng(5)  # noqa: TID251 # a test is a caller
        self.size = {A: 1.0, B: 1.0, C: 1.0, D: 0.5}
        self.held: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        for endpoint_id, size in self.size.items():
            self.held[endpoint_id] = int(connections * size / 3.5)
            self.open(endpoint_id, self.held[endpoint_id])

    def arrive(self, count: int) -> Counter[str]:
        """That many connections at once; how many accepts each endpoint got."""
        got = self.admit(count)
        self.held += got
        self.accepted += got
        return got

    def load(self, endpoint_id: str) -> float:
        """What it comes to in this second."""
        work = EACH * self.held[endpoint_id] + ACCEPT * self.accepted[endpoint_id]
        return work / self.size[endpoint_id]

    def pass_second(self) -> None:
        """A second passes, at whose end everybody who is there reports it."""
        load = {endpoint_id: self.load(endpoint_id) * self.rng.normal(1.0, 0.02) for endpoint_id in self.ids}
        self.accepted.clear()
        self.second(load)

    def live(self, seconds: int, arrivals_per_s: float = 8.0) -> None:
        """Ordinary seconds."""
        for _ in range(seconds):
            self.arrive(int(self.rng.poisson(arrivals_per_s)))
            self.pass_second()


def test_the_clients_of_a_dead_endpoint_are_spread_by_capacity() -> None:
    cluster = Stormy(2000)
    cluster.live(40)
    cluster.ids.remove(A)
    cluster.balancer.remove_endpoint(A, cluster.now_s)
    got = cluster.arrive(150)
    fair = {endpoint_id: 150 * cluster.size[endpoint_id] / 2.5 for endpoint_id in (B, C, D)}
    assert max(got[endpoint_id] / fair[endpoint_id] for endpoint_id in fair) < 1.2


def test_an_endpoint_that_returns_empty_in_the_midst_of_a_storm_is_not_buried_under_handshakes() -> None:
    cluster = Stormy(2000)
    cluster.live(40)
    cluster.ids.remove(A)
    cluster.balancer.remove_endpoint(A, cluster.now_s)
    cluster.held[A] = 0
    cluster.pass_second()
    cluster.ids.append(A)
    cluster.balancer.add_endpoint(A, cluster.now_s)
    got = cluster.arrive(120)
    assert got[A] == max(got.values())
    load = {endpoint_id: cluster.load(endpoint_id) for endpoint_id in cluster.ids}
    assert load[A] < 1.1 * load[B]  # least connections gives it all 120 of them: 1.4
    assert max(load.values()) < 1.0


def test_an_idle_endpoint_takes_all_that_comes_where_accepts_are_few() -> None:
    cluster = Stormy(2000)
    cluster.live(40)
    cluster.ids.remove(A)
    cluster.balancer.remove_endpoint(A, cluster.now_s)
    cluster.held[A] = 0
    cluster.live(5)
    cluster.ids.append(A)
    cluster.balancer.add_endpoint(A, cluster.now_s)
    assert cluster.arrive(6) == {A: 6}


@pytest.mark.parametrize("reports", [0, 1, 3])
def test_a_storm_before_anything_is_learned_is_no_herd(reports: int) -> None:
    cluster = Cluster((A, B, C, D), BalancerSettings(overload="place"))
    for endpoint_id in cluster.ids:
        cluster.open(endpoint_id, 500)
    for _ in range(reports):
        cluster.second({A: 0.50, B: 0.51, C: 0.49, D: 0.50})
    got = cluster.admit(200)
    assert max(got.values()) < 1.5 * 50
