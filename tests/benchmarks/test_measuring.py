"""Figures and verdicts of the benchmarks."""

import mmap
import os
import time

import pytest

from benchmarks.fleet import peak_per_s
from benchmarks.processes import cpu_s, memory_kib
from benchmarks.relay import judge
from benchmarks.relay_runs import PHASES, Idle, Sample, Samples


def samples(ours: float, theirs: float) -> Samples:
    """Rates of `ours` and `theirs`, CPU the inverse of it."""

    def runs(rate: float) -> list[Sample]:
        return [Sample(rate=rate, cpu_us=1e6 / rate, control_us=0.0, busy=1.0, p50_us=1.0, p99_us=1.0, errors=0)]

    rates = {"forestay": ours, "haproxy": theirs, "direct": 1.0}
    return {(name, phase.title): runs(rate) for name, rate in rates.items() for phase in PHASES}


def held(found: Samples, kib: float = 1.0) -> dict[str, bool | None]:
    return {verdict.what: verdict.holds for verdict in judge(found, {"forestay": [Idle(kib, 0.5)]})}


def test_verdicts_fall_short_where_the_relay_is_slower() -> None:
    verdicts = held(samples(ours=80_000.0, theirs=100_000.0))
    assert verdicts["CPU per keep-alive request"] is False
    assert verdicts["keep-alive requests/s, floor"] is False
    assert verdicts["connections/s"] is True
    assert verdicts["download MB/s"] is False


def test_verdicts_hold_where_the_relay_is_twice_as_fast() -> None:
    assert False not in held(samples(ours=200.0, theirs=100.0)).values()


def test_memory_counts_with_the_control_process() -> None:
    verdicts = held(samples(1.0, 1.0), kib=3.8)
    assert verdicts["memory per idle connection, worker"] is True
    assert verdicts["the same with the control process"] is False


def test_a_missing_peer_leaves_the_verdict_open() -> None:
    found = {key: runs for key, runs in samples(1.0, 1.0).items() if key[0] != "haproxy"}
    assert held(found)["connections/s"] is None


@pytest.mark.parametrize(
    ("times", "peak"),
    [([], 0.0), ([0.5], 1.0), ([0.0, 0.4, 0.9, 1.5], 3.0), ([0.0, 1.0, 2.0], 1.0), ([5.0, 0.2, 0.1], 2.0)],
)
def test_the_peak_is_of_any_window_within_the_interval(times: list[float], peak: float) -> None:
    assert peak_per_s(times, from_s=0.0, to_s=4.0) == peak


def test_cpu_time_of_a_process_grows_as_it_works() -> None:
    before_s, started_s = cpu_s([os.getpid()]), time.thread_time()
    while time.thread_time() - started_s < 0.1:
        pass
    assert cpu_s([os.getpid()]) - before_s >= 0.08


def test_private_memory_grows_by_what_is_allocated() -> None:
    before_kib = memory_kib([os.getpid()])
    with mmap.mmap(-1, 16 << 20) as block:  # pages of its own: an allocator might hand out freed ones again
        block.write(os.urandom(len(block)))
        assert memory_kib([os.getpid()]) - before_kib >= 0.9 * len(block) / 1024
