import multiprocessing
from pathlib import Path

import pytest

from forestay.simulation.cache import Cache
from forestay.simulation.comparison import Case, Progress, RunFailed, compare
from forestay.simulation.outcome import Outcome
from forestay.simulation.scenario import Scenario
from tests.simulation import competing
from tests.simulation.competing import find

ALL = ("forestay", "least_connections", "limit")


def scenario(name: str = "small", minutes: float = 0.5, load: float = 0.6) -> Scenario:
    text = f"minutes = {minutes}\n[fleet]\nservers = 3\n[traffic]\nconnections = 20\nduration_s = 5.0\nload = {load}"
    return Scenario.parse(text, name)


def digests(outcomes: list[Outcome]) -> list[tuple[str, int, str, str]]:
    return [(outcome.scenario, outcome.seed, outcome.policy, outcome.digest) for outcome in outcomes]


def test_outcomes_come_in_the_order_of_cases_and_policies() -> None:
    found = compare([Case(scenario("a"), 1, ALL), Case(scenario("b"), 0, ALL[::-1])], find)
    assert [(outcome.scenario, outcome.seed, outcome.policy) for outcome in found] == [
        *(("a", 1, policy) for policy in ALL),
        *(("b", 0, policy) for policy in ALL[::-1]),
    ]


def test_the_policies_of_a_case_share_one_world() -> None:
    competing.WORLDS.clear()
    compare([Case(scenario(), 0, ALL), Case(scenario(), 1, ALL)], find)
    first, second, third, fourth = competing.WORLDS
    assert first is second
    assert third is fourth
    assert first is not third


def test_the_same_seed_gives_the_same_digest_and_another_seed_another() -> None:
    cases = [Case(scenario(), seed, ALL) for seed in (0, 1)]
    once, again = compare(cases, find), compare(cases, find)
    assert digests(once) == digests(again)
    assert once[0].digest != once[3].digest


@pytest.mark.process
def test_worker_processes_give_what_one_process_gives(tmp_path: Path) -> None:
    cases = [Case(scenario(name), seed, ALL) for seed in (0, 1) for name in ("a", "b")]
    alone = compare(cases, find)
    told: list[Progress] = []
    together = compare(cases, find, Cache(tmp_path), jobs=2, on_progress=told.append)
    assert digests(together) == digests(alone)
    assert [progress.done for progress in told] == list(range(13))
    assert multiprocessing.active_children() == []
    assert len(list(tmp_path.iterdir())) == 12


def test_what_is_known_is_not_run_again(tmp_path: Path) -> None:
    cases, cache = [Case(scenario(), 0, ALL)], Cache(tmp_path)
    once = compare(cases, find, cache)
    told: list[Progress] = []
    again = compare(cases, find, cache, on_progress=told.append)
    assert again == once or digests(again) == digests(once)
    assert [(progress.done, progress.cached) for progress in told] == [(3, 3)]


def test_only_what_is_missing_is_run(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    compare([Case(scenario(), 0, ALL[:1])], find, cache)
    told: list[Progress] = []
    found = compare([Case(scenario(), 0, ALL)], find, cache, on_progress=told.append)
    assert [outcome.policy for outcome in found] == list(ALL)
    assert [(progress.done, progress.cached) for progress in told] == [(1, 1), (2, 1), (3, 1)]


@pytest.mark.parametrize(
    "other",
    [
        Case(scenario("other"), 0, ALL[:1]),
        Case(scenario(minutes=0.6), 0, ALL[:1]),
        Case(scenario(load=0.5), 0, ALL[:1]),
        Case(scenario(), 1, ALL[:1]),
        Case(scenario(), 0, ALL[1:2]),
    ],
)
def test_a_case_that_differs_in_anything_is_not_taken_for_a_known_one(tmp_path: Path, other: Case) -> None:
    cache = Cache(tmp_path)
    compare([Case(scenario(), 0, ALL[:1])], find, cache)
    told: list[Progress] = []
    compare([other], find, cache, on_progress=told.append)
    assert told[0].cached == 0


def test_another_recording_under_the_same_name_is_another_case(tmp_path: Path) -> None:
    recording = tmp_path / "recording.csv"
    replayed = Scenario.parse(f'minutes = 0.5\n[replay]\npath = "{recording}"', "replayed")
    cache = Cache(tmp_path / "cache")
    found = []
    for last_s in (20, 25):
        recording.write_text("time,duration\n" + "".join(f"{at_s},3\n" for at_s in range(last_s)))
        found += compare([Case(replayed, 0, ALL[:1])], find, cache)
    assert found[0].delay != found[1].delay


def test_load_over_time_is_there_if_it_is_asked_for(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    compare([Case(scenario(), 0, ALL[:1])], find, cache)
    for _ in range(2):  # run, then read
        (found,) = compare([Case(scenario(), 0, ALL[:1], series=True)], find, cache)
        assert found.series is not None
        assert found.series.load.shape[1] == 3


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.process)])
def test_a_failure_names_the_run_and_leaves_no_process(jobs: int) -> None:
    cases = [Case(scenario("odd"), seed, ("forestay", "broken")) for seed in (7, 8, 9)]
    with pytest.raises(
        RunFailed, match=r"broken failed on scenario odd, seed [789]: ArithmeticError\('no sense in it'\)"
    ):
        compare(cases, find, jobs=jobs)
    assert multiprocessing.active_children() == []


def test_the_time_left_is_told_once_something_ran() -> None:
    told: list[Progress] = []
    compare([Case(scenario(), 0, ALL)], find, on_progress=told.append)
    assert told[0].left_s is None
    assert told[1].left_s is not None
    assert told[1].left_s > 0
    assert told[-1].left_s == 0
