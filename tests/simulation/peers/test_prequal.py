import math

import pytest

from forestay.simulation.engine import run
from forestay.simulation.peers.prequal import AGE_MAX_S, POOL, Prequal
from forestay.simulation.scenario import Scenario
from forestay.simulation.world import World


def prequal(endpoints: int = 20, hot_quantile: float = 0.84) -> Prequal:
    policy = Prequal(1, hot_quantile)
    for index in range(endpoints):
        policy.add_endpoint(f"e{index}", 0.0)
    return policy


def pick(policy: Prequal, number: int = 0, now_s: float = 0.0) -> str:
    return policy.place(f"c{number}", now_s).endpoint_id


def fill(policy: Prequal, probes: list[tuple[float, float]]) -> None:
    """Probe answers of e0, e1 ...: RIF and latency."""
    for slot, (rif, latency) in enumerate(probes):
        policy.note(slot, rif, latency, 0.0)


def test_of_the_cold_the_lowest_latency_wins_whatever_its_rif() -> None:
    policy = prequal()
    fill(policy, [(1, 30), (9, 10), (5, 20), (3, 25), (2, 28), (4, 26), (90, 1)])  # the last one is hot
    assert pick(policy) == "e1"


def test_where_all_are_hot_the_lowest_rif_wins() -> None:
    policy = prequal()
    for _ in range(100):
        policy.note(19, 1, 1, 0.0)  # the distribution is low
    policy.remove_endpoint("e19", 0.0)
    fill(policy, [(50, 1), (40, 9), (60, 2)])
    assert pick(policy) == "e1"


def test_under_two_probes_the_pick_is_random() -> None:
    picked = set()
    for seed in range(40):
        policy = Prequal(seed)
        for index in range(4):
            policy.add_endpoint(f"e{index}", 0.0)
        policy.note(0, 1, 1, 0.0)
        picked.add(pick(policy))
    assert len(picked) == 4


def test_old_probes_count_no_longer() -> None:
    policy = prequal(3)
    fill(policy, [(1, 1), (2, 2)])
    assert policy.choose(list(policy._pool), policy.hot_above()) == 0
    pick(policy, now_s=AGE_MAX_S + 0.01)
    assert not policy._pool


def test_the_pool_holds_sixteen_probes_at_most_the_newest() -> None:
    policy = prequal()
    fill(policy, [(1, 1)] * 20)
    assert sorted(policy._pool) == list(range(20 - POOL, 20))


def test_a_used_probe_counts_the_newcomer() -> None:
    policy = prequal(20)
    fill(policy, [(1, 10), (1, 11), (1, 12), (9, 13)])
    first = pick(policy, 0)
    assert first == "e0"
    assert pick(policy, 1) == "e1" or policy._pool[0][1] == pytest.approx(2.0)


def test_each_placement_removes_the_oldest_and_the_worst_in_turn() -> None:
    policy = prequal(16)
    fill(policy, [(1, 10), (1, 40), (1, 20), (1, 30), (50, 1)])
    pick(policy, 0)
    assert 0 not in policy._pool  # the oldest
    assert 4 in policy._pool
    pick(policy, 1)
    assert 4 not in policy._pool  # the hot one of the greatest RIF
    pick(policy, 2)
    pick(policy, 3)
    assert 1 not in policy._pool  # no one is hot any more: the slowest went, or it was the oldest


def test_the_paper_limits_how_often_a_probe_is_used() -> None:
    few, many = prequal(10), prequal(100)
    uses = []
    for _ in range(400):
        for policy in (few, many):
            policy.note(0, 1.0, 1.0, 0.0)
        times = 0
        while 0 in many._pool:
            many._use(0)
            few._use(0)
            times += 1
        uses.append(times)
        assert 0 in few._pool
    assert sum(uses) / len(uses) == pytest.approx(2 / (0.84 * 3 - 1), rel=0.05)


def test_the_hot_limit_is_the_quantile_of_what_was_seen_lately() -> None:
    policy = prequal(1)
    assert math.isinf(policy.hot_above())
    for rif in range(100):
        policy.note(0, float(rif), 1.0, 0.0)
    assert policy.hot_above() == 83
    for _ in range(200):
        policy.note(0, 5.0, 1.0, 0.0)
    assert policy.hot_above() == 5


RAMPING = """
minutes = 4
[fleet]
servers = 8
[traffic]
connections = 800
load = 0.85
duration_s = 40.0
ramp_s = 10.0
"""


def test_latency_alone_has_the_worse_tail() -> None:
    """The paper: at a quantile of 1, p99.9 is 1.6 to 2.4 times as high. Latency does not see what is yet to ramp up."""
    world = World.build(Scenario.parse(RAMPING, "ramping"), 1)
    both = run(world, Prequal(1), "prequal").delay_quantiles[3]
    latency_alone = run(world, Prequal(1, hot_quantile=2.0), "latency").delay_quantiles[3]
    assert latency_alone > 1.6 * both
