"""What is asked of forestay in simulation, and what was measured: one verdict for each figure.

Each verdict names the scenarios that fall short, worst first. Scenarios to which a figure does not apply are not judged
by it; a figure to which no scenario applies is not judged at all.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forestay.simulation.scenario import Scenario
from forestay.simulation.statistics import MEASURE, Standing, median_gap

RATIO_MAX = 1.02
"""Delay over that of the best reactive peer: 2 % is what so many seeds cannot tell from nothing."""

GAP_MEDIAN_MIN, GAP_MIN, GAP_HINTED_MIN = 0.85, 0.0, 0.95

OVER_SLACK = 0.0005
"""Part of all work: under it, work above capacity is a second or two of one server in a run of 20 minutes."""

STORM_SHARE_MAX, STORM_OVER_MAX = 1.2, 0.5

EXCESS_MAX = 0.02
"""Of the worst server's utilisation over the fleet's, where pickers do not share placements."""

COLD_MAX = 1.2

LEAST_CONNECTIONS = "least_connections"
"""The peer that storms are compared with."""

SHOWN_MAX = 4
"""Scenarios named in a verdict."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One figure.

    Attributes:
        what: the figure.
        asked: of it.
        measured: in words, the worst scenario first.
        holds: None where no scenario applies.
        failing: every scenario that falls short, worst first.
    """

    what: str
    asked: str
    measured: str
    holds: bool | None
    failing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Figure:
    """A figure that is asked of every scenario by itself.

    Attributes:
        bound: that holds, as the most or, if `at_least`, as the least.
        of: its value; None where it does not apply.
    """

    what: str
    bound: float
    of: Callable[[Standing], float | None]
    form: str = ".3f"
    at_least: bool = False

    def judge(self, standings: Iterable[Standing]) -> Verdict:
        """One verdict over all of them."""
        asked = f"{'>=' if self.at_least else '<='} {self.bound:g}"
        found = [(value, standing.scenario) for standing in standings if (value := self.of(standing)) is not None]
        if not found:
            return Verdict(self.what, asked, "no scenario applies", None)
        found.sort(reverse=not self.at_least)
        failing = tuple(name for value, name in found if not self._holds(value))
        shown = ", ".join(
            f"{value:{self.form}} {name}" for value, name in found[: max(1, min(len(failing), SHOWN_MAX))]
        )
        head = f"{len(failing)} of {len(found)} fall short" if failing else f"worst of {len(found)}"
        return Verdict(self.what, asked, f"{head}: {shown}", not failing, failing)

    def _holds(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


def verdicts(standings: Sequence[Standing], scenarios: Mapping[str, Scenario]) -> list[Verdict]:
    """Judge a comparison in which forestay, reactive peers and the causal limit took part.

    Args:
        standings: of every scenario.
        scenarios: by name.
    """
    placing = [standing for standing in standings if standing.ratio is not None]
    hinted = [standing for standing in placing if _hints_tell_cost(scenarios[standing.scenario])]
    storms = [standing for standing in placing if _storms(scenarios[standing.scenario])]
    crowds = [standing for standing in placing if scenarios[standing.scenario].candidate.pickers > 1]

    def excess(standing: Standing) -> float:
        return (_own(standing, "max_over_mean") - 1.0) * scenarios[standing.scenario].traffic.load

    return [
        _Figure("delay / best reactive", RATIO_MAX, _ratio).judge(placing),
        _median(placing),
        _Figure("gap closed, worst", GAP_MIN, _gap, at_least=True).judge(placing),
        _Figure("gap closed, hints tell the cost", GAP_HINTED_MIN, _gap, at_least=True).judge(hinted),
        _Figure("work over 100 % above the best peer's", OVER_SLACK, _over, ".4f").judge(placing),
        _versus_best("utilisation_p99").judge(placing),
        _versus_best("slowdown_p99").judge(placing),
        _Figure("storm: accepts / fair share", STORM_SHARE_MAX, _storm).judge(storms),
        _Figure("storm: s over 100 % / least connections'", STORM_OVER_MAX, _storm_over).judge(storms),
        _Figure("pickers: worst server above the fleet", EXCESS_MAX, excess).judge(crowds),
        _Figure("cold start: connections, max / mean", COLD_MAX, _cold).judge(placing),
    ]


def _median(standings: Sequence[Standing]) -> Verdict:
    """The one figure that is asked of all scenarios together."""
    gaps = [standing.gap.value for standing in standings if standing.gap]
    what, asked = "gap closed, median", f">= {GAP_MEDIAN_MIN:g}"
    if not gaps:
        return Verdict(what, asked, "no scenario leaves a gap worth closing", None)
    median = median_gap(standings)
    quartiles = statistics.quantiles(gaps, n=4, method="inclusive") if len(gaps) > 1 else [median] * 3
    measured = f"{median:.3f} over {len(gaps)} (quartiles {quartiles[0]:.2f} and {quartiles[2]:.2f})"
    return Verdict(what, asked, measured, median >= GAP_MEDIAN_MIN)


# ---- figures of one scenario; None where they do not apply


def _ratio(standing: Standing) -> float | None:
    return None if standing.ratio is None else standing.ratio.value


def _gap(standing: Standing) -> float | None:
    return None if standing.gap is None else standing.gap.value


def _over(standing: Standing) -> float:
    return max(0.0, _own(standing, "over") - standing.least("over", "reactive")[1])


def _versus_best(measure: str) -> _Figure:
    """A measure over the least that any reactive peer has of it."""
    return _Figure(
        f"{MEASURE[measure].label} / best peer's",
        RATIO_MAX,
        lambda standing: _own(standing, measure) / standing.least(measure, "reactive")[1],
    )


def _storm(standing: Standing) -> float | None:
    share = _own(standing, "storm_share")
    return None if np.isnan(share) else share


def _storm_over(standing: Standing) -> float | None:
    """None where least connections did not run; 0 where nobody was over, infinite where only forestay was."""
    if LEAST_CONNECTIONS not in standing.means:
        return None
    ours, theirs = _own(standing, "storm_over_100_s"), standing.means[LEAST_CONNECTIONS]["storm_over_100_s"]
    if theirs == 0:
        return float("inf") if ours > 0 else 0.0
    return ours / theirs


def _cold(standing: Standing) -> float | None:
    """None where the limit itself does not spread connections evenly: they are few, or known to differ in cost."""
    measure = "cold.connections_max_over_mean"
    even = standing.limit is None or standing.means[standing.limit][measure] <= COLD_MAX
    return _own(standing, measure) if even else None


def _own(standing: Standing, measure: str) -> float:
    assert standing.candidate is not None
    return standing.means[standing.candidate][measure]


# ---- to which scenarios a figure applies


def _hints_tell_cost(scenario: Scenario) -> bool:
    return scenario.traffic.hints and len({kind.cost for kind in scenario.classes}) > 1


def _storms(scenario: Scenario) -> bool:
    return any(fault.kind == "death" for fault in scenario.faults)
