"""One instance of a scenario: everything that chance decides, drawn once and the same for every policy.

Each concern draws from a generator of its own, seeded by the scenario's name, the seed and the concern: a scenario with
background and one without see the same arrivals, and nothing depends on Python's hash seed.
"""

import math
import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from forestay.model.errors import InvalidInput
from forestay.model.plan import BoolArray, FloatArray, IntArray
from forestay.simulation import replay
from forestay.simulation.scenario import Background, Fault, Scenario

STEP_S = 0.1
"""The engine's step. Loads are exact integrals over it; everything but connections changes at steps only."""

STEPS_PER_S = 10

COLD_S = 120.0
"""The cold start, which is reported apart; surges and bursts come later."""

LIFE_MIN_S = 0.02
"""No connection is shorter."""

ACCEPT_S = 0.3
"""The work of an accept is spread over this time."""

FILL_S = 60.0
LONG_S = 30.0
"""Connections that last longer than LONG_S on average: as many as will be open at once arrive within the first FILL_S,
so that load is level from then on."""

AHEAD_STEPS = 420
"""How far background and capacity are known beyond the end, for policies that look ahead."""

LAW_SIZE = 200_000
"""Connections drawn to stand for the law that durations and costs follow."""

COST_MAX = 0.5
"""No connection costs more than this part of a server's mean capacity."""


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


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happens to a server at the start of a step.

    Attributes:
        step: when.
        kind: "die" (connections are lost), "notice" (the policy hears of it), "back", "drain" (clients leave over
            `fault.jitter_s`), "stop" (a drained server goes away), "join".
        server: which.
        fault: where it comes from.
    """

    step: int
    kind: Literal["die", "notice", "back", "drain", "stop", "join"]
    server: int
    fault: Fault


@dataclass(frozen=True, slots=True)
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
        zones: zone of each server by index; "" where there are none.
        hints: hint by class; "" where the policy is told none.
        connections: everyone who comes by himself.
        law: a large sample of the same law; without arrival times.
        rate_per_s: expected arrivals by step, shape (steps,).
        accept_work: work of one accept.
        report_noise: relative error by round of reports, shape (rounds, servers).
        report_lost: which are lost, same shape.
        jitter: evenly in [0, 1), by connection, for clients that are thrown off.
        changes: in order.
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
            InvalidInput: if the background alone exceeds the load asked for, or a trace cannot be read.
        """
        return _Builder(scenario, seed).build()


def generator(*key: str | int) -> np.random.Generator:
    """Randomness for one concern: the same key gives the same numbers in every process."""
    entropy = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in key]
    return np.random.default_rng(entropy)  # noqa: TID251 seeded by the key alone


