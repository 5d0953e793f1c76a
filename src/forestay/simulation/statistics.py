"""What many runs come to: the best reactive peer of a scenario, the causal limit, and where between them forestay is.

Policies of one scenario and seed met the same arrivals, so everything is compared seed by seed: ratios and gaps are
those of sums over seeds, and their confidence intervals come from drawing seeds again (bootstrap; always the same
draws, so that the same outcomes give the same intervals).

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13 (percentile intervals).
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

import numpy as np

from forestay.model.plan import FloatArray
from forestay.simulation.contenders import Role
from forestay.simulation.outcome import DELAY_LEVELS, Outcome

CONFIDENCE = 0.95

DRAWS = 2000
"""Of a bootstrap: the ends of an interval move by some hundredths of its width between sets of so many draws."""

WORTH_CLOSING = 0.05
"""Part of the best reactive peer's delay that the limit must save before a gap means anything."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its confidence interval; all three equal where there is a single seed."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of an outcome in which policies compete; lower is better.

    Attributes:
        name: in JSON.
        label: for people.
        head: the same in six letters, for narrow columns.
        form: its format.
        percent: shown times 100.
    """

    name: str
    label: str
    head: str
    form: str
    percent: bool = False

    def of(self, outcome: Outcome) -> float:
        """Its value."""
        if self.name == "slowdown_p99":
            return outcome.delay_quantiles[DELAY_LEVELS.index(0.99)]
        return float(attrgetter(self.name)(outcome))

    def show(self, value: float) -> str:
        """A value for people."""
        return "-" if np.isnan(value) else format(100 * value if self.percent else value, self.form)


MEASURES = (
    Measure("delay", "delay", "delay", ".3f"),
    Measure("slowdown_p99", "slowdown p99", "p99", ".2f"),
    Measure("utilisation_p99", "utilisation p99", "util99", ".3f"),
    Measure("over", "% of work over 100 %", "over%", ".2f", percent=True),
    Measure("max_over_mean", "busiest server / mean", "max/m", ".2f"),
    Measure("over_70_s", "server-seconds over 70 %", ">70,s", ".0f"),
    Measure("over_100_s", "server-seconds over 100 %", ">100,s", ".0f"),
    Measure("storm_share", "storm: accepts / fair share", "storm", ".2f"),
    Measure("return_share", "return: accepts / fair share", "return", ".2f"),
    Measure("storm_over_100_s", "storm: server-seconds over 100 %", "st>100", ".0f"),
    Measure("cold.delay", "cold start: delay", "cold d", ".3f"),
    Measure("cold.connections_max_over_mean", "cold start: connections max / mean", "cold", ".2f"),
    Measure("wait_mean_s", "wait, mean s", "wait", ".3f"),
    Measure("wait_p99_s", "wait, p99 s", "wait99", ".2f"),
    Measure("memory_max", "memory, fullest server", "memory", ".2f"),
    Measure("refused", "refused", "refused", ".0f"),
)
"""In the order of the reports."""

MEASURE = {measure.name: measure for measure in MEASURES}


@dataclass(frozen=True, slots=True)
class Standing:
    """One scenario over all seeds.

    Attributes:
        scenario: its name.
        seeds: of the runs, ascending.
        roles: of every policy that ran, those with the least mean delay first.
        runs: by policy, with how many of the seeds it ran. Those that did not run with all are out of the running.
        means: mean over its seeds by policy and name of measure; NaN where a measure does not apply.
        delay: mean delay by policy with its interval.
        candidate: name of forestay's policy; None if it did not run.
        best: the reactive peer with the least mean delay; None if none ran.
        limit: the variant of the causal limit with the least mean delay; None if none ran.
        ratio: the candidate's delay over that of `best`; None without both.
        ratio_worst: the same of the worst seed.
        room: part of the delay of `best` that `limit` saves; None without both.
        gap: part of it that the candidate saves too; 1 is the limit, 0 is `best`. None where `room` is no more than
            `WORTH_CLOSING`, or a part is missing.
        above_limit: the candidate's delay over that of `limit`; None without both.
        losses: by policy that is told a piece of the truth, the candidate's delay over its own.
    """

    scenario: str
    seeds: tuple[int, ...]
    roles: dict[str, Role]
    runs: dict[str, int]
    means: dict[str, dict[str, float]]
    delay: dict[str, Interval]
    candidate: str | None
    best: str | None
    limit: str | None
    ratio: Interval | None
    ratio_worst: float | None
    room: float | None
    gap: Interval | None
    above_limit: Interval | None
    losses: dict[str, Interval]

    def named(self, *roles: Role) -> list[str]:
        """Policies of these roles that ran with all seeds, least mean delay first."""
        return [p for p, role in self.roles.items() if role in roles and self.runs[p] == len(self.seeds)]

    def least(self, measure: str, *roles: Role) -> tuple[str, float]:
        """The policy of these roles with the least mean of a measure that applies to all, and that mean."""
        policy = min(self.named(*roles), key=lambda policy: self.means[policy][measure])
        return policy, self.means[policy][measure]


def standings(outcomes: Iterable[Outcome], roles: Mapping[str, Role]) -> list[Standing]:
    """One for each scenario, in the order of the outcomes.

    Args:
        outcomes: of a scenario, policies with the same seeds, or some with fewer of them.
        roles: of every policy.
    """
    by_scenario: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_scenario.setdefault(outcome.scenario, []).append(outcome)
    return [_standing(name, runs, roles) for name, runs in by_scenario.items()]


def median_gap(found: Iterable[Standing]) -> float:
    """Over the scenarios that leave a gap worth closing; NaN if none does."""
    gaps = [standing.gap.value for standing in found if standing.gap]
    return statistics.median(gaps) if gaps else float("nan")


def _standing(name: str, runs: Sequence[Outcome], roles: Mapping[str, Role]) -> Standing:
    seeds = sorted({run.seed for run in runs})
    by_policy: dict[str, dict[int, Outcome]] = {}
    for run in runs:
        by_policy.setdefault(run.policy, {})[run.seed] = run
    means = {
        policy: {measure.name: _mean([measure.of(run) for run in of.values()]) for measure in MEASURES}
        for policy, of in by_policy.items()
    }
    ordered = sorted(by_policy, key=lambda policy: (means[policy]["delay"], policy))
    delays = {
        policy: np.array([by_policy[policy][seed].delay for seed in sorted(by_policy[policy])]) for policy in ordered
    }
    whole = [policy for policy in ordered if len(by_policy[policy]) == len(seeds)]

    def first(role: Role) -> str | None:
        return next((policy for policy in whole if roles[policy] == role), None)

    def ratio_of(one: str, other: str) -> Interval:
        return bootstrap([delays[one], delays[other]], lambda sums: sums[0] / sums[1])

    candidate, best, limit = first("candidate"), first("reactive"), first("limit")
    ratio = ratio_worst = room = gap = None
    if candidate and best:
        ratio = ratio_of(candidate, best)
        ratio_worst = float(np.max(delays[candidate] / delays[best]))
    if limit and best:
        room = 1.0 - means[limit]["delay"] / means[best]["delay"]
        if candidate and room > WORTH_CLOSING:
            gap = bootstrap(
                [delays[best], delays[candidate], delays[limit]],
                lambda sums: (sums[0] - sums[1]) / (sums[0] - sums[2]),
            )
    return Standing(
        scenario=name,
        seeds=tuple(seeds),
        roles={policy: roles[policy] for policy in ordered},
        runs={policy: len(by_policy[policy]) for policy in ordered},
        means=means,
        delay={policy: bootstrap([delays[policy]], partial(_mean_of, count=len(delays[policy]))) for policy in ordered},
        candidate=candidate,
        best=best,
        limit=limit,
        ratio=ratio,
        ratio_worst=ratio_worst,
        room=room,
        gap=gap,
        above_limit=ratio_of(candidate, limit) if candidate and limit else None,
        losses={
            told: ratio_of(candidate, told)
            for told in by_policy
            if candidate and told in whole and roles[told] == "told"
        },
    )


def bootstrap(paired: Sequence[FloatArray], statistic: Callable[[FloatArray], FloatArray]) -> Interval:
    """A statistic of sums over seeds, with the interval that drawing the seeds again gives.

    Args:
        paired: a row of values for each policy, one value for each seed, in the same order.
        statistic: of the sums, shape (policies,) or (policies, draws).
    """
    values = np.array(paired)
    seeds = values.shape[1]
    rng = np.random.default_rng(seeds)  # noqa: TID251 - the same outcomes shall give the same intervals
    drawn = values[:, rng.integers(0, seeds, (DRAWS, seeds))].sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):  # a draw in which the limit saves nothing has no gap
        spread = statistic(drawn)
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.nanquantile(spread, (tail, 1.0 - tail))
    return Interval(float(statistic(values.sum(axis=1))), float(low), float(high))


def _mean_of(sums: FloatArray, count: int) -> FloatArray:
    return sums[0] / count  # type: ignore[no-any-return] # a row, or a number


def _mean(values: Sequence[float]) -> float:
    """Of the seeds to which the measure applies."""
    known = [value for value in values if not np.isnan(value)]
    return sum(known) / len(known) if known else float("nan")
