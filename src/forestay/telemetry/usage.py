"""From two readings of ever-growing counters to the load between them; pure.

What a counter cannot say is None, never 0: a counter that went backwards (a restart), a link whose speed nobody knows,
no time between the readings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Link:
    """Counters of one network interface.

    Attributes:
        received_bytes, sent_bytes: since it came up.
        bytes_per_s: its speed in each direction; None: not known (loopback, most virtual machines).
    """

    received_bytes: int
    sent_bytes: int
    bytes_per_s: float | None


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything read of a host, process tree or cgroup at one moment.

    Attributes:
        at_s: the moment, monotonic seconds.
        cpu_s: CPU time used since ever, seconds; of a process tree also by the children that its members reaped.
        cpu_cores: how many seconds of CPU it may use a second, > 0.
        memory_bytes: memory in use; None: not known.
        memory_limit_bytes: memory it may use, > 0.
        links: network interfaces by name.
        processes: of a process tree: CPU seconds of each process alone by (pid, start); empty for hosts and cgroups.
    """

    at_s: float
    cpu_s: float
    cpu_cores: float
    memory_bytes: float | None
    memory_limit_bytes: float
    links: Mapping[str, Link] = field(default_factory=dict)
    processes: Mapping[tuple[int, float], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """Load between two readings, fractions; None where it cannot be known.

    Attributes:
        elapsed_s: between the readings, > 0.
        cpu: over the quota.
        memory: at the second reading, over the limit.
        network: of the busiest direction of the busiest link of known speed.
    """

    elapsed_s: float
    cpu: float | None
    memory: float | None
    network: float | None


def usage(before: Reading, after: Reading) -> Usage | None:
    """What was used between two readings of the same target; None if no time passed between them."""
    elapsed_s = after.at_s - before.at_s
    if elapsed_s <= 0:
        return None
    used_s = _cpu_used_s(before, after)
    return Usage(
        elapsed_s=elapsed_s,
        cpu=None if used_s is None else used_s / elapsed_s / after.cpu_cores,
        memory=None if after.memory_bytes is None else after.memory_bytes / after.memory_limit_bytes,
        network=_busiest(before.links, after.links, elapsed_s),
    )


def _cpu_used_s(before: Reading, after: Reading) -> float | None:
    """CPU seconds between the readings; None if the counter went backwards.

    For a process tree two lower bounds exist and the larger one is taken. The tree's total counts children that died,
    but loses one whose parent does not wait for it, or that left the tree; the sum over living processes misses those
    that were born and died in between. A tree whose members vanish can therefore never look as if it used less
    than what its survivors did.
    """
    total_s = after.cpu_s - before.cpu_s
    if after.processes:
        living_s = sum(
            max(0.0, cpu_s - before.processes.get(process, 0.0)) for process, cpu_s in after.processes.items()
        )
        return max(total_s, living_s)
    return total_s if total_s >= 0 else None


def _busiest(before: Mapping[str, Link], after: Mapping[str, Link], elapsed_s: float) -> float | None:
    shares = []
    for name, link in after.items():
        earlier = before.get(name)
        if earlier is None or not link.bytes_per_s:
            continue
        received = link.received_bytes - earlier.received_bytes
        sent = link.sent_bytes - earlier.sent_bytes
        if received >= 0 and sent >= 0:  # else it was taken down and up again
            shares.append(max(received, sent) / elapsed_s / link.bytes_per_s)
    return max(shares, default=None)
