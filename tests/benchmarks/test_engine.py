from benchmarks.engine import empty, measure
from forestay.simulation.scenario import Scenario


def test_the_simulator_costs_little_beside_what_it_judges() -> None:
    steps = measure(empty(2.0))
    busy = measure(Scenario.named("high").model_copy(update={"minutes": 2.0}))
    per_step = steps.cpu_s / steps.steps
    per_connection = (busy.cpu_s - per_step * busy.steps) / busy.connections
    assert per_step < 75e-6, "five times what it is on a quiet core"
    assert per_connection < 30e-6, "five times what it is on a quiet core"
