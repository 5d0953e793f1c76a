"""Who connects in a world, for how long, and what that costs: drawn, or taken from a recording."""

import math
from dataclasses import dataclass

import numpy as np

from forestay.model.plan import FloatArray, IntArray
from forestay.simulation import replay
from forestay.simulation.chance import generator
from forestay.simulation.scenario import Scenario, Tokens
from forestay.simulation.steps import COLD_S, STEP_S, STEPS_PER_S

LIFE_MIN_S = 0.02
"""No connection is shorter."""

FILL_S = 60.0
LONG_S = 30.0
"""Connections that last longer than LONG_S on average: as many as will be open at once arrive within the first FILL_S,
so that load is level from then on."""

LAW_SIZE = 200_000
"""Connections drawn to stand for the law that durations and costs follow."""


@dataclass(frozen=True, slots=True, eq=False)
class Connections:
    """Connections by number, in order of arrival.

    Attributes:
        arrives_s: when the client asks, ascending.
        duration_s: how long it stays once open.
        cost: work a second at full cost, in units of capacity.
        hot_s: age at which it gets hot; infinite: never.
        kind: index of its class.
        zone: index of its client's zone.
        memory: in units of a server's memory.
    """

    arrives_s: FloatArray
    duration_s: FloatArray
    cost: FloatArray
    hot_s: FloatArray
    kind: IntArray
    zone: IntArray
    memory: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """All connections of a run; costs and memory are relative still.

    Attributes:
        connections: everyone who comes by himself.
        law: LAW_SIZE more of the same law, without arrival times.
        rate_per_s: expected arrivals by step, bursts not expected, shape (steps,).
        level_per_s: arrivals a second that keep load level: without the fill, surges and cycles.
    """

    connections: Connections
    law: Connections
    rate_per_s: FloatArray
    level_per_s: float


def draw_traffic(scenario: Scenario, seed: int, steps: int) -> Traffic:
    """Raises InvalidInput if a recording cannot be used."""
    law = _draw(scenario, generator(scenario.name, seed, "law"), np.zeros(LAW_SIZE))
    if scenario.replay.path:
        return _recorded(scenario, seed, steps, law)
    level_per_s = scenario.traffic.connections / float(law.duration_s.mean())
    rate_per_s = _rate_per_s(scenario, steps, level_per_s)
    random = generator(scenario.name, seed, "arrivals")
    counts = random.poisson(rate_per_s * _bursts(scenario, seed, steps) * STEP_S)
    arrives_s = (np.repeat(np.arange(steps), counts) + random.random(int(counts.sum()))) * STEP_S
    arrives_s.sort()
    connections = _draw(scenario, generator(scenario.name, seed, "connections"), arrives_s)
    return Traffic(connections, law, rate_per_s, level_per_s)


def work_of(law: Connections, scenario: Scenario) -> FloatArray:
    """Work that each connection does in its life, accepts apart, shape (connections,)."""
    traffic, hot = scenario.traffic, scenario.hot
    worked_s = law.duration_s
    if traffic.ramp_s:
        ramp_s = np.minimum(law.duration_s, traffic.ramp_s)
        worked_s = worked_s - (1 - traffic.ramp_start) * (ramp_s - ramp_s * ramp_s / (2 * traffic.ramp_s))
    left_s = np.maximum(law.duration_s - law.hot_s, 0.0)
    return np.asarray(law.cost * (worked_s + (hot.factor - 1) * np.minimum(left_s, hot.length_s)))


def _recorded(scenario: Scenario, seed: int, steps: int, law: Connections) -> Traffic:
    """Arrivals from a recording, and what else it has; the rest is drawn."""
    settings = scenario.replay
    trace = replay.read(settings)
    random = generator(scenario.name, seed, "arrivals")
    arrives_s, row = replay.lay_over(trace, settings.copies, steps * STEP_S, random)
    connections = _draw(scenario, generator(scenario.name, seed, "connections"), arrives_s)
    if trace.duration_s is not None:
        recorded_s = np.maximum(trace.duration_s, LIFE_MIN_S)
        connections.duration_s[:] = recorded_s[row]
        law.duration_s[:] = np.resize(recorded_s, LAW_SIZE)
    if trace.cost is not None:
        connections.cost[:] = trace.cost[row]
        law.cost[:] = np.resize(trace.cost, LAW_SIZE)
    level_per_s = len(trace.time_s) / trace.span_s * settings.copies
    return Traffic(connections, law, np.full(steps, level_per_s), level_per_s)


