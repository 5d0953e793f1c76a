"""How far pickers in separate processes that share one table stray from the exact rule.

Each process picks at random moments, all from the table that this one publishes once a second. Within one second the
exact rule's picks are the same in whatever order they are made, so a pick is misplaced if its endpoint got more of them
than one exact picker would have given it.

    python benchmarks/pickers.py [--pickers 8] [--rate 1000] [--seconds 10] [--endpoints 8 200 10000] [--seed 0]
"""

import argparse
import multiprocessing
import random
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

from forestay.dataplanes.relay.picker import Picker
from forestay.dataplanes.relay.shared_table import SharedTable, Target, encode_targets
from forestay.model.plan import UNLIMITED, IntArray, Table
from forestay.placement.planner import Planner

HORIZONS = 9
KAPPA = 6.0


@dataclass
class Second:
    """What happened while one table was current.

    Attributes:
        early: placements that its prices do not contain, made while it was being written.
        placed: those made by it.
    """

    table: Table
    early: IntArray
    placed: IntArray


def table_of(endpoints: int, rng: np.random.Generator) -> Table:
    """Trajectories of a cluster at 20 to 60 % load, with endpoints of three sizes."""
    capacity = rng.choice([1.0, 2.0, 4.0], endpoints)
    load = rng.uniform(0.2, 0.6, (endpoints, 1)) + rng.normal(0, 0.03, (endpoints, HORIZONS))
    per_connection = np.repeat(0.0005 / capacity[:, None], HORIZONS, axis=1)
    return Table(
        endpoint_ids=tuple(f"e:{slot + 1}" for slot in range(endpoints)),
        price=np.exp(2 * KAPPA * load),
        factor=np.exp(2 * KAPPA * per_connection),
        weight=np.full(HORIZONS, 1 / HORIZONS),
        level=np.ones(HORIZONS),
        slots=np.full(endpoints, UNLIMITED),
        paced=np.zeros(endpoints, np.int64),
    )


def pick(
    path: Path, column: int, rate: float, ready: Event, stop: Event, results: "multiprocessing.Queue[list[float]]"
) -> None:
    """One picker process: exponential gaps, as arrivals have."""
    picker, rng = Picker(SharedTable.open(path), column, seed=column), random.Random(column)
    costs_us: list[float] = []
    ready.wait()
    next_s = time.monotonic()
    while not stop.is_set():
        next_s += rng.expovariate(rate)
        time.sleep(max(0.0, next_s - time.monotonic()))
        before = time.perf_counter()
        picker.pick(time.monotonic())
        costs_us.append((time.perf_counter() - before) * 1e6)
    results.put(costs_us)


def measure(endpoints: int, pickers: int, rate: float, seconds: int, seed: int) -> tuple[list[Second], list[float]]:
    """Run the pickers; what every second placed, and the cost of each pick in microseconds."""
    rng = np.random.default_rng(seed)  # noqa: TID251 # a benchmark is a shell
    context = multiprocessing.get_context("spawn")
    ready, stop, results = context.Event(), context.Event(), context.Queue()
    columns = tuple(range(1, pickers + 1))
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        shared = SharedTable.create(Path(directory) / "bench.table.1", max(endpoints, 64), HORIZONS)
        names = encode_targets(tuple(Target(f"e:{slot + 1}", "192.0.2.1", 80) for slot in range(endpoints)))

        def placed() -> IntArray:
            total: IntArray = np.sum([shared.placed_array(column)[:endpoints] for column in columns], axis=0)
            return total

        def publish() -> tuple[Table, IntArray, IntArray]:
            table = table_of(endpoints, rng)
            base = placed()
            shared.publish(table, base, names, 1, time.monotonic(), columns)
            start = placed()
            return table, start - base, start

        table, early, start = publish()
        workers = [
            context.Process(target=pick, args=(shared.path, column, rate, ready, stop, results)) for column in columns
        ]
        for worker in workers:
            worker.start()
        time.sleep(1.0 + 0.2 * pickers)  # imports: the first second should find everybody at work
        ready.set()
        history = []
        for _ in range(seconds):
            time.sleep(1.0)
            table_before, early_before, start_before = table, early, start
            table, early, start = publish()
            history.append(Second(table_before, early_before, start - start_before))
        stop.set()
        costs = [cost for _ in workers for cost in results.get(timeout=30)]
        for worker in workers:
            worker.join()
    return history, costs


def misplaced(second: Second) -> tuple[int, int]:
    """Picks that the exact rule would have put elsewhere, and all picks."""
    exact = second.early.tolist()
    planner = Planner(second.table, exact, (), [0] * len(exact))
    total = int(second.placed.sum())
    for _ in range(total):
        planner.pick()
    return int(np.maximum(second.early + second.placed - np.array(exact), 0).sum()), total


def main() -> None:
    """Print one line per cluster size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pickers", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1000.0, help="picks per second of each")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--endpoints", type=int, nargs="+", default=[8, 200, 10_000])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{options.pickers} pickers at {options.rate:g} picks/s each, {options.seconds} s, seed {options.seed}")
    for endpoints in options.endpoints:
        history, costs = measure(endpoints, options.pickers, options.rate, options.seconds, options.seed)
        wrong, total = np.sum([misplaced(second) for second in history], axis=0)
        p50, p99 = np.percentile(costs, [50, 99])
        print(
            f"{endpoints:6} endpoints: {wrong} of {total} picks misplaced = {wrong / total:.3%}; "
            f"pick p50 {p50:.1f} us, p99 {p99:.1f} us (with the scheduler's share)"
        )


if __name__ == "__main__":
    main()
