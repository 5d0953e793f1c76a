"""Processes that a benchmark starts, and what the kernel knows of them: CPU time and memory of their own.

Every child is killed when the benchmark ends, however it ends: by the context manager, or by the kernel when this
process is gone.
"""

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

WITHIN_S = 20.0
"""For whatever takes well under a second on an idle machine."""

STOP_S = 5.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""

LIBC = ctypes.CDLL(None)

Answer = TypeVar("Answer")


class BenchmarkFailed(Exception):
    """It cannot be measured; the message says why and what to do."""


@contextmanager
def child(
    command: Sequence[object], *, cpus: Iterable[int] = (), stop: signal.Signals = signal.SIGKILL, **options: Any
) -> Iterator["subprocess.Popen[str]"]:
    """A process that does not outlive the block.

    Args:
        command: what to run, each part as its `str`.
        cpus: that it may use; empty: all.
        stop: how to end it; SIGKILL follows after `STOP_S` seconds.
        options: of `subprocess.Popen`.
    """
    allowed = set(cpus)

    def prepare() -> None:
        if allowed:
            os.sched_setaffinity(0, allowed)
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    options = {"stdin": subprocess.DEVNULL, "start_new_session": True, **options}
    process = subprocess.Popen([str(part) for part in command], text=True, preexec_fn=prepare, **options)  # noqa: PLW1509 # two system calls, no lock is taken
    try:
        yield process
    finally:
        end(process, stop)


def end(process: "subprocess.Popen[str]", how: signal.Signals) -> None:
    """End a child and close its pipes."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def kill_all(pids: Iterable[int], is_ours: Callable[[psutil.Process], bool]) -> None:
    """SIGKILL those that still are what they were; a number may have been given to another process since."""
    for pid in pids:
        try:
            process = psutil.Process(pid)
            if is_ours(process):
                process.kill()
                process.wait(STOP_S)
        except psutil.NoSuchProcess:
            pass  # what was wanted


def until(probe: Callable[[], Answer | None], what: str, within_s: float = WITHIN_S, pause_s: float = 0.02) -> Answer:
    """Ask `probe` until its answer is true.

    Raises:
        BenchmarkFailed: it did not in time.
    """
    deadline_s = time.monotonic() + within_s
    while not (answer := probe()):
        if time.monotonic() > deadline_s:
            raise BenchmarkFailed(f"no {what} within {within_s:g} s")
        time.sleep(pause_s)
    return answer


def free_port() -> int:
    """A port of 127.0.0.1 that is free now, for those who cannot say which one they were given."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def cpu_s(pids: Iterable[int]) -> float:
    """User and system time that these processes, threads included, have used so far, seconds."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS_PER_S


def memory_kib(pids: Iterable[int]) -> int:
    """User-space memory that these processes share with nobody, KiB."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                total += int(line.split()[1])
    return total


def end_on_sigterm() -> None:
    """Let SIGTERM do what Ctrl-C does: context managers end the children."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def machine() -> str:
    """One line that says how far absolute figures can be trusted."""
    load = os.getloadavg()[0]
    cores = len(os.sched_getaffinity(0))
    busy = "; others were at work: trust ratios, not absolute figures" if load > 0.5 * cores else ""
    return f"{cores} cores, load average {load:.1f} at the start{busy}"
