"""Load reports: those that count, those that are ignored, and life without any."""

import math
from dataclasses import replace

import numpy as np
import pytest

from forestay import Balancer, BalancerSettings, LoadReport
from tests.balancer.clusters import A, B, Cluster

UNUSABLE = [math.nan, math.inf, -math.inf, -0.01]


def busy_cluster() -> Cluster:
    cluster = Cluster()
    cluster.open(A, 20)
    cluster.open(B, 20)
    cluster.seconds(10, {A: 0.5, B: 0.3})
    return cluster


@pytest.mark.parametrize("value", UNUSABLE)
@pytest.mark.parametrize("field", ["load", "cpu", "memory", "network", "at_s"])
def test_an_unusable_report_is_ignored_and_poisons_nothing(field: str, value: float) -> None:
    cluster, undisturbed = busy_cluster(), busy_cluster()
    report = LoadReport(A, at_s=cluster.now_s, load=0.5, cpu=0.5, memory=0.5, network=0.5)
    if field == "at_s" and value == -0.01:
        value = cluster.now_s - 1.01  # before the last one
    report = replace(report, **{field: value})  # type: ignore[arg-type] # every field here is a float
    assert not cluster.balancer.report(report, cluster.now_s)
    for _ in range(5):
        plan, expected = cluster.second({A: 0.5, B: 0.3}), undisturbed.second({A: 0.5, B: 0.3})
        np.testing.assert_array_equal(plan.table.price, expected.table.price)
        np.testing.assert_array_equal(plan.forecast.mean, expected.forecast.mean)


def test_a_report_of_an_unknown_endpoint_is_ignored() -> None:
    assert not Balancer().report(LoadReport("nobody:80", at_s=1.0, load=0.5), 1.0)


def test_a_report_that_says_nothing_is_ignored() -> None:
    assert not Cluster().balancer.report(LoadReport(A, at_s=100.0, requests_per_s=10.0), 100.0)


def test_load_is_the_larger_of_cpu_and_network_unless_given() -> None:
    cluster = Cluster()
    for _ in range(5):
        cluster.now_s += 1.0
        parts = LoadReport(A, at_s=cluster.now_s, cpu=0.2, network=0.6)
        for report in (parts, replace(parts, endpoint_id=B, load=0.1)):
            assert cluster.balancer.report(report, cluster.now_s)
        plan = cluster.balancer.tick(cluster.now_s)
    assert plan.forecast.at(0.0) == pytest.approx({A: 0.6, B: 0.1}, abs=0.01)


def test_a_report_from_the_future_counts_as_of_now() -> None:
    cluster = Cluster()
    for _ in range(3):
        cluster.now_s += 1.0
        assert cluster.balancer.report(LoadReport(A, at_s=cluster.now_s + 500.0, load=0.5), cluster.now_s)
        cluster.balancer.tick(cluster.now_s)
    cluster.now_s += 1.0
    assert cluster.balancer.report(LoadReport(A, at_s=cluster.now_s, load=0.2), cluster.now_s)


def test_memory_over_its_maximum_keeps_newcomers_away_until_it_falls() -> None:
    cluster = Cluster()
    cluster.seconds(3, 0.1)
    memory_only = LoadReport(A, at_s=cluster.now_s, memory=0.91)
    assert cluster.balancer.report(memory_only, cluster.now_s)
    assert cluster.second(0.1).pool == (B,)
    assert set(cluster.admit(20)) == {B}
    assert cluster.balancer.report(replace(memory_only, at_s=cluster.now_s, memory=0.5), cluster.now_s)
    assert set(cluster.second(0.1).pool) == {A, B}


def test_without_any_reports_connections_go_to_the_fewest_and_the_fallback_has_a_name() -> None:
    cluster = Cluster()
    cluster.open(A, 30)
    assert cluster.second().fallbacks == {"telemetry_missing"}
    assert set(cluster.admit(30)) == {B}
    got = cluster.admit(100)
    assert abs(got[A] - got[B]) <= 1


def test_without_any_reports_a_closed_connection_counts_at_once() -> None:
    cluster = Cluster()
    connections = cluster.open(A, 20)
    cluster.open(B, 20)
    cluster.second()
    for connection_id in connections[:10]:
        cluster.balancer.closed(connection_id, cluster.now_s)
    assert set(cluster.admit(10)) == {A}


def test_without_any_reports_a_declared_capacity_is_the_share_of_connections() -> None:
    cluster = Cluster()
    cluster.balancer.add_endpoint(A, cluster.now_s, capacity=3.0)
    cluster.balancer.add_endpoint(B, cluster.now_s, capacity=1.0)
    got = cluster.admit(400)
    assert got[A] == pytest.approx(300, abs=4)


def test_a_storm_before_the_first_report_is_spread_evenly() -> None:
    cluster = Cluster()
    got = cluster.admit(6000)
    assert abs(got[A] - got[B]) <= 1


def test_reports_that_stop_are_stale_after_ten_seconds_and_placing_goes_on() -> None:
    cluster = busy_cluster()
    for _ in range(10):
        assert cluster.second({B: 0.3}).fallbacks == frozenset()
    assert cluster.second({B: 0.3}).fallbacks == {"telemetry_stale"}
    assert set(cluster.plan.pool) == {A, B}
    cluster.seconds(11)
    assert cluster.plan.fallbacks == {"telemetry_missing"}
    assert cluster.place().kind == "admit"
    assert cluster.second(0.3).fallbacks == frozenset()


def test_the_forecast_of_an_endpoint_whose_reports_stopped_is_less_sure() -> None:
    cluster = busy_cluster()
    cluster.seconds(11, {B: 0.3})
    mean, high = cluster.plan.forecast.at(10.0), cluster.plan.forecast.quantile(10.0, 0.9)
    assert high[A] - mean[A] > 2 * (high[B] - mean[B]) > 0


def test_how_old_a_report_may_be_is_a_setting() -> None:
    cluster = Cluster(settings=BalancerSettings(stale_after_s=2.0))
    cluster.second(0.3)
    assert cluster.seconds(2).fallbacks == frozenset()
    assert cluster.second().fallbacks == {"telemetry_missing"}


def test_reports_of_nearly_nothing_are_reports() -> None:
    cluster = Cluster()
    cluster.open(A, 1)
    plan = cluster.seconds(10, 5e-324)
    assert max(plan.forecast.at(10.0).values()) < 0.01
    assert cluster.place().kind == "admit"
