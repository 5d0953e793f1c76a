import math
from dataclasses import replace

import numpy as np
import pytest

from forestay.simulation import measures
from forestay.simulation.scenario import Scenario
from forestay.simulation.servers import Servers
from forestay.simulation.world import World


def world(text: str = "") -> World:
    """Two servers of capacity 1 and 3, ten minutes."""
    drawn = World.build(Scenario.parse(f"fleet.servers = 2\nminutes = 10\n{text}", "test"), 0)
    return replace(drawn, capacity=np.tile([1.0, 3.0], (len(drawn.capacity), 1)))


def at(drawn: World, *loads: float) -> Servers:
    """Servers that were so busy all the time."""
    servers = Servers(drawn)
    servers.utilisation[:] = loads
    return servers


def test_delay_is_weighted_by_work() -> None:
    drawn = world()
    loads = measures.after_cold_start(drawn, at(drawn, 0.5, 0.8), 0.0, 0.0)
    assert loads.delay == pytest.approx((0.5 * 2 + 2.4 * 5) / 2.9)
    assert loads.utilisation_p99 == 0.8
    assert loads.delay_quantiles == pytest.approx((5.0, 5.0, 5.0, 5.0))
    assert loads.over == 0.0


def test_delay_is_capped() -> None:
    drawn = world()
    loads = measures.after_cold_start(drawn, at(drawn, 1.5, 1.5), 0.0, 0.0)
    assert loads.delay == pytest.approx(50.0)
    assert loads.over == pytest.approx(1 / 3)
    assert loads.over_100_s == loads.over_70_s == pytest.approx(2 * 480)


def test_a_wait_as_long_as_the_stay_makes_everything_take_twice_as_long() -> None:
    drawn = world()
    servers = at(drawn, 0.5, 0.5)
    work = 0.5 * 4 * 480
    waiting = measures.after_cold_start(drawn, servers, waited_work=work, refused_work=0.0)
    assert waiting.delay == pytest.approx(2.0 + 1.0)


def test_the_refused_have_the_delay_of_the_cap() -> None:
    drawn = world()
    work = 0.5 * 4 * 480
    refusing = measures.after_cold_start(drawn, at(drawn, 0.5, 0.5), 0.0, refused_work=work)
    assert refusing.delay == pytest.approx((2.0 + 50.0) / 2)


def test_a_backlog_counts_in_multiples_of_a_request_and_is_capped_too() -> None:
    drawn = world("fleet.discipline = 'fifo'\nfleet.request_s = 0.2")
    servers = at(drawn, 0.5, 0.5)
    servers.backlog[:] = 0.6
    assert measures.after_cold_start(drawn, servers, 0.0, 0.0).delay == pytest.approx(2.0 + 3.0)
    servers.backlog[:] = 100.0
    assert measures.after_cold_start(drawn, servers, 0.0, 0.0).delay == pytest.approx(50.0)


def test_the_highest_load_is_compared_with_the_fleet_by_capacity() -> None:
    drawn = world()
    loads = measures.after_cold_start(drawn, at(drawn, 0.8, 0.4), 0.0, 0.0)
    assert loads.max_over_mean == pytest.approx(0.8 / 0.5)


def test_cold_start_compares_connections_per_capacity() -> None:
    drawn = world()
    counts = np.tile([2.0, 2.0], (600, 1))
    cold = measures.cold_start(drawn, at(drawn, 0.5, 0.5), counts)
    assert cold.connections_max_over_mean == pytest.approx(2.0)
    assert cold.delay == pytest.approx(2.0)


def test_the_share_of_a_storm_is_measured_at_its_busiest_second() -> None:
    drawn = world()
    servers = at(drawn, 0.5, 0.5)
    accepts = np.zeros((600, 2), dtype=np.int64)
    accepts[200] = (50, 50)
    accepts[201] = (3, 0)
    assert measures.storm_share(drawn, servers, accepts, [2000]) == pytest.approx(50 / 25)
    assert math.isnan(measures.storm_share(drawn, servers, accepts, []))
    assert math.isnan(measures.storm_share(drawn, servers, accepts, [4000]))


def test_a_server_that_takes_everything_has_taken_the_share_of_those_that_take_nothing() -> None:
    drawn = world()
    servers = at(drawn, 0.5, 0.5)
    accepts = np.zeros((600, 2), dtype=np.int64)
    accepts[200] = (40, 0)
    assert measures.storm_share(drawn, servers, accepts, [2000]) == pytest.approx(4.0)
    servers.existed[2000:, 1] = False
    assert measures.storm_share(drawn, servers, accepts, [2000]) == pytest.approx(1.0)


def test_overload_after_a_death_is_counted_for_a_minute() -> None:
    drawn = world()
    servers = at(drawn, 1.2, 0.5)
    assert measures.storm_over_s(servers, [2000]) == pytest.approx(60.0)
    assert measures.storm_over_s(servers, [2000, 2300]) == pytest.approx(90.0)


def test_most_do_not_wait() -> None:
    assert measures.wait_p99_s([], 500) == 0.0
    assert measures.wait_p99_s([9.0] * 5, 500) == 0.0
    assert measures.wait_p99_s([9.0, 8.0, 7.0, 6.0, 5.0, 4.0], 500) == 4.0


def test_a_series_has_few_points_and_gaps_where_a_server_was_away() -> None:
    drawn = world()
    servers = at(drawn, 0.5, 0.7)
    servers.existed[:3000, 0] = False
    series = measures.series(servers)
    assert series.load.shape == (600, 2)
    assert series.times_s[0] == pytest.approx(0.5)
    assert np.isnan(series.load[:300, 0]).all()
    assert series.load[300:, 0] == pytest.approx(0.5)
