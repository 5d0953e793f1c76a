import math
from typing import Any

import pytest

from forestay.simulation.outcome import Outcome
from forestay.simulation.scenario import Scenario
from forestay.simulation.statistics import standings
from forestay.simulation.verdicts import Verdict, verdicts
from tests.simulation.outcomes import ROLES, outcome

STORM = '[[faults]]\nkind = "death"\n'
HINTED = (
    "[traffic]\nhints = true\n"
    '[[classes]]\nname = "small"\nshare = 0.5\n[[classes]]\nname = "large"\nshare = 0.5\ncost = 4.0\n'
)
CROWD = "[traffic]\nload = 0.6\n[candidate]\npickers = 20\n"


def trio(
    name: str, own: float, peer: float = 4.0, limit: float = 2.0, theirs: dict[str, Any] | None = None, **ours: Any
) -> list[Outcome]:
    return [
        outcome("forestay", own, name, **ours),
        outcome("least_connections", peer, name, **(theirs or {})),
        outcome("limit", limit, name),
    ]


def judged(what: str, outcomes: list[Outcome], text: str = "") -> Verdict:
    scenarios = {run.scenario: Scenario.parse(text, run.scenario) for run in outcomes}
    (found,) = (one for one in verdicts(standings(outcomes, ROLES), scenarios) if one.what == what)
    return found


@pytest.mark.parametrize(("own", "holds"), [(4.079, True), (4.081, False)])
def test_delay_may_be_two_per_cent_above_the_best_peers(own: float, holds: bool) -> None:
    found = judged("delay / best reactive", trio("even", 3.0) + trio("odd", own))
    assert found.holds is holds
    assert found.failing == (() if holds else ("odd",))
    assert "odd" in found.measured  # the worst one is named whether it holds or not


@pytest.mark.parametrize(("own", "holds"), [(2.29, True), (2.31, False)])
def test_the_median_gap_is_judged(own: float, holds: bool) -> None:
    outcomes = trio("a", 2.0) + trio("b", own) + trio("c", 3.0)
    assert judged("gap closed, median", outcomes).holds is holds


@pytest.mark.parametrize(("own", "holds"), [(3.99, True), (4.01, False)])
def test_no_gap_may_be_widened(own: float, holds: bool) -> None:
    assert judged("gap closed, worst", trio("a", 2.0) + trio("b", own)).holds is holds


@pytest.mark.parametrize(("own", "holds"), [(2.09, True), (2.11, False)])
def test_where_hints_tell_the_cost_more_is_asked(own: float, holds: bool) -> None:
    assert judged("gap closed, hints tell the cost", trio("a", own), HINTED).holds is holds


def test_hints_that_tell_nothing_are_not_asked_for_more() -> None:
    told_alike = HINTED.replace("cost = 4.0", "cost = 1.0")
    assert judged("gap closed, hints tell the cost", trio("a", 3.0), told_alike).holds is None


@pytest.mark.parametrize(("over", "holds"), [(0.0104, True), (0.0106, False)])
def test_work_above_capacity_is_compared_with_the_best_peers(over: float, holds: bool) -> None:
    found = judged("work over 100 % above the best peer's", trio("a", 3.0, over=over, theirs={"over": 0.01}))
    assert found.holds is holds


@pytest.mark.parametrize(("own", "holds"), [(0.91, True), (0.93, False)])
def test_utilisation_is_compared_with_the_best_peers(own: float, holds: bool) -> None:
    assert judged("utilisation p99 / best peer's", trio("a", 3.0, utilisation_p99=own)).holds is holds


def test_slowdown_is_compared_with_the_peer_that_is_best_at_it_not_with_the_one_of_least_delay() -> None:
    outcomes = [*trio("a", 3.0), outcome("random", 9.0, "a", delay_quantiles=(1.0, 2.0, 5.0, 9.0))]
    found = judged("slowdown p99 / best peer's", outcomes)
    assert found.holds is False
    assert "1.200 a" in found.measured  # 6 over 5; least connections has 8


@pytest.mark.parametrize(("share", "holds"), [(1.19, True), (1.21, False), (math.nan, None)])
def test_a_storm_may_hit_nobody_by_more_than_a_fifth_above_the_fair_share(share: float, holds: bool | None) -> None:
    assert judged("storm: accepts / fair share", trio("a", 3.0, storm_share=share), STORM).holds is holds


@pytest.mark.parametrize(("own_s", "their_s", "holds"), [(5, 10, True), (6, 10, False), (0, 0, True), (1, 0, False)])
def test_a_storm_overloads_half_as_long_as_under_least_connections(own_s: float, their_s: float, holds: bool) -> None:
    outcomes = trio("a", 3.0, storm_over_100_s=own_s, theirs={"storm_over_100_s": their_s})
    assert judged("storm: s over 100 % / least connections'", outcomes, STORM).holds is holds


@pytest.mark.parametrize(("busiest", "holds"), [(1.03, True), (1.04, False)])
def test_pickers_that_do_not_share_placements_stay_near_the_level(busiest: float, holds: bool) -> None:
    """At a load of 0.6, 0.02 above the level is a thirtieth of it."""
    assert judged("pickers: worst server above the fleet", trio("a", 3.0, max_over_mean=busiest), CROWD).holds is holds


@pytest.mark.parametrize(("cold", "holds"), [(1.2, True), (1.21, False)])
def test_nothing_learned_is_no_excuse_to_herd(cold: float, holds: bool) -> None:
    assert judged("cold start: connections, max / mean", trio("a", 3.0, cold=cold)).holds is holds


def test_connections_need_not_be_spread_where_the_limit_does_not() -> None:
    outcomes = [*trio("a", 3.0, cold=1.5)[:2], outcome("limit", 2.0, "a", cold=1.3)]
    assert judged("cold start: connections, max / mean", outcomes).holds is None


def test_what_no_scenario_asks_for_is_not_judged() -> None:
    found = {one.what: one.holds for one in verdicts(standings(trio("a", 3.0), ROLES), {"a": Scenario(name="a")})}
    assert [what for what, holds in found.items() if holds is None] == [
        "gap closed, hints tell the cost",
        "storm: accepts / fair share",
        "storm: s over 100 % / least connections'",
        "pickers: worst server above the fleet",
    ]


def test_the_worst_of_those_that_fall_short_are_named_first() -> None:
    found = judged("delay / best reactive", trio("a", 4.2) + trio("b", 4.4) + trio("c", 3.0))
    assert found.failing == ("b", "a")
    assert found.measured == "2 of 3 fall short: 1.100 b, 1.050 a"
