import numpy as np
import pytest

from forestay.model.plan import FloatArray
from forestay.simulation.background import RANDOM_MAX, draw_background
from forestay.simulation.scenario import Scenario


def background(tables: str) -> FloatArray:
    """An hour of it on ten servers."""
    scenario = Scenario.parse(f"fleet = {{ servers = 10 }}\nbackground = [{tables}]", "test")
    return draw_background(scenario, 0, 36_000)


def test_a_pulse_is_on_for_its_part_of_each_period_on_its_part_of_the_servers() -> None:
    load = background('{ kind = "pulse", share = 0.4, amplitude = 0.3, period_s = 30.0, duty = 0.25 }')
    on = load > 0
    assert (on.any(0)).sum() == 4
    assert on[:, on.any(0)].mean(0) == pytest.approx([0.25] * 4, abs=0.01)
    assert load[on].min() >= 0.7 * 0.3
    assert load.max() <= 1.15 * 0.3
    starts = np.flatnonzero(np.diff(on[:, on.any(0)][:, 0].astype(int)) == 1)
    assert np.diff(starts).mean() == pytest.approx(300, rel=0.11)


def test_a_sine_has_half_of_its_amplitude_on_average() -> None:
    load = background('{ kind = "sine", share = 1.0, amplitude = 0.4, period_s = 20.0 }')
    assert load.min() == pytest.approx(0.0, abs=1e-3)
    assert load.mean() == pytest.approx(0.2, rel=0.1)


def test_random_work_comes_and_goes_and_has_a_bound() -> None:
    load = background('{ kind = "random", share = 1.0, amplitude = 0.3, length_s = 10.0, every_s = 30.0 }')
    assert (load > 0).mean() == pytest.approx(0.25, abs=0.05)
    heavy = '{ kind = "random", share = 1.0, amplitude = 1.0, length_s = 50.0, every_s = 10.0, noise = 0.1 }'
    assert background(heavy).max() == RANDOM_MAX


def test_noise_wanders_around_its_level() -> None:
    load = background('{ kind = "random", share = 1.0, amplitude = 0.0, noise = 0.05 }')
    assert load.mean() == pytest.approx(0.05, rel=0.25)
    step, minute = np.abs(np.diff(load, axis=0)).mean(), np.abs(load[600:] - load[:-600]).mean()
    assert step < 0.2 * minute


def test_tables_add_up() -> None:
    one = background('{ kind = "sine", share = 1.0, amplitude = 0.2 }')
    two = background(
        '{ kind = "sine", share = 1.0, amplitude = 0.2 }, { kind = "pulse", share = 1.0, amplitude = 0.2 }'
    )
    assert np.all(two >= one)
    assert two.mean() > one.mean() + 0.04