def _rate_per_s(scenario: Scenario, steps: int, level_per_s: float) -> FloatArray:
    at_s = np.arange(steps) * STEP_S
    rate = level_per_s * (1 + scenario.cycle.amplitude * np.sin(2 * math.pi * at_s / scenario.cycle.period_s))
    for surge in scenario.surges:
        for start_s in surge.starts_s(COLD_S, steps * STEP_S):
            rate[(at_s >= start_s) & (at_s < start_s + surge.length_s)] *= surge.factor
    if scenario.traffic.connections / level_per_s > LONG_S:
        rate[: round(FILL_S * STEPS_PER_S)] += scenario.traffic.connections / FILL_S
    return np.asarray(rate)


def _bursts(scenario: Scenario, seed: int, steps: int) -> FloatArray:
    """The random factor of the arrival rate by step."""
    bursts = scenario.bursts
    factor = np.ones(steps)
    if not bursts.variance:
        return factor
    random = generator(scenario.name, seed, "bursts")
    pieces = int(steps * STEP_S / bursts.length_s * 1.2) + 50  # more than are likely to be needed; the last one stays
    ends_s = COLD_S + np.cumsum(random.exponential(bursts.length_s, pieces))
    levels = random.gamma(1 / bursts.variance, bursts.variance, pieces + 1)
    at_s = np.arange(steps) * STEP_S
    late = at_s >= COLD_S
    factor[late] = levels[np.searchsorted(ends_s, at_s[late])]
    return factor


def _draw(scenario: Scenario, random: np.random.Generator, arrives_s: FloatArray) -> Connections:
    """Everything about a connection, for each arrival."""
    traffic, classes, size = scenario.traffic, scenario.classes, len(arrives_s)
    kind = np.zeros(size, dtype=np.int64)
    life = cost = np.ones(1)
    if classes:
        share = np.array([each.share for each in classes])
        share /= share.sum()
        life = np.array([each.duration for each in classes])
        life = life / (share * life).sum()
        cost = np.array([each.cost for each in classes])
        kind = random.choice(len(classes), size, p=share)
    if scenario.tokens:
        duration_s = _token_durations_s(scenario.tokens, random, size)
    else:
        sigma = traffic.duration_sigma
        duration_s = np.exp(random.normal(math.log(traffic.duration_s) - sigma * sigma / 2, sigma, size))
    if traffic.cost_pareto:
        relative = random.pareto(traffic.cost_pareto, size) + 1
    else:
        relative = np.exp(random.normal(0.0, traffic.cost_sigma, size))
    duration_s = np.maximum(duration_s * life[kind], LIFE_MIN_S)
    hot_s = random.random(size) * duration_s
    hot_s[random.random(size) >= scenario.hot.share] = math.inf
    return Connections(
        arrives_s=arrives_s,
        duration_s=duration_s,
        cost=relative * cost[kind],
        hot_s=hot_s,
        kind=kind,
        zone=random.integers(0, max(scenario.fleet.zones, 1), size),
        memory=np.exp(random.normal(0.0, scenario.memory.sigma, size)),
    )


def _token_durations_s(tokens: Tokens, random: np.random.Generator, size: int) -> FloatArray:
    read = tokens.input_median * np.exp(random.normal(0.0, tokens.input_sigma, size))
    short = tokens.output_median * np.exp(random.normal(0.0, tokens.output_sigma, size))
    long = tokens.long_median * np.exp(random.normal(0.0, tokens.long_sigma, size))
    written = np.where(random.random(size) < tokens.long_share, long, short)
    return np.asarray(tokens.base_s + read * tokens.seconds_per_input + written * tokens.seconds_per_output)
