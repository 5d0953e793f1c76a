from forestay.simulation.engine import run
from forestay.simulation.pickers import Pickers
from forestay.simulation.scenario import Scenario
from forestay.simulation.world import World
from tests.simulation.policies import InTurn


def test_all_pickers_hear_reports_and_each_of_its_own_connections_only() -> None:
    world = World.build(Scenario.parse("minutes = 3\ntraffic.duration_s = 10.0", "test"), 0)
    made: list[InTurn] = []

    def make(seed: int) -> InTurn:
        assert seed == 7 + len(made)
        made.append(InTurn())
        return made[-1]

    outcome = run(world, Pickers(make, 3, seed=7), "three")
    assert len(made) == 3
    assert {len(policy.reports) for policy in made} == {len(made[0].reports)}
    assert sum(policy.turn for policy in made) == outcome.connections
    assert all(policy.turn > outcome.connections / 4 for policy in made)


def test_one_picker_places_as_the_policy_does() -> None:
    world = World.build(Scenario.parse("minutes = 3\ntraffic.duration_s = 10.0", "test"), 0)
    alone, wrapped = run(world, InTurn(), "a"), run(world, Pickers(lambda seed: InTurn(), 1), "b")
    assert alone.digest == wrapped.digest
