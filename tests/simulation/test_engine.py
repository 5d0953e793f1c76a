import math
import os
import subprocess
import sys

import numpy as np
import pytest

from forestay import Balancer, BalancerSettings
from forestay.simulation.engine import run
from forestay.simulation.scenario import Scenario
from forestay.simulation.world import World
from tests.simulation.policies import InTurn


def world(text: str, seed: int = 0, minutes: float = 3.0) -> World:
    return World.build(Scenario.parse(f"minutes = {minutes}\n{text}", "test"), seed)


def test_every_connection_of_the_world_is_placed() -> None:
    drawn = world("[traffic]\nduration_s = 10.0")
    outcome = run(drawn, InTurn(), "in turn")
    assert outcome.connections == len(drawn.connections.arrives_s)


def test_servers_are_as_busy_as_the_scenario_says() -> None:
    drawn = world("[fleet]\ncapacity_max = 0.6\n[traffic]\nload = 0.5\nduration_s = 5.0\ncost_sigma = 0.0", minutes=10)
    outcome = run(drawn, InTurn(), "in turn", keep_series=True)
    assert outcome.series is not None
    assert float(outcome.series.load[len(outcome.series.load) // 5 :].mean()) == pytest.approx(0.5, rel=0.02)


def test_a_balancer_does_better_than_turns() -> None:
    drawn = world("[traffic]\nload = 0.6\nduration_s = 20.0")
    ours = run(drawn, Balancer(BalancerSettings(overload="place"), seed=0), "forestay")
    theirs = run(drawn, InTurn(), "in turn")
    assert ours.delay < 0.5 * theirs.delay


PROGRAM = """
from forestay import Balancer, BalancerSettings
from forestay.simulation.engine import run
from forestay.simulation.scenario import Scenario
from forestay.simulation.world import World
world = World.build(Scenario.named("death").model_copy(update={"minutes": 4.0}), 3)
print(run(world, Balancer(BalancerSettings(overload="place"), seed=0), "forestay").digest)
"""


@pytest.mark.process
def test_the_same_seed_gives_the_same_placements_whatever_the_hash_seed() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == 32


def test_figures_without_faults_and_queues_say_so() -> None:
    outcome = run(world("[traffic]\nduration_s = 10.0"), InTurn(), "in turn")
    assert math.isnan(outcome.storm_share)
    assert outcome.wait_mean_s == outcome.wait_p99_s == outcome.refused == 0
    assert np.all(np.diff(outcome.delay_quantiles) >= 0)
