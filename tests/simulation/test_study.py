from pathlib import Path

import pytest

from forestay.model.errors import InvalidInput
from forestay.simulation.cache import Cache
from forestay.simulation.contenders import ABLATED, CONTENDERS, STANDARD, Contender, find
from forestay.simulation.engine import run
from forestay.simulation.report import About
from forestay.simulation.scenario import Scenario, names
from forestay.simulation.statistics import standings
from forestay.simulation.study import DRAWN, SEEDS, SEEDS_OF_DRAWN, Study, finalists, shortened, whole
from forestay.simulation.world import World
from tests.simulation import competing
from tests.simulation.outcomes import ROLES, runs

ABOUT = About("forestay simulate", "0", "2030-01-01", (1, 1), (1.0, 1.0))
SMALL = "minutes = 0.5\n[fleet]\nservers = 3\n[traffic]\nconnections = 20\nduration_s = 5.0\n"


def small(name: str) -> Scenario:
    return Scenario.parse(SMALL, name)


def study(seeds: dict[str, int], pilot: int | None = None) -> Study:
    policies = ("forestay", "least_connections", "limit")
    return Study({small(name): count for name, count in seeds.items()}, policies, pilot, competing.find)


def test_every_scenario_runs_with_its_own_number_of_seeds() -> None:
    report = study({"a": 2, "b": 1}).run(ABOUT, None, 1)
    assert [(standing.scenario, standing.seeds) for standing in report.standings] == [("a", (0, 1)), ("b", (0,))]
    assert report.verdicts


def test_two_scenarios_of_one_name_are_an_error() -> None:
    with pytest.raises(InvalidInput, match="scenario 'a': given twice; give each another name"):
        Study({small("a"): 1, Scenario(name="a"): 1})


def test_after_the_pilot_only_finalists_run_on() -> None:
    def slow_or_fast(name: str) -> Contender:
        return competing.find("least_connections" if name.startswith("peer") else name)

    policies = ("forestay", "limit", *(f"peer{number}" for number in range(5)))
    report = Study({small("a"): 3}, policies, 2, slow_or_fast).run(ABOUT, None, 1)
    (standing,) = report.standings
    assert standing.runs["forestay"] == standing.runs["limit"] == 3
    assert all(standing.runs[policy] in (2, 3) for policy in policies)


def test_finalists_are_the_best_limit_and_the_peers_near_the_best() -> None:
    delays = {"forestay": 3.0, "random": 9.0, "least_connections": 8.0, "limit": 2.1, "limit_mid": 2.0}
    delays |= {"near": 4.3, "best": 4.0, "second": 5.0, "third": 6.0, "fourth": 7.0, "lowest_predicted": 3.5}
    roles = {name: ROLES.get(name, "reactive") for name in delays}
    (standing,) = standings([run for name, delay in delays.items() for run in runs(name, [delay, delay])], roles)
    assert set(finalists(standing)) == {"forestay", "limit_mid", "best", "near", "second", "least_connections"}


def test_who_did_not_run_on_is_out_of_the_running() -> None:
    outcomes = [*runs("random", [1.0]), *runs("least_connections", [3.0, 3.0]), *runs("forestay", [2.0, 2.0])]
    (standing,) = standings(outcomes, ROLES)
    assert standing.best == "least_connections"
    assert standing.named("reactive") == ["least_connections"]
    assert standing.means["random"]["delay"] == 1.0


def test_load_over_time_is_there_for_the_policies_that_say_most(tmp_path: Path) -> None:
    chosen = study({"a": 2})
    timed = chosen.run_timed(chosen.run(ABOUT, None, 1).standings, Cache(tmp_path), 1)
    assert [outcome.policy for outcome in timed["a"]] == ["forestay", "least_connections", "limit"]
    assert all(outcome.series is not None and outcome.seed == 0 for outcome in timed["a"])


def test_the_whole_matrix_is_every_scenario_of_the_package_and_drawn_ones() -> None:
    seeds = {scenario.name: count for scenario, count in whole().items()}
    assert [name for name in names() if seeds.pop(name) != SEEDS] == []
    assert len(seeds) == DRAWN
    assert set(seeds.values()) == {SEEDS_OF_DRAWN}


def test_runs_are_as_long_as_the_scenario_says_unless_somebody_says_otherwise() -> None:
    seeds = {small("a"): 4}
    assert shortened(seeds, None) == seeds
    assert {(scenario.minutes, count) for scenario, count in shortened(seeds, 7.0).items()} == {(7.0, 4)}


@pytest.mark.parametrize("name", CONTENDERS)
def test_everybody_who_can_be_named_can_run(name: str) -> None:
    world = World.build(small("a"), 0)
    contender = find(name)
    outcome = run(world, contender.make(world, 0), name)
    assert outcome.connections == len(world.connections.arrives_s)
    assert contender.about.endswith(".")


def test_pickers_are_as_many_as_the_scenario_says_except_for_those_who_know_all() -> None:
    world = World.build(Scenario.parse(SMALL + "[candidate]\npickers = 3\n", "a"), 0)
    kinds = {name: type(find(name).make(world, 0)).__name__ for name in ("forestay", "least_connections", "limit")}
    assert kinds == {"forestay": "Pickers", "least_connections": "Pickers", "limit": "CausalLimit"}


def test_a_name_that_is_misspelt_is_answered_with_those_that_come_close() -> None:
    with pytest.raises(InvalidInput, match="policy 'prequel' is unknown: choose from prequal"):
        find("prequel")


def test_who_runs_when_nobody_is_named() -> None:
    assert {"forestay", "least_connections", "limit"} <= set(STANDARD)
    assert not set(STANDARD) & {name for name in CONTENDERS if name.startswith("told_")}
    assert {"forestay", "limit"} < set(ABLATED)