class _Builder:
    """Draws one concern after the other."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario, self.seed = scenario, seed
        self.steps = round(scenario.minutes * 60 * STEPS_PER_S)
        self.servers = scenario.fleet.servers

    def build(self) -> World:
        scenario, fleet = self.scenario, self.scenario.fleet
        base = _log_uniform(self._random("capacity"), fleet.capacity_min, fleet.capacity_max, self.servers)
        changes, strength = self._faults()
        background = self._background()
        connections, law, rate_per_s = self._traffic()
        work = scenario.traffic.load * base.sum() - float((background[: self.steps].mean(0) * base).sum())
        if work <= 0:
            raise InvalidInput(
                f"traffic.load = {scenario.traffic.load:g}: the background alone exceeds it; raise it or lower"
                " background.amplitude"
            )
        rate = float(rate_per_s.mean()) if scenario.replay.path else self._base_rate(law)
        accepts = scenario.traffic.accept_share
        scale = work * (1 - accepts) / (rate * float(_work(law, scenario).mean()))
        cost_max = COST_MAX * float(base.mean())
        for part in (connections, law):
            np.minimum(part.cost * scale, cost_max, out=part.cost)
        self._scale_memory(connections, law, rate)
        reports = (self.steps // STEPS_PER_S + 2, self.servers)
        random = self._random("reports")
        return World(
            scenario=scenario,
            seed=self.seed,
            steps=self.steps,
            endpoint_ids=tuple(f"s{server}" for server in range(self.servers)),
            capacity=base * strength,
            background=background / strength,
            memory_size=self._memory_size(),
            zones=tuple(f"z{server % fleet.zones}" if fleet.zones else "" for server in range(self.servers)),
            hints=tuple(kind.name if scenario.traffic.hints else "" for kind in scenario.classes) or ("",),
            connections=connections,
            law=law,
            rate_per_s=rate_per_s,
            accept_work=work * accepts / rate,
            report_noise=random.standard_normal(reports) * scenario.reports.noise,
            report_lost=random.random(reports) < scenario.reports.loss,
            jitter=self._random("jitter").random(len(connections.arrives_s) + 1),
            changes=tuple(changes),
        )

    def _random(self, concern: str) -> np.random.Generator:
        return generator(self.scenario.name, self.seed, concern)

    # ---- traffic

    def _traffic(self) -> tuple[Connections, Connections, FloatArray]:
        """Who comes, the law, and expected arrivals a second by step. Costs are relative still."""
        random = self._random("connections")
        recorded = self.scenario.replay
        if recorded.path:
            trace = replay.read(recorded)
            arrives_s, origin = replay.lay_over(trace, recorded.copies, self.steps * STEP_S, self._random("arrivals"))
            connections = self._draw(random, arrives_s)
            law = self._draw(self._random("law"), np.zeros(LAW_SIZE))
            if trace.duration_s is not None:
                connections.duration_s[:] = np.maximum(trace.duration_s[origin], LIFE_MIN_S)
                law.duration_s[:] = np.resize(trace.duration_s, LAW_SIZE)
            if trace.cost is not None:
                connections.cost[:] = trace.cost[origin]
                law.cost[:] = np.resize(trace.cost, LAW_SIZE)
            rate = np.full(self.steps, len(trace.time_s) / trace.span_s * recorded.copies)
            return connections, law, rate
        law = self._draw(self._random("law"), np.zeros(LAW_SIZE))
        rate = self._rate(self._base_rate(law))
        arrivals = self._random("arrivals")
        counts = arrivals.poisson(rate * self._bursts() * STEP_S)
        arrives_s = (np.repeat(np.arange(self.steps), counts) + arrivals.random(int(counts.sum()))) * STEP_S
        return self._draw(random, np.sort(arrives_s)), law, rate

    def _base_rate(self, law: Connections) -> float:
        """Arrivals a second without surges and cycles, and after the fill: those that keep load level."""
        return self.scenario.traffic.connections / float(law.duration_s.mean())

    def _rate(self, base: float) -> FloatArray:
        """Expected arrivals a second by step; bursts are not expected."""
        scenario = self.scenario
        at_s = np.arange(self.steps) * STEP_S
        rate = np.full(self.steps, base)
        rate *= 1 + scenario.cycle.amplitude * np.sin(2 * math.pi * at_s / scenario.cycle.period_s)
        for surge in scenario.surges:
            since_s = at_s - surge.first_s
            inside = since_s >= 0
            inside &= (since_s % surge.every_s if surge.every_s else since_s) < surge.length_s
            rate[inside & (at_s > COLD_S)] *= surge.factor
        if scenario.traffic.connections / base > LONG_S:
            rate[: round(FILL_S * STEPS_PER_S)] += scenario.traffic.connections / FILL_S
        return rate

    def _bursts(self) -> FloatArray:
        """The random factor of the arrival rate by step."""
        bursts = self.scenario.bursts
        factor = np.ones(self.steps)
        if not bursts.variance:
            return factor
        random = self._random("bursts")
        pieces = int(self.steps * STEP_S / bursts.length_s * 1.2) + 50
        ends_s = COLD_S + np.cumsum(random.exponential(bursts.length_s, pieces))
        levels = random.gamma(1 / bursts.variance, bursts.variance, pieces + 1)
        at_s = np.arange(self.steps) * STEP_S
        late = at_s >= COLD_S
        factor[late] = levels[np.minimum(np.searchsorted(ends_s, at_s[late]), pieces)]
        return factor

    def _draw(self, random: np.random.Generator, arrives_s: FloatArray) -> Connections:
        """The law of everything about a connection, drawn for each arrival; costs are relative."""
        scenario, size = self.scenario, len(arrives_s)
        traffic, classes = scenario.traffic, scenario.classes
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
            duration_s = _token_durations(random, scenario, size)
        else:
            sigma = traffic.duration_sigma
            duration_s = np.exp(random.normal(math.log(traffic.duration_s) - sigma * sigma / 2, sigma, size))
        if traffic.cost_pareto:
            relative = random.pareto(traffic.cost_pareto, size) + 1
        else:
            relative = np.exp(random.normal(0.0, traffic.cost_sigma, size))
        duration_s = duration_s * life[kind]
        duration_s = np.maximum(duration_s, LIFE_MIN_S)
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

    # ---- servers

    def _memory_size(self) -> FloatArray:
        memory = self.scenario.memory
        size = _log_uniform(self._random("memory"), memory.size_min, memory.size_max, self.servers)
        return np.asarray(size / size.mean())

    def _scale_memory(self, connections: Connections, law: Connections, rate_per_s: float) -> None:
        """Make the mean of all memory in use what the scenario says."""
        held = rate_per_s * float((law.memory * np.minimum(law.duration_s, self.steps * STEP_S)).mean())
        for part in (connections, law):
            np.multiply(part.memory, self.scenario.memory.load * self.servers / held, out=part.memory)

    def _background(self) -> FloatArray:
        """Utilisation of each server by background, shape (steps + AHEAD_STEPS, servers)."""
        total = np.zeros((self.steps + AHEAD_STEPS, self.servers))
        for index, background in enumerate(self.scenario.background):
            random = generator(self.scenario.name, self.seed, "background", index)
            chosen = random.permutation(self.servers)[: round(background.share * self.servers)]
            total[:, chosen] += _background(background, random, len(total), len(chosen))
        return total

    def _faults(self) -> tuple[list[Change], FloatArray]:
        """What happens to servers, and each one's capacity over what it is by itself, by step."""
        strength = np.ones((self.steps + AHEAD_STEPS, self.servers))
        changes: list[Change] = []
        for index, fault in enumerate(self.scenario.faults):
            random = generator(self.scenario.name, self.seed, "faults", index)
            length = round(fault.length_s * STEPS_PER_S)
            every = round(fault.every_s * STEPS_PER_S)
            start = round(fault.first_s * STEPS_PER_S)
            if fault.kind == "join":
                joiners = random.permutation(self.servers)[: min(fault.servers, self.servers - 1)]
                changes += [Change(start, "join", server, fault) for server in joiners.tolist()]
                continue
            order = random.permutation(self.servers).tolist()
            done = 0
            while start < self.steps:
                hit = [order[(done + k) % self.servers] for k in range(min(fault.servers, self.servers))]
                done += len(hit)
                for server in hit:
                    if fault.kind == "degrade":
                        strength[start : start + length if length else None, server] *= fault.factor
                    else:
                        changes += _outage(fault, server, start, length)
                if not every or (fault.kind == "deploy" and done >= self.servers):
                    break
                start += every
        return sorted(changes, key=lambda change: change.step), strength


