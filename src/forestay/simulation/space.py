"""The space of worlds: any number names a scenario in it, which nobody chose.

Every concern of a scenario is drawn on its own, and most of them are absent most of the time: worlds differ as much as
can be while each has a few oddities only. What depends on each other is what else would make no sense: load leaves room
for surges and for the servers that are away.
"""

import math
from typing import TypeVar

from forestay.simulation.chance import generator
from forestay.simulation.scenario import (
    Background,
    Bursts,
    Candidate,
    Class,
    Cycle,
    Fault,
    Fleet,
    Hot,
    Memory,
    Reports,
    Scenario,
    Surge,
    Tokens,
    Traffic,
)

T = TypeVar("T")

PREFIX = "random:"

ARRIVALS_MAX_PER_S = 100.0
CONNECTIONS_MAX = 6000.0
"""Bounds of what a run costs, not of the space."""

LOAD_MAX = 0.85
"""Of the capacity that is left when servers are away, at the top of a cycle."""


def draw(number: int) -> Scenario:
    """Scenario `number`, >= 0, of the space; the same one always."""
    return _Draw(number).scenario()


class _Draw:
    """Draws one concern after the other, each from a generator of its own: a concern more changes no other."""

    def __init__(self, number: int) -> None:
        self.number = number

    def scenario(self) -> Scenario:
        fleet = self.fleet()
        faults = self.faults(fleet.servers)
        surges, cycle, background = self.surges(), self.cycle(), self.background()
        tokens = self.tokens()
        away = sum(_away(fault) for fault in faults) / fleet.servers
        room = LOAD_MAX * max(1 - 1.5 * away, 0.4) / (1 + cycle.amplitude)
        if surges:
            room = min(room, 0.5)
        traffic = self.traffic(fleet.servers, room, tokens)
        if sum(_mean(each) for each in background) > 0.7 * traffic.load:
            background = ()
        return Scenario(
            name=f"{PREFIX}{self.number}",
            description=f"Number {self.number} of the space of worlds.",
            fleet=fleet,
            traffic=traffic,
            classes=() if tokens else self.classes(),
            tokens=tokens,
            bursts=self.bursts(tokens),
            hot=self.hot(),
            background=background,
            surges=surges,
            cycle=cycle,
            reports=self.reports(),
            faults=faults,
            memory=self.memory(),
            candidate=self.candidate(),
        )

    def fleet(self) -> Fleet:
        chance = _Chance(self.number, "fleet")
        ratio = chance.pick((1.0, 10 / 3, 10 / 3, chance.log(1.5, 16.0)))
        return Fleet(
            servers=chance.pick((4, 8, 16, 16, 24, 40)),
            capacity_min=ratio**-0.5,
            capacity_max=ratio**0.5,
            declared=chance.happens(0.1),
            discipline="fifo" if chance.happens(0.15) else "sharing",
            zones=chance.pick((2, 3)) if chance.happens(0.1) else 0,
        )

    def traffic(self, servers: int, load_max: float, tokens: Tokens | None) -> Traffic:
        chance = _Chance(self.number, "traffic")
        load = min(chance.even(0.35, LOAD_MAX), load_max)
        duration_s = tokens.mean_s if tokens else chance.log(5.0, 240.0)
        connections = min(chance.log(8.0, 150.0) * servers, CONNECTIONS_MAX, ARRIVALS_MAX_PER_S * duration_s)
        ramps = not tokens and chance.happens(0.35)
        return Traffic(
            connections=round(connections),
            load=load,
            duration_s=duration_s,
            duration_sigma=chance.even(0.4, 1.5),
            cost_sigma=chance.even(0.1, 1.0),
            cost_pareto=chance.even(1.3, 2.5) if chance.happens(0.1) else 0.0,
            ramp_s=chance.log(3.0, 40.0) if ramps else 0.0,
            ramp_start=chance.even(0.0, 0.4),
            accept_share=chance.even(0.02, 0.25) if chance.happens(0.25) else 0.0,
            hints=chance.happens(0.4),
        )

    def classes(self) -> tuple[Class, ...]:
        chance = _Chance(self.number, "classes")
        if not chance.happens(0.25):
            return ()
        heavy = [
            Class(name=name, share=chance.even(0.05, 0.4), cost=chance.log(2.0, 10.0), duration=chance.log(0.3, 3.0))
            for name in ("b", "c")[: chance.pick((1, 1, 2))]
        ]
        return (Class(name="a", share=1 - sum(each.share for each in heavy)), *heavy)

    def tokens(self) -> Tokens | None:
        chance = _Chance(self.number, "tokens")
        if not chance.happens(0.1):
            return None
        return Tokens(
            input_median=chance.log(500.0, 10_000.0),
            input_sigma=chance.even(0.7, 1.4),
            output_median=chance.log(8.0, 30.0),
            output_sigma=chance.even(0.5, 1.0),
            long_share=chance.even(0.02, 0.6),
            long_median=chance.log(100.0, 400.0),
            long_sigma=chance.even(0.4, 0.8),
            seconds_per_input=chance.log(0.00003, 0.0003),
            seconds_per_output=chance.log(0.01, 0.06),
        )

    def bursts(self, tokens: Tokens | None) -> Bursts:
        chance = _Chance(self.number, "bursts")
        if not chance.happens(0.5 if tokens else 0.1):
            return Bursts()
        return Bursts(variance=chance.log(0.1, 1.0), length_s=chance.log(2.0, 20.0))

    def hot(self) -> Hot:
        chance = _Chance(self.number, "hot")
        if not chance.happens(0.08):
            return Hot()
        return Hot(share=chance.log(0.002, 0.05), factor=chance.log(5.0, 30.0), length_s=chance.log(3.0, 60.0))

    def background(self) -> tuple[Background, ...]:
        chance = _Chance(self.number, "background")
        share = chance.even(0.3, 1.0)
        match chance.pick(("pulse", "pulse", "pulse", "random", "random", "sine", "", "", "", "")):
            case "pulse":
                period_s, duty = chance.log(8.0, 100.0), chance.even(0.15, 0.5)
                amplitude = chance.even(0.15, 0.45)
                return (Background(kind="pulse", share=share, amplitude=amplitude, period_s=period_s, duty=duty),)
            case "sine":
                amplitude, period_s = chance.even(0.1, 0.4), chance.log(15.0, 120.0)
                return (Background(kind="sine", share=share, amplitude=amplitude, period_s=period_s),)
            case "random":
                work = Background(
                    kind="random",
                    share=share,
                    amplitude=chance.even(0.1, 0.3),
                    length_s=chance.log(4.0, 30.0),
                    every_s=chance.log(20.0, 90.0),
                    noise=chance.even(0.0, 0.08),
                )
                return (work,)
            case _:
                return ()

    def surges(self) -> tuple[Surge, ...]:
        chance = _Chance(self.number, "surges")
        if not chance.happens(0.15):
            return ()
        surge = Surge(
            first_s=chance.even(125.0, 240.0),
            every_s=chance.even(60.0, 240.0),
            length_s=chance.log(3.0, 30.0),
            factor=chance.even(1.5, 3.0),
            announced_s=chance.even(10.0, 60.0) if chance.happens(0.5) else 0.0,
        )
        return (surge,)

    def cycle(self) -> Cycle:
        chance = _Chance(self.number, "cycle")
        if not chance.happens(0.1):
            return Cycle()
        return Cycle(period_s=chance.log(200.0, 1500.0), amplitude=chance.even(0.1, 0.6))

    def reports(self) -> Reports:
        chance = _Chance(self.number, "reports")
        if not chance.happens(0.25):
            return Reports()
        return Reports(
            interval_s=chance.pick((1, 1, 1, 2, 5)),
            delay_s=chance.even(0.1, 4.0),
            noise=chance.even(0.0, 0.1),
            loss=chance.even(0.0, 0.3),
            quantum=chance.pick((0.0, 0.0, 0.01, 0.05)),
        )

    def faults(self, servers: int) -> tuple[Fault, ...]:
        chance = _Chance(self.number, "faults")
        faults = []
        if chance.happens(0.1):
            death = Fault(
                kind="death",
                first_s=chance.even(130.0, 300.0),
                every_s=chance.even(120.0, 300.0),
                length_s=chance.even(20.0, 80.0),
                jitter_s=chance.even(0.0, 10.0) if chance.happens(0.5) else 0.0,
                detect_s=chance.even(0.2, 5.0) if chance.happens(0.3) else 0.0,
            )
            faults.append(death)
        if chance.happens(0.07):
            degrade = Fault(
                kind="degrade",
                first_s=chance.even(200.0, 600.0),
                servers=chance.pick((1, max(servers // 8, 1))),
                length_s=chance.even(60.0, 600.0) if chance.happens(0.5) else 0.0,
                factor=chance.even(0.3, 0.8),
            )
            faults.append(degrade)
        if chance.happens(0.05):
            first_s, away_s = chance.even(150.0, 300.0), chance.even(5.0, 30.0)
            jitter_s = chance.even(2.0, 20.0)
            deploy = Fault(
                kind="deploy",
                first_s=first_s,
                every_s=away_s + jitter_s + chance.even(0.0, 10.0),
                length_s=away_s,
                jitter_s=jitter_s,
            )
            faults.append(deploy)
        if chance.happens(0.05):
            joiners = chance.pick((1, max(servers // 8, 1)))
            faults.append(Fault(kind="join", first_s=chance.even(200.0, 600.0), servers=joiners))
        return tuple(faults)

    def memory(self) -> Memory:
        chance = _Chance(self.number, "memory")
        if not chance.happens(0.07):
            return Memory()
        ratio = chance.pick((1.0, chance.log(1.2, 3.0)))
        return Memory(
            load=chance.even(0.3, 0.7), sigma=chance.even(0.2, 1.0), size_min=ratio**-0.5, size_max=ratio**0.5
        )

    def candidate(self) -> Candidate:
        chance = _Chance(self.number, "candidate")
        return Candidate(pickers=chance.pick((2, 4, 8, 20)) if chance.happens(0.1) else 1)


class _Chance:
    """Randomness for one concern of one scenario."""

    def __init__(self, number: int, concern: str) -> None:
        self._random = generator("space", number, concern)

    def happens(self, probability: float) -> bool:
        return bool(self._random.random() < probability)

    def even(self, low: float, high: float) -> float:
        return float(self._random.uniform(low, high))

    def log(self, low: float, high: float) -> float:
        return math.exp(self.even(math.log(low), math.log(high)))

    def pick(self, options: tuple[T, ...]) -> T:
        return options[int(self._random.integers(len(options)))]


def _away(fault: Fault) -> float:
    """Servers whose capacity is missing while the fault lasts."""
    return fault.servers * (1 - fault.factor) if fault.kind == "degrade" else fault.servers


def _mean(background: Background) -> float:
    """Mean utilisation of the whole fleet by it, roughly."""
    if background.kind == "pulse":
        share_on = background.duty
    elif background.kind == "sine":
        share_on = 0.5
    else:
        share_on = background.length_s / (background.length_s + background.every_s)
    return background.share * (background.amplitude * share_on + background.noise)
