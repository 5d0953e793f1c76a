"""What a run of the simulator costs with the cheapest of policies.

    python -m benchmarks.engine [--minutes 20] [--rounds 3]

Processor time of this process; the best of the rounds, as other processes only add to it. A row is a world; the last
one has nobody in it, so that only the steps remain.
"""

import argparse
import time
from dataclasses import dataclass

from rich.table import Table

from benchmarks.verdicts import console
from forestay.simulation.engine import run
from forestay.simulation.peers import PEERS
from forestay.simulation.scenario import Scenario
from forestay.simulation.world import World

SCENARIOS = ("high", "periodic15", "ramp10", "accept", "fifo", "death", "hot")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run.

    Attributes:
        connections: placed.
        steps: of 0.1 s.
        cpu_s: processor time.
    """

    connections: int
    steps: int
    cpu_s: float


def measure(scenario: Scenario, rounds: int = 3) -> Cost:
    """The cheapest of `rounds` runs."""
    world = World.build(scenario, 0)
    costs = []
    for _ in range(rounds):
        started = time.process_time()
        outcome = run(world, PEERS["random"](0), "random")
        costs.append(Cost(outcome.connections, world.steps, time.process_time() - started))
    return min(costs, key=lambda cost: cost.cpu_s)


def empty(minutes: float) -> Scenario:
    """Sixteen servers and hardly a connection."""
    return Scenario.parse(f"minutes = {minutes}\ntraffic = {{ connections = 1, load = 0.01 }}", "empty")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0, help="simulated")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    table = Table("world", "connections", "CPU s", "us per step", "us per connection beyond the steps")
    bare = measure(empty(arguments.minutes), arguments.rounds)
    per_step = bare.cpu_s / bare.steps
    for name in SCENARIOS:
        scenario = Scenario.named(name).model_copy(update={"minutes": arguments.minutes})
        cost = measure(scenario, arguments.rounds)
        per_connection = (cost.cpu_s - per_step * cost.steps) / cost.connections
        table.add_row(name, f"{cost.connections:,}", f"{cost.cpu_s:.2f}", "", f"{per_connection * 1e6:.1f}")
    table.add_row("empty", f"{bare.connections:,}", f"{bare.cpu_s:.2f}", f"{per_step * 1e6:.1f}", "")
    console().print(table)


if __name__ == "__main__":
    main()
