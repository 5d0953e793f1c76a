"""One instance of a scenario: everything that chance decides, drawn once and the same for every policy.

Each concern draws from a generator of its own, seeded by the scenario's name, the seed and the concern: a scenario with
background and one without see the same arrivals, and nothing depends on Python's hash seed.
"""

from dataclasses import dataclass

import numpy as np

from forestay.model.errors import InvalidInput
from forestay.model.plan import BoolArray, FloatArray
from forestay.simulation.background import draw_background
from forestay.simulation.chance import generator, log_uniform
from forestay.simulation.faults import Change, draw_faults
from forestay.simulation.scenario import Scenario
from forestay.simulation.steps import AHEAD_STEPS, STEPS_PER_S
from forestay.simulation.traffic import Connections, Traffic, draw_traffic, work_of

ACCEPT_S = 0.3
"""The work of an accept is spread over this time."""

COST_MAX = 0.5
"""No connection costs more than this part of a server's mean capacity."""


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """See the module.

    Attributes:
        scenario: what it is an instance of.
        seed: which instance.
        steps: length of the run.
        endpoint_ids: of the servers.
        capacity: of each server by step, shape (steps + AHEAD_STEPS, servers); changes where it degrades.
        background: utilisation by what is not a connection, same shape.
        memory_size: of each server, shape (servers,), mean 1.
        zones: zone of each server; "" where there are none.
        hints: hint by class; "" where the policy is told none.
        connections: everyone who comes by himself.
        law: a large sample of the same law; without arrival times.
        rate_per_s: expected arrivals by step, shape (steps,).
        accept_work: work of one accept.
        report_noise: relative error by round of reports, shape (rounds, servers).
        report_lost: which are lost, same shape.
        jitter: evenly in [0, 1), by connection, for clients that are thrown off.
        changes: of servers, in order.
    """

    scenario: Scenario
    seed: int
    steps: int
    endpoint_ids: tuple[str, ...]
    capacity: FloatArray
    background: FloatArray
    memory_size: FloatArray
    zones: tuple[str, ...]
    hints: tuple[str, ...]
    connections: Connections
    law: Connections
    rate_per_s: FloatArray
    accept_work: float
    report_noise: FloatArray
    report_lost: BoolArray
    jitter: FloatArray
    changes: tuple[Change, ...]

    @property
    def mean_cost(self) -> float:
        """Of a connection at full cost, by the law."""
        return float(self.law.cost.mean())

    @classmethod
    def build(cls, scenario: Scenario, seed: int) -> "World":
        """Draw the instance `seed`.

        Raises:
            InvalidInput: if the background alone exceeds the load asked for, or a recording cannot be used.
        """
        fleet, memory, servers = scenario.fleet, scenario.memory, scenario.fleet.servers
        steps = round(scenario.minutes * 60 * STEPS_PER_S)
        size = log_uniform(generator(scenario.name, seed, "capacity"), fleet.capacity_min, fleet.capacity_max, servers)
        room = log_uniform(generator(scenario.name, seed, "memory"), memory.size_min, memory.size_max, servers)
        background = draw_background(scenario, seed, steps + AHEAD_STEPS)
        changes, strength = draw_faults(scenario, seed, steps)
        traffic = draw_traffic(scenario, seed, steps)
        accept_work = _scale_costs(scenario, traffic, size, background[:steps])
        _scale_memory(scenario, traffic)
        reports = generator(scenario.name, seed, "reports")
        rounds = (steps // STEPS_PER_S + 2, servers)
        return cls(
            scenario=scenario,
            seed=seed,
            steps=steps,
            endpoint_ids=tuple(f"s{server}" for server in range(servers)),
            capacity=size * strength,
            background=background / strength,
            memory_size=room / room.mean(),
            zones=tuple(f"z{server % fleet.zones}" if fleet.zones else "" for server in range(servers)),
            hints=tuple(kind.name if scenario.traffic.hints else "" for kind in scenario.classes) or ("",),
            connections=traffic.connections,
            law=traffic.law,
            rate_per_s=traffic.rate_per_s,
            accept_work=accept_work,
            report_noise=reports.standard_normal(rounds) * scenario.reports.noise,
            report_lost=reports.random(rounds) < scenario.reports.loss,
            jitter=generator(scenario.name, seed, "jitter").random(len(traffic.connections.arrives_s) + 1),
            changes=changes,
        )


def _scale_costs(scenario: Scenario, traffic: Traffic, size: FloatArray, background: FloatArray) -> float:
    """Make all work together what the scenario's load says; returns the work of one accept."""
    total = scenario.traffic.load * float(size.sum()) - float((background.mean(0) * size).sum())
    if total <= 0:
        raise InvalidInput(
            f"traffic.load = {scenario.traffic.load:g}: the background alone exceeds it; raise it or lower"
            " background.amplitude"
        )
    accepts = total * scenario.traffic.accept_share
    scale = (total - accepts) / (traffic.level_per_s * float(work_of(traffic.law, scenario).mean()))
    for part in (traffic.connections, traffic.law):
        np.minimum(part.cost * scale, COST_MAX * float(size.mean()), out=part.cost)
    return accepts / traffic.level_per_s


def _scale_memory(scenario: Scenario, traffic: Traffic) -> None:
    """Make the mean of all memory in use what the scenario says."""
    law = traffic.law
    lives_s = np.minimum(law.duration_s, scenario.minutes * 60)
    held = traffic.level_per_s * float((law.memory * lives_s).mean())
    for part in (traffic.connections, law):
        np.multiply(part.memory, scenario.memory.load * scenario.fleet.servers / held, out=part.memory)
