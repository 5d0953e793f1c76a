import numpy as np
import pytest

from forestay.model.errors import InvalidInput
from forestay.simulation.scenario import Scenario, names
from forestay.simulation.world import World


def world(text: str = "", seed: int = 0, minutes: float = 10.0) -> World:
    return World.build(Scenario.parse(f"minutes = {minutes}\n{text}", "test"), seed)


@pytest.mark.parametrize("name", names())
def test_every_named_scenario_has_worlds(name: str) -> None:
    drawn = World.build(Scenario.named(name).model_copy(update={"minutes": 3.0}), 0)
    assert len(drawn.connections.arrives_s) > 0
    assert np.all(np.diff(drawn.connections.arrives_s) >= 0)
    assert drawn.scenario.description


def test_a_seed_draws_the_same_world_and_another_one_another() -> None:
    first, again, other = world(seed=1), world(seed=1), world(seed=2)
    assert np.array_equal(first.connections.arrives_s, again.connections.arrives_s)
    assert np.array_equal(first.capacity, again.capacity)
    assert not np.array_equal(first.capacity, other.capacity)


def test_background_changes_nothing_about_who_arrives() -> None:
    bare = world()
    busy = world('[[background]]\nkind = "pulse"')
    assert np.array_equal(bare.connections.arrives_s, busy.connections.arrives_s)
    assert np.array_equal(bare.connections.duration_s, busy.connections.duration_s)


def test_hints_are_not_told_unless_the_scenario_says_so() -> None:
    assert world('[[classes]]\nname = "light"\nshare = 1.0').hints == ("",)


def test_background_heavier_than_the_load_is_refused_with_a_remedy() -> None:
    text = '[traffic]\nload = 0.1\n[[background]]\nkind = "sine"\nshare = 1.0\namplitude = 0.8'
    with pytest.raises(InvalidInput, match=r"traffic\.load = 0\.1.*raise it"):
        world(text)


def test_memory_in_use_is_what_the_scenario_says() -> None:
    drawn = world("[traffic]\nduration_s = 10.0\n[memory]\nload = 0.6")
    connections = drawn.connections
    held = float((connections.memory * connections.duration_s).sum()) / 600
    assert held / drawn.scenario.fleet.servers == pytest.approx(0.6, rel=0.05)
