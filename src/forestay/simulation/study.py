"""A study: which scenarios, how many seeds, which policies; run, judged and gathered in one report."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from forestay.model.errors import InvalidInput
from forestay.simulation.cache import Cache
from forestay.simulation.comparison import Case, Find, Progress, compare
from forestay.simulation.contenders import STANDARD, find
from forestay.simulation.outcome import Outcome
from forestay.simulation.report import About, Report
from forestay.simulation.scenario import Scenario, names
from forestay.simulation.space import draw
from forestay.simulation.statistics import Standing, standings
from forestay.simulation.verdicts import LEAST_CONNECTIONS, verdicts

SEEDS, SEEDS_OF_DRAWN = 20, 5
"""Of a named and of a drawn scenario in the whole matrix: what it takes to tell 2 % from nothing, and many worlds."""

DRAWN = 100
"""Scenarios drawn for the whole matrix."""

PILOT = 1
"""Seeds of the whole matrix with which everybody runs. Policies of one seed meet the same arrivals: one is enough to
tell who is more than a tenth behind."""

NEAR = 1.1
"""Delay over that of the best reactive peer, after the pilot, up to which a peer runs on."""

QUICK = ("steady", "short", "ramp10", "periodic15", "two_classes", "death")
"""A first impression: nothing to win, staleness, ramp-up, background, hidden cost, a storm."""


@dataclass(frozen=True, slots=True)
class Study:
    """What shall run.

    Attributes:
        seeds: how many of each scenario, from 0 on.
        policies: names.
        pilot: with how many seeds everybody runs. With the others only those run whose figures can matter: forestay,
            the best limit, least connections, and the reactive peers not far behind the best. None: all run always.
        find: who is meant by the names.
    """

    seeds: Mapping[Scenario, int]
    policies: tuple[str, ...] = STANDARD
    pilot: int | None = None
    find: Find = field(default=find)

    def __post_init__(self) -> None:
        called = [scenario.name for scenario in self.seeds]
        if twice := sorted({name for name in called if called.count(name) > 1}):
            raise InvalidInput(f"scenario {twice[0]!r}: given twice; give each another name")

    @property
    def seeds_range(self) -> tuple[int, int]:
        """Fewest and most seeds of a scenario."""
        return min(self.seeds.values()), max(self.seeds.values())

    @property
    def minutes_range(self) -> tuple[float, float]:
        """Shortest and longest run."""
        minutes = [scenario.minutes for scenario in self.seeds]
        return min(minutes), max(minutes)

    def run(
        self,
        about: About,
        cache: Cache | None,
        jobs: int,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> Report:
        """Run, or look up, everything; see `compare` for what is raised."""
        if cache:
            cache.prune()
        roles = {name: self.find(name).role for name in self.policies}
        named = {scenario.name: scenario for scenario in self.seeds}
        everybody = dict.fromkeys(named, self.policies)
        outcomes = compare(self._cases(everybody, 0, self.pilot), self.find, cache, jobs, on_progress)
        if self.pilot is not None:
            left = {standing.scenario: finalists(standing) for standing in standings(outcomes, roles)}
            outcomes += compare(self._cases(left, self.pilot, None), self.find, cache, jobs, on_progress)
        order = {name: place for place, name in enumerate(named)}
        outcomes.sort(key=lambda outcome: order[outcome.scenario])
        found = standings(outcomes, roles)
        judged = {"candidate", "reactive", "limit"} <= set(roles.values())
        return Report(about, named, found, verdicts(found, named) if judged else (), outcomes)

    def _cases(self, policies: Mapping[str, tuple[str, ...]], first: int, until: int | None) -> list[Case]:
        """Seed by seed: whoever stops it has complete seeds of all scenarios, and the time that is left can be told.

        Args:
            policies: by scenario.
            first: seed.
            until: seed after the last one; None: to the end.
        """
        most = max(self.seeds.values(), default=0)
        # Those with many pickers take longest: first, so that no core waits for another at the end.
        longest_first = sorted(self.seeds.items(), key=lambda item: -item[0].candidate.pickers)
        return [
            Case(scenario, seed, policies[scenario.name])
            for seed in range(first, most if until is None else min(until, most))
            for scenario, seeds in longest_first
            if seed < seeds
        ]

    def run_timed(
        self,
        found: Iterable[Standing],
        cache: Cache | None,
        jobs: int,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> dict[str, list[Outcome]]:
        """The first seed of some scenarios again, with load over time, for the policies that say most; by scenario."""
        of_name = {scenario.name: scenario for scenario in self.seeds}
        cases = [Case(of_name[standing.scenario], 0, telling(standing), series=True) for standing in found]
        timed: dict[str, list[Outcome]] = {}
        for outcome in compare(cases, self.find, cache, jobs, on_progress):
            timed.setdefault(outcome.scenario, []).append(outcome)
        return timed


def telling(standing: Standing) -> tuple[str, ...]:
    """Policies whose load over time is shown: forestay, the best reactive peer, least connections, the limit."""
    named = (standing.candidate, standing.best, LEAST_CONNECTIONS, standing.limit)
    return tuple(dict.fromkeys(policy for policy in named if policy in standing.roles))


def finalists(standing: Standing) -> tuple[str, ...]:
    """Who runs on after the pilot."""
    reactive = standing.named("reactive")
    near = [policy for policy in reactive if standing.delay[policy].value <= NEAR * standing.delay[reactive[0]].value]
    chosen = {
        *standing.named("candidate", "told"),
        *standing.named("limit")[:1],
        *reactive[:3],
        *near,
        LEAST_CONNECTIONS,
    }
    return tuple(policy for policy in standing.roles if policy in chosen)


def drawn(count: int, first: int = 0) -> list[Scenario]:
    """Scenarios of the space of worlds, by their numbers."""
    return [draw(number) for number in range(first, first + count)]


def whole(seeds: int | None = None, random: int | None = None) -> dict[Scenario, int]:
    """The whole matrix: every named scenario, and drawn ones with `SEEDS_OF_DRAWN` seeds at most.

    Args:
        seeds: of a named scenario; None: `SEEDS`.
        random: scenarios to draw; None: `DRAWN`.
    """
    seeds, random = seeds or SEEDS, DRAWN if random is None else random
    return dict.fromkeys(map(Scenario.named, names()), seeds) | dict.fromkeys(drawn(random), min(seeds, SEEDS_OF_DRAWN))


def shortened(seeds: Mapping[Scenario, int], minutes: float | None) -> dict[Scenario, int]:
    """The same with another length of the runs; None: as each scenario says."""
    if minutes is None:
        return dict(seeds)
    return {scenario.model_copy(update={"minutes": minutes}): count for scenario, count in seeds.items()}
