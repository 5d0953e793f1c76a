"""What a balancer knows survives a restart, and damaged memories are refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestay import Balancer, BalancerSettings, Event, InvalidInput
from forestay.balancer.snapshot import Snapshot
from tests.balancer.clusters import A, B, C, Cluster

LATER_S = 5000.0


def lived_in_cluster() -> Cluster:
    cluster = Cluster(endpoints=(A, B, C))
    cluster.balancer.add_endpoint(B, cluster.now_s, capacity=2.0, zone="east", connections_max=50)
    for _ in range(40):
        cluster.admit(3)
        cluster.second({A: 0.4, B: 0.3, C: 0.2})
    cluster.balancer.drain_endpoint(C, cluster.now_s)
    cluster.balancer.announce(Event("launch", cluster.now_s + 5.0, cluster.now_s + 60.0, 3.0), cluster.now_s)
    return cluster


def test_a_restored_balancer_plans_as_the_one_that_was_kept() -> None:
    cluster = lived_in_cluster()
    restored = Balancer.restore(cluster.balancer.snapshot(), now_s=LATER_S)
    assert restored.connections == cluster.balancer.connections
    expected, plan = cluster.second(), restored.tick(LATER_S + 1.0)
    assert plan.pool == expected.pool
    for horizon_s in (0.0, 5.0, 30.0):
        assert plan.forecast.at(horizon_s) == pytest.approx(expected.forecast.at(horizon_s), abs=0.01)
    np.testing.assert_allclose(plan.table.level, expected.table.level, rtol=0.01)


def test_what_the_operator_said_survives() -> None:
    cluster = lived_in_cluster()
    restored = Balancer.restore(cluster.balancer.snapshot(), now_s=LATER_S)
    plan = restored.tick(LATER_S + 1.0)
    assert set(plan.pool) == {A, B}
    on_b = plan.table.endpoint_ids.index(B)
    assert plan.table.slots[on_b] + plan.table.paced[on_b] < 50
    assert restored.place("near", LATER_S + 1.0, zone="east", exclude=[A]).endpoint_id == B


def test_a_snapshot_of_a_restored_balancer_is_the_same_snapshot() -> None:
    data = lived_in_cluster().balancer.snapshot()
    again = Balancer.restore(data, now_s=100.0).snapshot()
    once_more = Balancer.restore(again, now_s=100.0).snapshot()
    assert again == once_more


def test_connections_keep_their_age() -> None:
    cluster = Cluster()
    cluster.open(A, 3)
    cluster.seconds(30, 0.3)
    restored = Balancer.restore(cluster.balancer.snapshot(), now_s=LATER_S)
    again = Balancer.restore(restored.snapshot(), now_s=0.0)
    restored.tick(LATER_S)
    again.tick(0.0)
    counts = [balancer._forecaster.population.counts.sum(1) for balancer in (cluster.balancer, restored, again)]
    np.testing.assert_array_equal(counts[1], counts[0])
    np.testing.assert_array_equal(counts[2], counts[0])


def test_settings_may_differ_after_the_restart() -> None:
    data = lived_in_cluster().balancer.snapshot()
    restored = Balancer.restore(data, BalancerSettings(threshold=0.25, load_max=0.9), now_s=LATER_S)
    assert restored.tick(LATER_S + 1.0).pool == ()


def test_an_empty_balancer_can_be_kept_too() -> None:
    restored = Balancer.restore(Balancer().snapshot(), now_s=1.0)
    restored.add_endpoint(A, 1.0)
    assert restored.place("conn", 1.0).endpoint_id == A


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_bytes_are_refused_with_a_reason(data: st.DataObject) -> None:
    kept = SMALL
    damage = data.draw(st.sampled_from(["cut", "flip", "other"]))
    if damage == "cut":
        kept = kept[: data.draw(st.integers(0, len(kept) - 1))]
    elif damage == "flip":
        position = data.draw(st.integers(0, len(kept) - 1))
        kept = kept[:position] + bytes([kept[position] ^ data.draw(st.integers(1, 255))]) + kept[position + 1 :]
    else:
        kept = data.draw(st.binary(max_size=200))
    with pytest.raises(InvalidInput, match=r"snapshot is .*: start without it"):
        Balancer.restore(kept)


def test_a_snapshot_of_other_learned_parts_is_refused_with_a_reason() -> None:
    kept = Snapshot.unpack(SMALL)
    del kept.learned["cost.theta"]
    with pytest.raises(InvalidInput, match=r"lacks cost.theta: .*start without it"):
        Balancer.restore(kept.pack())
    with pytest.raises(InvalidInput, match=r"cost.theta of shape \(3,\).*: start without it"):
        Balancer.restore(replace(kept, learned={**kept.learned, "cost.theta": np.zeros(3)}).pack())


def _small() -> bytes:
    cluster = Cluster()
    cluster.open(A, 3)
    cluster.seconds(3, 0.3)
    return cluster.balancer.snapshot()


SMALL = _small()
