"""Work of servers that is not of connections: cron, garbage collection, neighbours."""

import math

import numpy as np

from forestay.model.plan import FloatArray
from forestay.simulation.chance import generator
from forestay.simulation.scenario import Background, Scenario
from forestay.simulation.steps import STEP_S

MEMORY_S = 20.0
"""How long the noise of "random" background remembers."""

RANDOM_MAX = 0.7
"""Utilisation that "random" background never exceeds."""


def draw_background(scenario: Scenario, seed: int, steps: int) -> FloatArray:
    """Utilisation of each server by all of a scenario's background, shape (steps, servers)."""
    servers = scenario.fleet.servers
    total = np.zeros((steps, servers))
    for index, background in enumerate(scenario.background):
        random = generator(scenario.name, seed, "background", index)
        chosen = random.permutation(servers)[: round(background.share * servers)]
        if background.kind == "random":
            total[:, chosen] += _random(background, random, steps, len(chosen))
        else:
            total[:, chosen] += _periodic(background, random, steps, len(chosen))
    return total


def _periodic(background: Background, random: np.random.Generator, steps: int, servers: int) -> FloatArray:
    phase = random.random(servers)
    amplitude = background.amplitude * random.uniform(0.7, 1.15, servers)
    period_s = background.period_s * random.uniform(0.9, 1.1, servers)
    turn = (_middles_s(steps)[:, None] / period_s + phase) % 1.0
    if background.kind == "pulse":
        return np.asarray(amplitude * (turn < background.duty))
    return np.asarray(amplitude * 0.5 * (1 + np.sin(2 * math.pi * turn)))


def _random(background: Background, random: np.random.Generator, steps: int, servers: int) -> FloatArray:
    at_s = _middles_s(steps)
    load = _wandering(random, steps, servers, background.noise)
    for server in range(servers):
        start_s = random.exponential(background.every_s)
        while start_s < at_s[-1]:
            end_s = start_s + random.exponential(background.length_s)
            first, last = np.searchsorted(at_s, (start_s, end_s))
            load[first:last, server] += background.amplitude * random.uniform(0.6, 1.3)
            start_s = end_s + random.exponential(background.every_s)
    return np.clip(load, 0.0, RANDOM_MAX)


def _wandering(random: np.random.Generator, steps: int, servers: int, level: float) -> FloatArray:
    """An AR(1) process of mean and standard deviation `level`, shape (steps, servers)."""
    if not level:
        return np.zeros((steps, servers))
    keep = math.exp(-STEP_S / MEMORY_S)
    shocks = random.standard_normal((steps, servers)) * math.sqrt(1 - keep * keep)
    value = np.zeros(servers)
    for step in range(steps):
        value = keep * value + shocks[step]
        shocks[step] = value
    return np.asarray(level * (1 + shocks))


def _middles_s(steps: int) -> FloatArray:
    return np.arange(0.5, steps) * STEP_S
