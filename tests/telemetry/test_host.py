import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from forestay.telemetry.host import Budget, ControlGroup, Host, Links, ProcessTree, Target, TargetLost
from forestay.telemetry.usage import Usage, usage

BURNER = """
import os, sys, time
share, children = float(sys.argv[1]), int(sys.argv[2])
mother = os.getpid()
for _ in range(children):
    if os.getpid() == mother:
        os.fork()
if os.getpid() == mother:
    print("ready", flush=True)
while True:  # in slices of 20 ms: busy for `share` of each, by the process's own CPU clock
    began_s, used_s = time.monotonic(), time.process_time()
    while time.process_time() - used_s < 0.02 * share:
        pass
    time.sleep(max(0.0, 0.02 - (time.monotonic() - began_s)))
"""

FORKER = """
import os, time
print("ready", flush=True)
while True:  # every 20 ms a child that burns 4 ms of CPU and dies: only its parent's record remembers it
    if os.fork() == 0:
        while time.process_time() < 0.004:
            pass
        os._exit(0)
    os.wait()
    time.sleep(0.016)
"""


@contextlib.contextmanager
def program(source: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", source, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def measured(target: Target, window_s: float) -> Usage:
    before = target.read(time.monotonic())
    time.sleep(window_s)  # the length of the window is what is tested, not a wait for something
    used = usage(before, target.read(time.monotonic()))
    assert used is not None
    return used


@pytest.mark.process
@pytest.mark.parametrize("children", [0, 2])
def test_a_process_that_burns_cpu_is_measured_against_its_budget(children: int) -> None:
    share = 0.15
    with program(BURNER, share, children) as process:
        used = measured(ProcessTree(process.pid, Budget(cpu_cores=0.5)), 1.0)
    expected = (1 + children) * share / 0.5
    assert used.cpu == pytest.approx(expected, rel=0.3)
    assert used.memory is not None
    assert 0 < used.memory < 1


@pytest.mark.process
def test_children_that_live_shorter_than_the_window_are_counted() -> None:
    with program(FORKER) as process:
        used = measured(ProcessTree(process.pid, Budget(cpu_cores=1.0)), 1.0)
    assert used.cpu is not None
    assert used.cpu > 0.1


@pytest.mark.process
def test_the_cpu_clock_of_a_process_is_finer_than_a_tick() -> None:
    with program(BURNER, 0.01, 0) as process:
        used = measured(ProcessTree(process.pid, Budget(cpu_cores=0.02)), 1.0)
    assert used.cpu == pytest.approx(0.5, rel=0.5)


@pytest.mark.process
def test_a_process_that_died_is_lost_whether_or_not_somebody_waits_for_it() -> None:
    with program(BURNER, 0.01, 0) as process:
        target = ProcessTree(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(TargetLost, match=f"pid {process.pid}: no such process"):
            target.read(1.0)
        process.wait()
        with pytest.raises(TargetLost, match=f"pid {process.pid}: no such process"):
            target.read(2.0)
    with pytest.raises(TargetLost, match="no such process"):
        ProcessTree(process.pid)


def test_memory_is_over_the_declared_limit() -> None:
    resident_bytes = psutil.Process().memory_info().rss
    reading = ProcessTree(os.getpid(), Budget(memory_bytes=2 * resident_bytes)).read(0.0)
    assert reading.memory_bytes is not None
    assert reading.memory_bytes / reading.memory_limit_bytes == pytest.approx(0.5, rel=0.2)


def test_a_host_is_measured_against_all_its_cores_or_the_declared_ones() -> None:
    reading = Host().read(1.0)
    assert reading.cpu_cores == os.cpu_count()
    assert reading.memory_bytes is not None
    assert 0 < reading.memory_bytes < reading.memory_limit_bytes == psutil.virtual_memory().total
    assert Host().read(2.0).cpu_s >= reading.cpu_s
    assert Host(Budget(cpu_cores=0.25)).read(3.0).cpu_cores == 0.25


def test_loopback_counts_only_when_named_and_a_declared_speed_fills_an_unknown_one() -> None:
    assert "lo" not in Links().read()
    assert list(Links(["lo"]).read()) == ["lo"]
    assert Links(["lo"]).read()["lo"].bytes_per_s is None
    assert Links(["lo"], bits_per_s=8e9).read()["lo"].bytes_per_s == 1e9


@contextlib.contextmanager
def control_group(name: str) -> Iterator[list[Path]]:
    """A fresh control group in every hierarchy in use; skips where they may not be made."""
    roots = [
        Path(line.split()[1])
        for line in Path("/proc/self/mounts").read_text().splitlines()
        if line.split()[2] in ("cgroup", "cgroup2")
        and (line.split()[2] == "cgroup2" or {"cpu", "cpuacct", "memory"} & set(line.split()[3].split(",")))
    ]
    made: list[Path] = []
    try:
        try:
            for root in roots:
                (root / name).mkdir()
                made.append(root / name)
        except OSError as error:
            pytest.skip(f"control groups may not be made here: {error}")
        if not made:
            pytest.skip("no control groups here")
        yield made
    finally:
        for directory in made:
            deadline_s = time.monotonic() + 5.0
            while True:
                try:
                    directory.rmdir()
                    break
                except OSError:  # a killed member is still on its way out
                    assert time.monotonic() < deadline_s
                    time.sleep(0.01)


@pytest.mark.process
def test_a_real_control_group_is_measured_against_its_quota() -> None:
    name = f"forestay-test-{os.getpid()}"
    with control_group(name) as directories, program(BURNER, 0.2, 0) as process:
        for directory in directories:
            (directory / "cgroup.procs").write_text(str(process.pid))
            if (directory / "cpu.cfs_quota_us").exists():
                (directory / "cpu.cfs_quota_us").write_text("50000")
            if (directory / "cpu.max").exists():
                (directory / "cpu.max").write_text("50000 100000")
        target = ControlGroup(f"/{name}")
        used = measured(target, 1.0)
        assert target.read(0.0).cpu_cores in (0.5, float(os.cpu_count() or 1))
        expected = 0.2 / target.read(0.0).cpu_cores
        assert used.cpu == pytest.approx(expected, rel=0.3)
        assert ProcessTree(process.pid).read(0.0).cpu_cores == target.read(0.0).cpu_cores
    with pytest.raises(TargetLost, match="cgroup"):
        target.read(1.0)
