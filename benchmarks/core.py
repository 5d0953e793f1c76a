"""The pure core: how long `place` and `tick` take, in a cluster that lives.

    python -m benchmarks.core [--seconds 120] [--endpoints 10 1000 10000] [--seed 0] [--json FILE]

Every second of the cluster's time, connections are placed, open and close one by one, and every endpoint reports, all
mixed as they would be; then comes a tick. Nothing is waited for: seconds follow each other at once. Each call is timed
by itself with the clock around it (some 0.1 us of each figure). One thread on one core; numpy's libraries may start no
threads. The garbage collector is set as in the service; its pauses are in the figures and are also counted apart.
Wall-clock times are judged, because that is what a caller waits for; the processor time of ticks and how often the
process lost its core are printed beside them, because that is what the code can do something about.
"""

import os

for _library in ("OPENBLAS", "OMP", "MKL", "BLIS", "NUMEXPR"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"  # before numpy is loaded: it asks once

# ruff: noqa: E402 # the imports below load numpy
import argparse
import gc
import resource
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.progress import Progress
from rich.table import Table

from benchmarks.verdicts import Verdict, console, print_verdicts, write_json
from forestay import Balancer, LoadReport
from forestay.assembly.serving import quieten_garbage_collector

PLACE_MEDIAN_US, PLACE_P99_US, TICK_MS = 5.0, 20.0, 20.0
"""What is asked of us."""

WARM_UP_S = 40
"""Seconds before anything is timed: longer than the longest horizon, so that every part of the forecast has learned."""
MEAN_LOAD = 0.5


@dataclass(frozen=True, slots=True)
class Size:
    """A cluster: `connections` open at any time, `arrivals_per_s` that come and as many that go."""

    endpoints: int
    connections: int
    arrivals_per_s: int


SIZES = {
    size.endpoints: size for size in (Size(10, 5_000, 500), Size(1_000, 50_000, 2_000), Size(10_000, 500_000, 5_000))
}


@dataclass(frozen=True, slots=True)
class Times:
    """What one kind of call took, microseconds."""

    calls: int
    p50_us: float
    p99_us: float
    worst_us: float

    @classmethod
    def of(cls, took_ns: "array[int]") -> "Times":
        took_us = np.asarray(took_ns) / 1000.0
        p50, p99 = np.percentile(took_us, [50, 99]).tolist()
        return cls(len(took_us), p50, p99, float(took_us.max()))


@dataclass(frozen=True, slots=True)
class Result:
    """One size's figures.

    Attributes:
        calls: by name: place, opened, closed, report, tick.
        tick_cpu_ms: processor time of the median and the worst tick.
        refused: placements that were queued or shed.
        preemptions: times that the process lost its core while something was timed or prepared.
        gc_pauses: collections of the oldest generation, and the longest of all collections in milliseconds.
    """

    size: Size
    calls: dict[str, Times]
    tick_cpu_ms: tuple[float, float]
    refused: int
    preemptions: int
    gc_pauses: tuple[int, float]


class Cluster:
    """Endpoints of unequal size, connections with exponential lifetimes, and a balancer that is told of them."""

    def __init__(self, size: Size, seed: int) -> None:
        self.size = size
        self.rng = np.random.default_rng(seed)  # noqa: TID251 # a benchmark is a shell
        self.balancer = Balancer(seed=seed)
        self.now_s = 10_000.0
        self.refused = 0
        self.took: dict[str, array[int]] = {
            name: array("q") for name in ("place", "opened", "closed", "report", "tick")
        }
        self.tick_cpu_ns = array("q")
        self._named = 0
        self._slot = {f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}:8080": n for n in range(size.endpoints)}
        self._ids = list(self._slot)
        self._capacity = self.rng.choice([1.0, 2.0, 4.0], size.endpoints)
        self._background = self.rng.uniform(0.0, 0.1, size.endpoints)
        self._cost = (MEAN_LOAD - 0.05) * self._capacity.sum() / size.connections / self._capacity
        self._counts = np.zeros(size.endpoints)
        self._open, self._homes = (
            array("q"),
            array("q"),
        )  # numbers, not objects: the garbage is to be the balancer's own
        for endpoint_id in self._ids:
            self.balancer.add_endpoint(endpoint_id, self.now_s)
        self._adopt()

    def _adopt(self) -> None:
        """The connections that are open already, with the ages that they would have."""
        size = self.size
        ages_s = np.sort(self.rng.exponential(size.connections / size.arrivals_per_s, size.connections))[::-1]
        homes = self.rng.choice(size.endpoints, size.connections, p=self._capacity / self._capacity.sum())
        for age_s, home in zip(ages_s.tolist(), homes.tolist(), strict=True):
            self._named += 1
            self.balancer.opened(_id(self._named), self._ids[home], self.now_s - age_s)
            self._remember(self._named, home)

    def second(self) -> None:
        """Everything that happens in one second, in random order, and the tick at its end."""
        size, rng = self.size, self.rng
        reports = self._reports()
        kinds = np.repeat([0, 1, 2], [size.arrivals_per_s, size.arrivals_per_s, size.endpoints])
        rng.shuffle(kinds)
        at_s = self.now_s + np.sort(rng.uniform(0.0, 1.0, len(kinds)))
        leavers = iter(rng.random(size.arrivals_per_s).tolist())
        for kind, now_s in zip(kinds.tolist(), at_s.tolist(), strict=True):
            if kind == 0:
                self._arrive(now_s)
            elif kind == 1:
                self._leave(now_s, next(leavers))
            else:
                self._report(next(reports), now_s)
        self.now_s += 1.0
        begin, begin_cpu = time.perf_counter_ns(), time.thread_time_ns()
        self.balancer.tick(self.now_s)
        self.tick_cpu_ns.append(time.thread_time_ns() - begin_cpu)
        self.took["tick"].append(time.perf_counter_ns() - begin)

    def _arrive(self, now_s: float) -> None:
        self._named += 1
        connection_id = _id(self._named)
        begin = time.perf_counter_ns()
        verdict = self.balancer.place(connection_id, now_s)
        placed = time.perf_counter_ns()
        self.took["place"].append(placed - begin)
        if verdict.kind != "admit":
            self.balancer.closed(connection_id, now_s)  # does not wait
            self.refused += 1
            return
        begin = time.perf_counter_ns()
        self.balancer.opened(connection_id, verdict.endpoint_id, now_s)
        self.took["opened"].append(time.perf_counter_ns() - begin)
        self._remember(self._named, self._slot[verdict.endpoint_id])

    def _leave(self, now_s: float, chance: float) -> None:
        index = int(chance * len(self._open))
        connection_id, home = _id(self._open[index]), self._homes[index]
        self._open[index], self._homes[index] = self._open[-1], self._homes[-1]
        self._open.pop()
        self._homes.pop()
        self._counts[home] -= 1
        begin = time.perf_counter_ns()
        self.balancer.closed(connection_id, now_s)
        self.took["closed"].append(time.perf_counter_ns() - begin)

    def _report(self, report: LoadReport, now_s: float) -> None:
        begin = time.perf_counter_ns()
        self.balancer.report(report, now_s)
        self.took["report"].append(time.perf_counter_ns() - begin)

    def _reports(self) -> Iterator[LoadReport]:
        """Loads of the second that ended, with two per cent of noise."""
        load = (self._background + self._cost * self._counts) * self.rng.normal(1.0, 0.02, self.size.endpoints)
        order = self.rng.permutation(self.size.endpoints).tolist()
        at_s, loads = self.now_s, np.maximum(load, 0.0).tolist()
        return (LoadReport(self._ids[n], at_s=at_s, load=loads[n], memory=0.5) for n in order)

    def _remember(self, number: int, home: int) -> None:
        self._open.append(number)
        self._homes.append(home)
        self._counts[home] += 1


def _id(number: int) -> str:
    return f"{number:032x}"


class Pauses:
    """Garbage collections while it is entered.

    Attributes:
        full: those of the oldest generation.
        longest_ms: of all.
    """

    def __enter__(self) -> "Pauses":
        self.full, self.longest_ms, self._begin = 0, 0.0, 0
        gc.callbacks.append(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        gc.callbacks.remove(self._note)

    def _note(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._begin = time.perf_counter_ns()
            return
        self.full += info["generation"] == 2
        self.longest_ms = max(self.longest_ms, (time.perf_counter_ns() - self._begin) / 1e6)


def measure(size: Size, seconds: int, seed: int, progress: Progress) -> Result:
    """Warm up and measure one size."""
    task = progress.add_task(
        f"{size.endpoints:,} endpoints, {size.connections:,} connections", total=WARM_UP_S + seconds
    )
    cluster = Cluster(size, seed)
    for _ in range(WARM_UP_S):
        cluster.second()
        progress.advance(task)
    quieten_garbage_collector()
    for took in (*cluster.took.values(), cluster.tick_cpu_ns):
        del took[:]
    cluster.refused, before = 0, resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    with Pauses() as pauses:
        for _ in range(seconds):
            cluster.second()
            progress.advance(task)
    cpu_ms = np.asarray(cluster.tick_cpu_ns) / 1e6
    return Result(
        size=size,
        calls={name: Times.of(took) for name, took in cluster.took.items()},
        tick_cpu_ms=(float(np.median(cpu_ms)), float(cpu_ms.max())),
        refused=cluster.refused,
        preemptions=resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - before,
        gc_pauses=(pauses.full, pauses.longest_ms),
    )


def stay_on_one_core() -> str:
    """Pin to the last core allowed: interrupts tend to go to the first. Returns what was done, for people."""
    cores = sorted(os.sched_getaffinity(0))
    try:
        os.sched_setaffinity(0, cores[-1:])
    except OSError as error:
        return f"not pinned to a core ({error.strerror})"
    return f"pinned to core {cores[-1]} of {os.cpu_count()}"


def table_of(results: Sequence[Result]) -> Table:
    """All figures."""
    table = Table(
        "endpoints", "connections", "call", "calls", "p50", "p99", "worst", title="core", title_justify="left"
    )
    for result in results:
        for name, times in result.calls.items():
            unit, scale = ("ms", 1000.0) if name == "tick" else ("us", 1.0)
            figures = (times.p50_us, times.p99_us, times.worst_us)
            table.add_row(
                f"{result.size.endpoints:,}",
                f"{result.size.connections:,}",
                name,
                f"{times.calls:,}",
                *(f"{figure / scale:,.1f} {unit}" for figure in figures),
            )
        table.add_section()
    return table


def judge(results: Sequence[Result]) -> list[Verdict]:
    """Asked / measured."""
    verdicts = []
    for result in results:
        place, where = result.calls["place"], f"at {result.size.endpoints:,} endpoints"
        for what, asked, measured in (
            ("median", PLACE_MEDIAN_US, place.p50_us),
            ("p99", PLACE_P99_US, place.p99_us),
        ):
            verdicts.append(
                Verdict(f"place {what} {where}", f"<= {asked:g} us", f"{measured:.1f} us", measured <= asked)
            )
    largest = max(results, key=lambda result: result.size.endpoints)
    if largest.size == SIZES[10_000]:
        tick, cpu_ms = largest.calls["tick"], largest.tick_cpu_ms
        for what, took_us, took_cpu_ms in (("median", tick.p50_us, cpu_ms[0]), ("worst", tick.worst_us, cpu_ms[1])):
            measured_ms = took_us / 1000.0
            verdicts.append(
                Verdict(
                    f"tick {what} of {tick.calls}, 10,000 endpoints, 500,000 connections",
                    f"<= {TICK_MS:g} ms",
                    f"{measured_ms:.1f} ms ({took_cpu_ms:.1f} ms of processor)",
                    measured_ms <= TICK_MS,
                )
            )
    return verdicts


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=120, help="ticks to measure at each size (default 120)")
    parser.add_argument("--endpoints", type=int, nargs="+", choices=SIZES, default=list(SIZES), help="sizes to measure")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write everything measured here")
    options = parser.parse_args()
    if options.seconds < 1:
        parser.error("--seconds: at least 1")
    out = console()
    pinned, load_before = stay_on_one_core(), os.getloadavg()[0]
    out.print(f"one thread, {pinned}; load average {load_before:.1f}; seed {options.seed}")
    with Progress(console=out, transient=True) as progress:
        results = [
            measure(SIZES[size], options.seconds, options.seed, progress) for size in sorted(set(options.endpoints))
        ]
    out.print(table_of(results))
    for result in results:
        full, longest_ms = result.gc_pauses
        out.print(
            f"{result.size.endpoints:,} endpoints: lost the core {result.preemptions} times; {full} full garbage "
            f"collections, the longest of all {longest_ms:.1f} ms; {result.refused} placements not admitted"
        )
    verdicts = judge(results)
    print_verdicts(out, verdicts)
    write_json(options.json, verdicts, pinned=pinned, load_average=load_before, results=[asdict(r) for r in results])


if __name__ == "__main__":
    main()
