import pytest

from forestay.simulation.scenario import Scenario
from forestay.simulation.world import World


def world(text: str = "", seed: int = 0, minutes: float = 10.0) -> World:
    return World.build(Scenario.parse(f"minutes = {minutes}\n{text}", "test"), seed)


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


def test_a_loss_of_capacity_for_good_lasts() -> None:
    drawn = world('faults = [{ kind = "degrade", first_s = 200.0, length_s = 0.0, servers = 3, factor = 0.5 }]')
    assert (drawn.capacity[-1] / drawn.capacity[0] < 0.6).sum() == 3


def test_deaths_take_other_servers_each_time_until_all_had_their_turn() -> None:
    text = """
        fleet = { servers = 5 }
        faults = [{ kind = "death", first_s = 130.0, every_s = 40.0, length_s = 20.0, detect_s = 1.5 }]
    """
    changes = world(text).changes
    died = [change.server for change in changes if change.kind == "die"]
    assert len(died) == 12
    assert sorted(died[:5]) == sorted(died[5:10]) == [0, 1, 2, 3, 4]
    assert [change.step for change in changes[:3]] == [1300, 1315, 1500]
    assert [change.kind for change in changes[:3]] == ["die", "notice", "back"]
