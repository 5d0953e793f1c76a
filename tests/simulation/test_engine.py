import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest

from forestay import Balancer, BalancerSettings
from forestay.model.plan import Verdict
from forestay.simulation.engine import run
from forestay.simulation.scenario import Scenario
from forestay.simulation.servers import Servers
from forestay.simulation.world import World
from tests.simulation.policies import InTurn


def world(text: str = "", seed: int = 0, minutes: float = 4.0) -> World:
    return World.build(Scenario.parse(f"minutes = {minutes}\n{text}", "test"), seed)


def balancer() -> Balancer:
    return Balancer(BalancerSettings(overload="place"), seed=0)


def test_every_connection_of_the_world_is_placed_and_closed_once() -> None:
    drawn = world("traffic = { duration_s = 10.0 }")
    policy = InTurn()
    outcome = run(drawn, policy, "in turn")
    connections = drawn.connections
    ends_s = connections.arrives_s + connections.duration_s
    assert outcome.connections == len(ends_s)
    assert len(policy.owner) == int((ends_s >= 240).sum())


def test_servers_are_as_busy_as_the_scenario_says() -> None:
    text = "fleet = { capacity_max = 0.6 }\ntraffic = { load = 0.5, duration_s = 5.0, cost_sigma = 0.0 }"
    outcome = run(world(text, minutes=10), InTurn(), "in turn", keep_series=True)
    assert outcome.series is not None
    assert float(outcome.series.load[len(outcome.series.load) // 5 :].mean()) == pytest.approx(0.5, rel=0.02)


def test_a_balancer_does_better_than_turns() -> None:
    drawn = world("traffic = { load = 0.6, duration_s = 20.0 }")
    ours, theirs = run(drawn, balancer(), "forestay"), run(drawn, InTurn(), "in turn")
    assert ours.delay < 0.5 * theirs.delay
    assert ours.utilisation_p99 < theirs.utilisation_p99


def test_calm_figures_say_so() -> None:
    outcome = run(world("traffic = { duration_s = 10.0 }"), InTurn(), "in turn")
    assert math.isnan(outcome.storm_share)
    assert math.isnan(outcome.local_share)
    assert math.isnan(outcome.memory_max)
    assert outcome.wait_mean_s == outcome.wait_p99_s == outcome.refused == 0
    assert np.all(np.diff(outcome.delay_quantiles) >= 0)
    assert outcome.cold.connections_max_over_mean > 1


# ---- servers that come and go


DEATH = """
    traffic = { connections = 800 }
    faults = [{ kind = "death", first_s = 150.0, length_s = 30.0, jitter_s = 4.0, detect_s = 2.0 }]
"""


def test_a_death_is_noticed_late_and_connects_fail_until_then() -> None:
    drawn = world(DEATH)
    dead = drawn.endpoint_ids[drawn.changes[0].server]
    policy = InTurn()
    outcome = run(drawn, policy, "in turn")
    assert [heard for heard in policy.heard if heard[2] == dead] == [
        (0.0, "add", dead),
        (152.0, "unhealthy", dead),
        (180.0, "healthy", dead),
    ]
    assert policy.failures
    assert set(policy.failures) == {dead}
    assert outcome.connections > len(drawn.connections.arrives_s)
    assert outcome.storm_share > 1
    assert outcome.return_share > 1


def test_clients_of_a_dead_server_return_over_the_jitter_and_no_later() -> None:
    asked: dict[str, float] = {}

    class Noting(InTurn):
        def place(
            self,
            connection_id: str,
            now_s: float,
            hint: str = "",
            client: str = "",
            zone: str = "",
            prefer: str | None = None,
            exclude: Iterable[str] = (),
        ) -> Verdict:
            asked.setdefault(connection_id, now_s)
            return super().place(connection_id, now_s, hint, client, zone, prefer, exclude)

    drawn = world(DEATH)
    run(drawn, Noting(), "in turn")
    returned_s = [at_s for name, at_s in asked.items() if int(name[1:]) >= len(drawn.connections.arrives_s)]
    assert len(returned_s) > 20
    assert 150 <= min(returned_s) < 151
    assert 153 < max(returned_s) < 154


def test_a_deployment_drains_then_removes_and_adds_again() -> None:
    text = """
        fleet = { servers = 3 }
        traffic = { connections = 200 }
        faults = [{ kind = "deploy", first_s = 130.0, every_s = 30.0, length_s = 10.0, jitter_s = 5.0 }]
    """
    drawn = world(text)
    policy = InTurn()
    outcome = run(drawn, policy, "in turn")
    first = drawn.endpoint_ids[drawn.changes[0].server]
    assert [heard for heard in policy.heard if heard[2] == first] == [
        (0.0, "add", first),
        (130.0, "drain", first),
        (135.0, "remove", first),
        (145.0, "add", first),
    ]
    assert Counter(what for _, what, _ in policy.heard) == {"add": 6, "drain": 3, "remove": 3}
    assert outcome.refused == 0


def test_a_server_that_joins_is_not_there_before() -> None:
    drawn = world('faults = [{ kind = "join", first_s = 140.0 }]')
    newcomer = drawn.endpoint_ids[drawn.changes[0].server]
    policy = InTurn()
    outcome = run(drawn, policy, "in turn")
    assert math.isnan(outcome.storm_share)
    assert outcome.return_share > 1
    assert [heard for heard in policy.heard if heard[2] == newcomer] == [(140.0, "add", newcomer)]
    assert len([heard for heard in policy.heard if heard[0] == 0.0]) == 15


def test_the_last_server_never_dies() -> None:
    text = 'fleet = { servers = 2 }\nfaults = [{ kind = "death", first_s = 130.0, servers = 2 }]'
    assert run(world(text), InTurn(), "in turn").refused == 0


@pytest.mark.parametrize("seed", range(8))
def test_after_faults_that_overlap_every_server_is_in_service_again(seed: int) -> None:
    text = """
        fleet = { servers = 4 }
        traffic = { connections = 200 }
        faults = [
            { kind = "deploy", first_s = 125.0, every_s = 10.0, length_s = 20.0, jitter_s = 5.0 },
            { kind = "death", first_s = 128.0, servers = 2, length_s = 11.0, detect_s = 2.0 },
            { kind = "death", first_s = 133.0, servers = 2, length_s = 30.0, jitter_s = 3.0 },
        ]
    """
    policy = InTurn()
    outcome = run(world(text, seed=seed, minutes=3.5), policy, "in turn")
    assert sorted(policy.up) == ["s0", "s1", "s2", "s3"]
    assert outcome.refused == 0


# ---- what the policy is told


def test_an_announced_surge_is_announced_in_time_and_an_unannounced_one_never() -> None:
    surge = "first_s = 150.0, every_s = 60.0, length_s = 10.0, factor = 2.5"
    policy = InTurn()
    run(world(f"surges = [{{ {surge}, announced_s = 20.0 }}]"), policy, "in turn")
    assert policy.announced_at_s == [130.0, 190.0]
    assert [(event.starts_s, event.ends_s, event.arrival_factor) for event in policy.events] == [
        (150.0, 160.0, 2.5),
        (210.0, 220.0, 2.5),
    ]
    policy = InTurn()
    run(world(f"surges = [{{ {surge} }}]"), policy, "in turn")
    assert policy.events == []


def test_hints_reach_the_policy() -> None:
    text = """
        traffic = { hints = true }
        classes = [{ name = "light", share = 0.5 }, { name = "heavy", share = 0.5, cost = 3.0 }]
    """
    policy = InTurn()
    run(world(text, minutes=2), policy, "in turn")
    assert set(policy.hints.values()) == {"light", "heavy"}


def test_connections_stay_in_their_zone_where_the_policy_cares() -> None:
    drawn = world("fleet = { servers = 6, zones = 3 }\ntraffic = { load = 0.3 }")
    assert run(drawn, balancer(), "forestay").local_share > run(drawn, InTurn(), "in turn").local_share
    assert run(drawn, InTurn(), "in turn").local_share == pytest.approx(1 / 3, abs=0.05)


# ---- places that are not given at once


class Late(InTurn):
    """Puts everybody off for five seconds, from second 130 on."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[float, str]] = []

    def place(
        self,
        connection_id: str,
        now_s: float,
        hint: str = "",
        client: str = "",
        zone: str = "",
        prefer: str | None = None,
        exclude: Iterable[str] = (),
    ) -> Verdict:
        if now_s < 130:
            return super().place(connection_id, now_s)
        self.waiting.append((now_s, connection_id))
        return Verdict("queue", connection_id)

    def poll(self, now_s: float) -> list[Verdict]:
        ready = [name for since_s, name in self.waiting if since_s <= now_s - 5]
        self.waiting = [(since_s, name) for since_s, name in self.waiting if name not in ready]
        return [super(Late, self).place(name, now_s) for name in ready]


def test_a_wait_in_the_queue_counts_as_delay() -> None:
    text = """
        fleet = { capacity_min = 1.0, capacity_max = 1.0 }
        traffic = { duration_s = 10.0, load = 0.3, cost_sigma = 0.1 }
    """
    drawn = world(text)
    late, at_once = run(drawn, Late(), "late"), run(drawn, InTurn(), "in turn")
    assert late.wait_p99_s == pytest.approx(5.05, abs=0.06)
    assert late.wait_mean_s == pytest.approx(5.05 * 105 / 240, rel=0.1)
    assert late.delay - at_once.delay == pytest.approx(5.05 / 10 * 105 / 115, abs=0.05)
    assert late.connections < at_once.connections


class Never(InTurn):
    """Refuses everybody from second 130 on."""

    asked = 0

    def place(
        self,
        connection_id: str,
        now_s: float,
        hint: str = "",
        client: str = "",
        zone: str = "",
        prefer: str | None = None,
        exclude: Iterable[str] = (),
    ) -> Verdict:
        if now_s < 130:
            return super().place(connection_id, now_s)
        self.asked += 1
        return Verdict("shed", connection_id, "", "overload", 2.0)


def test_the_refused_come_back_as_often_as_the_scenario_says() -> None:
    drawn = world("traffic = { duration_s = 10.0, retries = 2 }")
    policy = Never()
    outcome = run(drawn, policy, "never")
    arrives_s = drawn.connections.arrives_s
    assert outcome.refused == int(((arrives_s >= 130) & (arrives_s < 236)).sum())
    assert policy.asked == pytest.approx(3 * outcome.refused, rel=0.05)


# ---- determinism


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
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1
    assert len(digests.pop()) == 32


def test_another_seed_gives_other_placements() -> None:
    digests = {run(world(seed=seed, minutes=1), InTurn(), "in turn").digest for seed in (0, 1)}
    assert len(digests) == 2


# ---- policies with privileges


class Watching(InTurn):
    """Compares what it is shown with what it placed."""

    def attach(self, world: World, servers: Servers) -> None:
        self.servers, self.steps = servers, 0

    def step(self, now_s: float) -> None:
        self.steps += 1
        counts = Counter(self.owner.values())
        assert self.servers.count == [counts[endpoint_id] for endpoint_id in self.servers.world.endpoint_ids]
        if self.steps % 100 == 0:
            held = sum(cost for cost, owner in zip(self.servers.cost, self.servers.owner, strict=True) if owner == 5)
            assert self.servers.a[5] == pytest.approx(held)


def test_a_privileged_policy_sees_the_truth_at_every_step() -> None:
    policy = Watching()
    run(world("traffic = { duration_s = 10.0 }", minutes=2), policy, "watching")
    assert policy.steps == 1200
