import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestay.simulation.scenario import Scenario
from forestay.simulation.servers import BACKLOG_MAX_S, Servers
from forestay.simulation.steps import STEP_S, STEPS_PER_S
from forestay.simulation.traffic import Connections
from forestay.simulation.world import ACCEPT_S, World


@lru_cache
def drawn_world(text: str) -> World:
    return World.build(Scenario.parse(f"minutes = 0.1\n{text}", "test"), 0)


def world(text: str, arrives: list[float], lives: list[float], costs: list[float], hot: list[float]) -> World:
    """A world of six seconds with these connections."""
    size = len(arrives)
    connections = Connections(
        arrives_s=np.array(arrives),
        duration_s=np.array(lives),
        cost=np.array(costs),
        hot_s=np.array(hot),
        kind=np.zeros(size, dtype=np.int64),
        zone=np.zeros(size, dtype=np.int64),
        memory=np.ones(size),
    )
    return replace(drawn_world(text), connections=connections)


def work_until(drawn: World, connection: int, at_s: float) -> float:
    """Work that a connection has done by `at_s`, from its definition."""
    traffic, hot = drawn.scenario.traffic, drawn.scenario.hot
    each = drawn.connections
    cost, life = float(each.cost[connection]), float(each.duration_s[connection])
    age = min(max(at_s - float(each.arrives_s[connection]), 0.0), life)
    work = cost * age
    if traffic.ramp_s:
        ramp = min(age, traffic.ramp_s)
        work -= cost * (1 - traffic.ramp_start) * (ramp - ramp * ramp / (2 * traffic.ramp_s))
    work += drawn.accept_work / ACCEPT_S * min(age, ACCEPT_S)
    since_hot = min(age - float(each.hot_s[connection]), hot.length_s)
    return work + cost * (hot.factor - 1) * max(since_hot, 0.0)


def play(drawn: World, server_of: list[int], cuts: dict[int, float]) -> Servers:
    """Open each connection when it arrives, and cut some of them short."""
    servers = Servers(drawn)
    moments = [(at_s, number, "open") for number, at_s in enumerate(drawn.connections.arrives_s.tolist())]
    moments += [(at_s, number, "cut") for number, at_s in cuts.items()]
    for step in range(drawn.steps):
        servers.begin(step)
        for at_s, number, what in sorted(moments):
            if int(at_s * STEPS_PER_S) == step:
                if what == "open":
                    servers.open(number, server_of[number], at_s)
                else:
                    servers.cut(number, at_s)
        servers.finish()
    servers.absorb()
    return servers


KINDS = {
    "plain": "",
    "ramp": "[traffic]\nramp_s = 1.3\nramp_start = 0.2",
    "accept": "[traffic]\naccept_share = 0.3",
    "hot": "[hot]\nshare = 0.5\nfactor = 7.0\nlength_s = 0.7",
    "all": "[traffic]\nramp_s = 0.9\naccept_share = 0.2\n[hot]\nshare = 0.5\nfactor = 7.0\nlength_s = 0.7",
}

times = st.floats(0.0, 5.5)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_work_of_every_step_is_the_exact_integral(kind: str, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 6))
    arrives = sorted(data.draw(st.lists(times, min_size=size, max_size=size)))
    lives = data.draw(st.lists(st.floats(0.02, 4.0), min_size=size, max_size=size))
    hot = [math.inf] * size
    if "hot" in KINDS[kind]:
        hot = [data.draw(st.sampled_from((math.inf, 0.3 * life))) for life in lives]
    cut = data.draw(st.booleans())
    drawn = world(f"[fleet]\nservers = 2\n{KINDS[kind]}", arrives, lives, [0.1 + 0.01 * k for k in range(size)], hot)
    server_of = [number % 2 for number in range(size)]
    cuts = {0: arrives[0] + lives[0] / 2} if cut else {}
    servers = play(drawn, server_of, cuts)
    for server in range(2):
        mine = [number for number in range(size) if server_of[number] == server]
        for step in range(drawn.steps):
            ends = [step * STEP_S, (step + 1) * STEP_S]
            done = [sum(work_until(drawn, n, min(at_s, cuts.get(n, at_s))) for n in mine) for at_s in ends]
            expected = (done[1] - done[0]) / STEP_S / drawn.capacity[step, server]
            assert servers.utilisation[step, server] == pytest.approx(expected, abs=1e-9)


def test_a_server_that_dies_loses_what_its_connections_would_have_cost() -> None:
    drawn = world("[fleet]\nservers = 2", [0.05, 0.05], [5.0, 5.0], [0.2, 0.3], [math.inf] * 2)
    servers = Servers(drawn)
    for step in range(drawn.steps):
        servers.begin(step)
        if step == 0:
            servers.open(0, 0, 0.05)
            servers.open(1, 1, 0.05)
        if step == 20:
            servers.vacate(0)
        servers.finish()
    servers.absorb()
    assert servers.count == [0, 1]
    assert servers.utilisation[10, 0] == pytest.approx(0.2 / drawn.capacity[0, 0])
    assert servers.utilisation[20:, 0].max() == 0.0
    assert servers.utilisation[30, 1] == pytest.approx(0.3 / drawn.capacity[0, 1])
    assert servers.utilisation[55:, 1].max() == pytest.approx(0.0, abs=1e-12)


def test_a_fifo_server_carries_over_what_it_cannot_do_and_reports_that_it_is_full() -> None:
    text = '[fleet]\nservers = 1\ncapacity_min = 1.0\ncapacity_max = 1.0\ndiscipline = "fifo"'
    drawn = world(text, [0.0], [1.0], [1.5], [math.inf])
    servers = play(drawn, [0], {})
    assert servers.backlog[9, 0] == pytest.approx(0.5)
    assert servers.backlog[11, 0] == pytest.approx(0.3)
    assert servers.backlog[16, 0] == pytest.approx(0.0, abs=1e-9)
    assert servers.busy(slice(0, 10))[0] == pytest.approx(1.0)
    assert servers.busy(slice(10, 20))[0] == pytest.approx(0.5, abs=0.11)


def test_a_backlog_has_a_bound() -> None:
    text = '[fleet]\nservers = 1\ncapacity_min = 1.0\ncapacity_max = 1.0\ndiscipline = "fifo"'
    drawn = world(text, [0.0], [6.0], [90.0], [math.inf])
    assert play(drawn, [0], {}).backlog.max() == BACKLOG_MAX_S


def test_memory_over_the_limit_makes_all_work_dearer() -> None:
    drawn = world("[fleet]\nservers = 1\n[memory]\nload = 0.5", [0.0, 0.0], [9.0, 9.0], [0.1, 0.1], [math.inf] * 2)
    drawn.connections.memory[:] = (0.9, 0.2)
    lean, full = play(replace(drawn, connections=drawn.connections), [0, 0], {}), Servers(drawn)
    assert lean.memory == [pytest.approx(1.1)]
    assert lean.utilisation[-1, 0] == pytest.approx(3 * 0.2 / drawn.capacity[0, 0])
    assert full.memory == [0.0]
