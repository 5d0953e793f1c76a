import pytest

from forestay.simulation.engine import run
from forestay.simulation.scenario import Scenario
from forestay.simulation.world import World
from tests.simulation.policies import InTurn


def world(text: str, minutes: float = 4.0) -> World:
    return World.build(Scenario.parse(f"minutes = {minutes}\n{text}", "test"), 0)


def test_reports_are_late_noisy_and_lost_as_the_scenario_says() -> None:
    drawn = world("reports = { delay_s = 2.5, noise = 0.05, loss = 0.25 }")
    policy = InTurn()
    run(drawn, policy, "in turn")
    assert {round(now_s - report.at_s, 6) for now_s, report in policy.reports} == {2.5}
    assert {report.at_s % 1 for _, report in policy.reports} == {0.0}
    assert len(policy.reports) == pytest.approx(0.75 * 16 * 237, rel=0.05)


def test_reports_are_rounded_and_cover_their_interval() -> None:
    drawn = world("reports = { interval_s = 5.0, quantum = 0.05 }")
    policy = InTurn()
    run(drawn, policy, "in turn")
    assert {report.at_s % 5 for _, report in policy.reports} == {0.0}
    for _, report in policy.reports:
        assert report.load is not None
        assert report.load / 0.05 == pytest.approx(round(report.load / 0.05))


def test_a_report_is_the_mean_load_of_its_second() -> None:
    drawn = world("reports = { noise = 0.0, delay_s = 0.0 }", minutes=1)
    policy = InTurn()
    outcome = run(drawn, policy, "in turn", keep_series=True)
    assert outcome.series is not None
    seen = {(report.at_s, report.endpoint_id): report.load for _, report in policy.reports}
    means = outcome.series.load[:590].reshape(-1, 10, 16).mean(1)
    for second in (10, 40):
        assert seen[float(second), "s3"] == pytest.approx(means[second - 1, 3])


def test_memory_is_reported_where_it_matters() -> None:
    policy = InTurn()
    outcome = run(world("memory = { load = 0.5 }"), policy, "in turn")
    assert all(report.memory is not None for _, report in policy.reports)
    assert 0.5 < outcome.memory_max < 1.5


def test_no_report_covers_time_before_a_server_was_back() -> None:
    drawn = world('faults = [{ kind = "death", first_s = 150.0, length_s = 30.0 }]')
    dead = drawn.endpoint_ids[drawn.changes[0].server]
    policy = InTurn()
    run(drawn, policy, "in turn")
    ends_s = [report.at_s for _, report in policy.reports if report.endpoint_id == dead]
    assert max(at_s for at_s in ends_s if at_s < 160) == 149.0
    assert min(at_s for at_s in ends_s if at_s > 150) == 181.0
