import pytest

from forestay.simulation.space import draw
from forestay.simulation.world import World


def test_a_number_names_the_same_scenario_always() -> None:
    assert draw(5) == draw(5)
    assert draw(5) != draw(6)


@pytest.mark.parametrize("number", range(0, 60, 6))
def test_every_scenario_of_the_space_has_worlds(number: int) -> None:
    scenario = draw(number).model_copy(update={"minutes": 3.0})
    world = World.build(scenario, 0)
    assert len(world.connections.arrives_s) > 0


def test_a_hundred_draws_meet_every_concern() -> None:
    drawn = [draw(number) for number in range(100)]
    kinds = {fault.kind for scenario in drawn for fault in scenario.faults}
    assert kinds == {"death", "degrade", "deploy", "join"}
    assert {each.kind for scenario in drawn for each in scenario.background} == {"pulse", "sine", "random"}
    assert {scenario.fleet.discipline for scenario in drawn} == {"sharing", "fifo"}
    for present in (
        [bool(scenario.surges) for scenario in drawn],
        [bool(scenario.classes) for scenario in drawn],
        [bool(scenario.tokens) for scenario in drawn],
        [bool(scenario.bursts.variance) for scenario in drawn],
        [bool(scenario.hot.share) for scenario in drawn],
        [bool(scenario.cycle.amplitude) for scenario in drawn],
        [bool(scenario.memory.load) for scenario in drawn],
        [scenario.candidate.pickers > 1 for scenario in drawn],
        [bool(scenario.traffic.cost_pareto) for scenario in drawn],
        [bool(scenario.traffic.ramp_s) for scenario in drawn],
        [bool(scenario.traffic.accept_share) for scenario in drawn],
    ):
        assert 0 < sum(present) < 60


def test_load_leaves_room_for_servers_that_are_away() -> None:
    for number in range(200):
        scenario = draw(number)
        gone = sum(fault.servers for fault in scenario.faults if fault.kind == "death")
        assert scenario.traffic.load < 0.9 * (1 - gone / scenario.fleet.servers)
