import numpy as np
import pytest

from forestay.simulation.scenario import Scenario
from forestay.simulation.steps import COLD_S, STEPS_PER_S
from forestay.simulation.world import World


def world(text: str = "", seed: int = 0, minutes: float = 10.0) -> World:
    return World.build(Scenario.parse(f"minutes = {minutes}\n{text}", "test"), seed)


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


def test_token_counts_make_lives() -> None:
    scenario = Scenario.named("llm").model_copy(update={"minutes": 10.0})
    assert scenario.tokens is not None
    assert World.build(scenario, 0).law.duration_s.mean() == pytest.approx(scenario.tokens.mean_s, rel=0.05)
