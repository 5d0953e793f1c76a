"""The relay benchmark measures: with forestay alone, so that it needs no other proxy."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.progress import Progress

from benchmarks.compiled import find_compiler
from benchmarks.contenders import contenders
from benchmarks.processes import BenchmarkFailed
from benchmarks.relay_runs import PHASES, Bench, divide_cpus

pytestmark = [pytest.mark.soak, pytest.mark.process]


@pytest.fixture(autouse=True)
def _pinned_for_the_test_only() -> Iterator[None]:
    cpus = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, cpus)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    try:
        find_compiler()
    except BenchmarkFailed as missing:
        pytest.skip(str(missing))
    return Bench(tmp_path, divide_cpus(), quick=True, progress=Progress(disable=True))


def test_every_kind_of_load_comes_through_without_errors(bench: Bench) -> None:
    samples = bench.throughput(contenders()[:1], repeats=1)
    assert set(samples) == {(name, phase.title) for name in ("direct", "forestay") for phase in PHASES}
    assert sum(sample.errors for runs in samples.values() for sample in runs) == 0
    ours = [sample for (name, _), runs in samples.items() for sample in runs if name == "forestay"]
    assert all(sample.rate > 0 and sample.cpu_us > 0 for sample in ours)


def test_an_idle_connection_takes_less_than_four_kib(bench: Bench) -> None:
    (idle,) = bench.memory(contenders()[:1], connections=2000, repeats=1)["forestay"]
    assert 0 < idle.carriers_kib + idle.control_kib <= 4
