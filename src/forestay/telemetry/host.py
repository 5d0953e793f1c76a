"""Reads what a host, a process tree or a control group uses: counters only, rates are `usage`'s business.

CPU is measured against what the target may use: the budget that the operator declared, else the control group's quota,
else the cores it may run on.
"""

import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import psutil

from forestay.model.errors import ForestayError
from forestay.telemetry.cgroup import Cgroup, cgroup_at, cgroup_of
from forestay.telemetry.usage import Link, Reading


class TargetLost(ForestayError):
    """What was to be measured is gone (or hidden from this user): look for its successor, or give up."""


class Target(Protocol):
    """Something whose use can be read."""

    def read(self, at_s: float) -> Reading:
        """Its counters now.

        Args:
            at_s: now, monotonic seconds.

        Raises:
            TargetLost: it is gone.
        """


@dataclass(frozen=True, slots=True)
class Budget:
    """What the operator says the target may use; it overrides what the system says.

    Attributes:
        cpu_cores: seconds of CPU a second, > 0; None: the control group's quota, else the cores it may run on.
        memory_bytes: > 0; None: the control group's limit, else the machine's memory.
    """

    cpu_cores: float | None = None
    memory_bytes: float | None = None


class Links:
    """The network interfaces that count: those named, or all but loopback."""

    def __init__(self, interfaces: Collection[str] = (), bits_per_s: float | None = None) -> None:
        """Choose interfaces.

        Args:
            interfaces: names; empty: all but loopback.
            bits_per_s: speed of those whose driver does not tell.
        """
        self._interfaces = frozenset(interfaces)
        self._bytes_per_s = bits_per_s / 8 if bits_per_s else None

    def read(self) -> dict[str, Link]:
        """Counters and speeds of the agent's own network namespace."""
        states = psutil.net_if_stats()
        links = {}
        for name, counters in psutil.net_io_counters(pernic=True).items():
            state = states.get(name)
            if state is None or (name not in self._interfaces if self._interfaces else "loopback" in state.flags):
                continue
            told_bytes_per_s = state.speed * 1e6 / 8 or None  # psutil: megabits a second, 0 if not known
            links[name] = Link(counters.bytes_recv, counters.bytes_sent, told_bytes_per_s or self._bytes_per_s)
        return links


class Host:
    """The whole machine."""

    def __init__(self, budget: Budget = Budget(), links: Links | None = None) -> None:
        self._budget = budget
        self._links = links or Links()

    def read(self, at_s: float) -> Reading:
        """Counters now."""
        times = psutil.cpu_times()
        memory = psutil.virtual_memory()
        return Reading(
            at_s=at_s,
            # Stolen time counts as used: the neighbours have it, so it is no headroom. `user` contains guests' time.
            cpu_s=times.user + times.nice + times.system + times.irq + times.softirq + times.steal,
            cpu_cores=self._budget.cpu_cores or _cores(),
            memory_bytes=memory.total - memory.available,
            memory_limit_bytes=self._budget.memory_bytes or memory.total,
            links=self._links.read(),
        )


class ProcessTree:
    """A process and its descendants. Memory is resident size: pages that they share are counted for each of them."""

    def __init__(self, pid: int, budget: Budget = Budget(), links: Links | None = None) -> None:
        """Choose a process.

        Raises:
            TargetLost: there is none with this pid.
        """
        self._budget = budget
        self._links = links or Links()
        try:
            self._root = psutil.Process(pid)
            self._cgroup = cgroup_of(pid)
        except (psutil.Error, OSError) as error:
            raise TargetLost(f"pid {pid}: {_reason(error)}") from None

    def read(self, at_s: float) -> Reading:
        """Counters now; a descendant that ends while it is read is left out.

        Raises:
            TargetLost: the process itself is gone, or a zombie.
        """
        own: dict[tuple[int, float], float] = {}
        total_s, resident_bytes = 0.0, 0
        try:
            if self._root.status() == psutil.STATUS_ZOMBIE:
                raise psutil.ZombieProcess(self._root.pid)
            cores = self._budget.cpu_cores or self._cgroup.cores() or float(len(self._root.cpu_affinity() or [0]))
            members = [self._root, *self._root.children(recursive=True)]
        except (psutil.Error, OSError) as error:
            raise TargetLost(f"pid {self._root.pid}: {_reason(error)}") from None
        for process in members:
            try:
                times = process.cpu_times()
                resident_bytes += process.memory_info().rss
                own_s = _own_cpu_s(process.pid, times.user + times.system)
            except psutil.Error:
                continue
            own[process.pid, process.create_time()] = own_s
            total_s += own_s + times.children_user + times.children_system
        if not own:
            raise TargetLost(f"pid {self._root.pid}: no such process")
        return Reading(
            at_s=at_s,
            cpu_s=total_s,
            cpu_cores=cores,
            memory_bytes=resident_bytes,
            memory_limit_bytes=_memory_limit(self._budget, self._cgroup),
            links=self._links.read(),
            processes=own,
        )


class ControlGroup:
    """A control group, such as a systemd service or a container."""

    def __init__(self, path: str, budget: Budget = Budget(), links: Links | None = None) -> None:
        """Choose a group by its path, as in /proc/PID/cgroup or as a directory.

        Raises:
            InvalidInput: there is no such group.
        """
        self._path = path
        self._cgroup = cgroup_at(path)
        self._budget = budget
        self._links = links or Links()

    def read(self, at_s: float) -> Reading:
        """Counters now.

        Raises:
            TargetLost: the group is gone.
        """
        try:
            return Reading(
                at_s=at_s,
                cpu_s=self._cgroup.cpu_s(),
                cpu_cores=self._budget.cpu_cores or self._cgroup.cores() or _cores(),
                memory_bytes=self._cgroup.memory_bytes(),
                memory_limit_bytes=_memory_limit(self._budget, self._cgroup),
                links=self._links.read(),
            )
        except OSError as error:
            raise TargetLost(f"cgroup {self._path}: {error.strerror}") from None


def _own_cpu_s(pid: int, by_ticks_s: float) -> float:
    """CPU time of a living process without its children, to the nanosecond.

    /proc counts in ticks of 10 ms: over a window of a second 10 % of a budget of a tenth of a core. The process's CPU
    clock (clock_getcpuclockid(3): its id is made from the pid) is exact and costs one system call.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:  # just ended, or a kernel that does not show other processes' clocks
        return by_ticks_s


def _cores() -> float:
    return float(os.cpu_count() or 1)


def _memory_limit(budget: Budget, cgroup: Cgroup) -> float:
    total_bytes = float(psutil.virtual_memory().total)
    return budget.memory_bytes or min(cgroup.memory_limit_bytes() or total_bytes, total_bytes)


def _reason(error: psutil.Error | OSError) -> str:
    if isinstance(error, psutil.AccessDenied | PermissionError):
        return "may not be read by this user; run the agent as the server's user"
    return "no such process"