def _outage(fault: Fault, server: int, start: int, length: int) -> list[Change]:
    """Steps of one death or deployment of one server."""
    if fault.kind == "death":
        gone = start
        found = start + round(fault.detect_s * STEPS_PER_S)
        changes = [Change(start, "die", server, fault), Change(found, "notice", server, fault)]
    else:
        gone = start + max(round(fault.jitter_s * STEPS_PER_S), 1)
        changes = [Change(start, "drain", server, fault), Change(gone, "stop", server, fault)]
    if length:
        changes.append(Change(max(gone + length, changes[-1].step), "back", server, fault))
    return changes


def _background(background: Background, random: np.random.Generator, steps: int, servers: int) -> FloatArray:
    """Utilisation of `servers` servers that have it, shape (steps, servers)."""
    at_s = (np.arange(steps) + 0.5) * STEP_S
    if background.kind != "random":
        phase = random.random(servers)
        amplitude = background.amplitude * random.uniform(0.7, 1.15, servers)
        period_s = background.period_s * random.uniform(0.9, 1.1, servers)
        turn = (at_s[:, None] / period_s + phase) % 1.0
        if background.kind == "pulse":
            return np.asarray(amplitude * (turn < background.duty))
        return np.asarray(amplitude * 0.5 * (1 + np.sin(2 * math.pi * turn)))
    load = _wandering(random, steps, servers, background.noise)
    for server in range(servers):
        start_s = random.exponential(background.every_s)
        while start_s < at_s[-1]:
            end_s = start_s + random.exponential(background.length_s)
            first, last = np.searchsorted(at_s, (start_s, end_s))
            load[first:last, server] += background.amplitude * random.uniform(0.6, 1.3)
            start_s = end_s + random.exponential(background.every_s)
    return np.clip(load, 0.0, 0.7)


def _wandering(random: np.random.Generator, steps: int, servers: int, level: float) -> FloatArray:
    """An AR(1) process of mean and standard deviation `level` that forgets in 20 s, shape (steps, servers)."""
    if not level:
        return np.zeros((steps, servers))
    keep = math.exp(-STEP_S / 20.0)
    shocks = random.standard_normal((steps, servers)) * math.sqrt(1 - keep * keep)
    value = np.zeros(servers)
    for step in range(steps):
        value = keep * value + shocks[step]
        shocks[step] = value
    return np.asarray(level * (1 + shocks))


def _token_durations(random: np.random.Generator, scenario: Scenario, size: int) -> FloatArray:
    tokens = scenario.tokens
    assert tokens is not None
    read = tokens.input_median * np.exp(random.normal(0.0, tokens.input_sigma, size))
    short = tokens.output_median * np.exp(random.normal(0.0, tokens.output_sigma, size))
    long = tokens.long_median * np.exp(random.normal(0.0, tokens.long_sigma, size))
    written = np.where(random.random(size) < tokens.long_share, long, short)
    return np.asarray(tokens.base_s + read * tokens.seconds_per_input + written * tokens.seconds_per_output)


def _work(law: Connections, scenario: Scenario) -> FloatArray:
    """Work that each connection of the law does in its life, accepts apart."""
    traffic, hot = scenario.traffic, scenario.hot
    duration_s = law.duration_s
    missing_s = np.zeros(1)
    if traffic.ramp_s:
        ramp_s = np.minimum(duration_s, traffic.ramp_s)
        missing_s = (1 - traffic.ramp_start) * (ramp_s - ramp_s * ramp_s / (2 * traffic.ramp_s))
    left_s = np.where(np.isfinite(law.hot_s), duration_s - np.where(np.isfinite(law.hot_s), law.hot_s, 0.0), 0.0)
    extra_s = (hot.factor - 1) * np.minimum(left_s, hot.length_s)
    return law.cost * (duration_s - missing_s + extra_s)


def _log_uniform(random: np.random.Generator, low: float, high: float, size: int) -> FloatArray:
    return np.exp(random.uniform(math.log(low), math.log(high), size))
