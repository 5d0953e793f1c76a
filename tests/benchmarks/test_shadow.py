"""What a shadow estimates, against what really happens: in a simulation both can be seen."""

import pytest

from benchmarks.shadow import compare
from forestay.simulation.scenario import Scenario

WORLD = """
minutes = 4.0
[fleet]
servers = 4
[traffic]
connections = 200
load = 0.7
duration_s = 20.0
ramp_s = 10.0
"""


def test_the_estimate_is_near_the_truth_where_connections_are_alike() -> None:
    found = compare(Scenario.parse(WORLD, "alike"), seed=1, peer="round_robin")
    peer, forestay, as_is, would_be = found.peer, found.forestay, found.as_is, found.would_be
    assert peer.delay > 1.05 * forestay.delay  # there is something to win, or the test says nothing
    assert as_is.delay == pytest.approx(peer.delay, rel=0.03)
    assert would_be.delay == pytest.approx(forestay.delay, rel=0.03)
    assert as_is.max_over_mean == pytest.approx(peer.max_over_mean, rel=0.03)
    assert would_be.max_over_mean == pytest.approx(forestay.max_over_mean, rel=0.06)


def test_nobody_is_told_that_forestay_would_do_better_than_forestay() -> None:
    found = compare(Scenario.parse(WORLD, "alike"), seed=1, peer="forestay")
    assert found.would_be.delay == pytest.approx(found.as_is.delay, rel=0.05)
    assert found.would_be.max_over_mean == pytest.approx(found.as_is.max_over_mean, rel=0.05)
