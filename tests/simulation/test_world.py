import numpy as np
import pytest

from forestay.model.errors import InvalidInput
from forestay.simulation.scenario import Scenario, names
from forestay.simulation.steps import COLD_S, STEPS_PER_S
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


def test_arrivals_and_lives_make_the_connections_asked_for() -> None:
    drawn = world("[traffic]\nconnections = 800\nduration_s = 20.0")
    assert len(drawn.connections.arrives_s) == pytest.approx(800 / 20 * 600, rel=0.05)
    assert drawn.connections.duration_s.mean() == pytest.approx(20.0, rel=0.05)


def test_long_connections_are_there_from_the_first_minute_on() -> None:
    drawn = world("[traffic]\nconnections = 800\nduration_s = 100.0")
    assert int((drawn.connections.arrives_s < 60).sum()) == pytest.approx(800 + 480, rel=0.1)


def test_classes_differ_in_cost_and_life() -> None:
    text = """
        traffic = { hints = true }
        classes = [
            { name = "light", share = 0.75 },
            { name = "heavy", share = 0.25, cost = 4.0, duration = 3.0 },
        ]
    """
    drawn = world(text)
    law = drawn.law
    heavy = law.kind == 1
    assert drawn.hints == ("light", "heavy")
    assert heavy.mean() == pytest.approx(0.25, abs=0.01)
    assert law.cost[heavy].mean() / law.cost[~heavy].mean() == pytest.approx(4.0, rel=0.05)
    assert law.duration_s[heavy].mean() / law.duration_s[~heavy].mean() == pytest.approx(3.0, rel=0.05)


def test_hints_are_not_told_unless_the_scenario_says_so() -> None:
    assert world('[[classes]]\nname = "light"\nshare = 1.0').hints == ("",)


def test_surges_multiply_arrivals_after_the_cold_start_only() -> None:
    drawn = world("[[surges]]\nfirst_s = 30.0\nevery_s = 120.0\nlength_s = 10.0\nfactor = 4.0")
    rate = drawn.rate_per_s
    base = rate[200 * STEPS_PER_S]
    assert rate[155 * STEPS_PER_S] == pytest.approx(4 * base)
    assert rate[35 * STEPS_PER_S] < 4 * base
    assert rate[165 * STEPS_PER_S] == pytest.approx(base)


def test_bursts_change_counts_but_not_the_mean() -> None:
    text = "[traffic]\nconnections = 1000\nduration_s = 10.0\n"
    even = world(text, minutes=60)
    uneven = world(text + "[bursts]\nvariance = 1.0\nlength_s = 5.0", minutes=60)
    counts = [np.histogram(each.connections.arrives_s, np.arange(COLD_S, 3600.0, 1.0))[0] for each in (even, uneven)]
    assert counts[1].mean() == pytest.approx(counts[0].mean(), rel=0.2)
    assert counts[1].var() > 20 * counts[0].var()


def test_a_degraded_server_has_less_capacity_for_a_while() -> None:
    drawn = world('[[faults]]\nkind = "degrade"\nfirst_s = 200.0\nlength_s = 100.0\nfactor = 0.25')
    strength = drawn.capacity / drawn.capacity[0]
    assert strength.min() == pytest.approx(0.25)
    hit = int(strength[2500].argmin())
    assert strength[1999, hit] == strength[3000, hit] == 1.0
    assert (strength < 1).sum() == 1000


def test_a_deployment_takes_every_server_once() -> None:
    text = """
        fleet = { servers = 4 }
        faults = [{ kind = "deploy", first_s = 150.0, every_s = 30.0, length_s = 10.0, jitter_s = 5.0 }]
    """
    changes = world(text).changes
    drained = [change.server for change in changes if change.kind == "drain"]
    assert sorted(drained) == [0, 1, 2, 3]
    assert [change.step for change in changes[:3]] == [1500, 1550, 1650]
    assert [change.kind for change in changes[:3]] == ["drain", "stop", "back"]


def test_background_heavier_than_the_load_is_refused_with_a_remedy() -> None:
    text = '[traffic]\nload = 0.1\n[[background]]\nkind = "sine"\nshare = 1.0\namplitude = 0.8'
    with pytest.raises(InvalidInput, match=r"traffic\.load = 0\.1.*raise it"):
        world(text)


def test_memory_in_use_is_what_the_scenario_says() -> None:
    drawn = world("[traffic]\nduration_s = 10.0\n[memory]\nload = 0.6")
    connections = drawn.connections
    held = float((connections.memory * connections.duration_s).sum()) / 600
    assert held / drawn.scenario.fleet.servers == pytest.approx(0.6, rel=0.05)


def test_token_counts_make_lives() -> None:
    scenario = Scenario.named("llm").model_copy(update={"minutes": 10.0})
    assert scenario.tokens is not None
    assert World.build(scenario, 0).law.duration_s.mean() == pytest.approx(scenario.tokens.mean_s, rel=0.05)
