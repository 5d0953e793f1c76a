"""10,000 connections at once over two workers, one of which has 8,000 of them; then all of it again.

The two workers belong to two listeners of one cluster, so that it is certain who has how many. Memory is that which a
process shares with nobody. No proxy gives all of it back when connections close; what must not happen is that the
second crowd needs more.
"""

import resource
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.clients import Arrival, Clients, End, crowd
from benchmarks.fleet import servers
from benchmarks.processes import BenchmarkFailed, memory_kib, until
from benchmarks.serving import Forestay, forestay
from benchmarks.verdicts import Verdict

SERVERS = 4
SETTLE_S = 2.5
"""After everybody came or left: ticks of the control process, the journal."""
FLAT = 1.05
"""The second crowd may need so much of what the first did: allocators round."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What to put on it.

    Attributes:
        by_listener: connections, on a listener with one worker each.
        opening_s: in which they come.
        hold_s, again_s: how long the first and the second crowd stay.
        message_every_s: of every client.
    """

    by_listener: dict[str, int] = field(default_factory=lambda: {"large": 8000, "small": 2000})
    opening_s: float = 12.0
    hold_s: float = 60.0
    again_s: float = 10.0
    message_every_s: float = 10.0


QUICK = Sizes(by_listener={"large": 1600, "small": 400}, opening_s=4.0, hold_s=8.0, again_s=4.0, message_every_s=3.0)


@dataclass(frozen=True, slots=True)
class Result:
    """What was seen.

    Attributes:
        wanted: connections of a crowd.
        held: of the first and the second crowd, still connected at their end.
        lost: refused, cut or unanswered, in all.
        registered: by the API while the first crowd was there.
        memory_kib: private, by process, when started, with the first crowd, after it, with the second, after it.
        clients_late_s: by how much the clients themselves lagged at worst.
    """

    wanted: int
    held: tuple[int, int]
    lost: int
    registered: int
    memory_kib: dict[str, list[int]]
    clients_late_s: float

    def verdicts(self) -> list[Verdict]:
        """Asked / measured."""
        verdicts = [
            Verdict(
                "connections lost",
                "0",
                f"{self.lost}; {self.held[0]} and {self.held[1]} of {self.wanted} held to the end, {self.registered} "
                f"registered (clients late by {self.clients_late_s * 1000:.0f} ms)",
                not self.lost and self.held == (self.wanted, self.wanted) and self.registered == self.wanted,
            )
        ]
        for name, (start, first, after, second, after_second) in self.memory_kib.items():
            verdicts.append(
                Verdict(
                    f"memory of {name}, MiB",
                    f"no more than {FLAT:g} x in the second crowd, and after it",
                    f"start {start / 1024:.1f}, crowd {first / 1024:.1f}, after {after / 1024:.1f}, "
                    f"again {second / 1024:.1f}, after {after_second / 1024:.1f}",
                    second <= FLAT * max(first, after) and after_second <= FLAT * after,
                )
            )
        return verdicts


def run(directory: Path, sizes: Sizes) -> Result:
    """Two crowds."""
    wanted = sum(sizes.by_listener.values())
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted * 2:
        raise BenchmarkFailed(f"descriptor limit {hard}: ulimit -Hn {wanted * 2} or more is needed")
    listeners = dict.fromkeys(sizes.by_listener, "workers = 1")
    with (
        servers(directory / "servers", SERVERS) as fleet,
        forestay(directory / "forestay", [server.address for server in fleet], listeners=listeners) as relay,
    ):
        pids = {f"worker {name!r} ({count:,})": relay.workers(name)[0].pid for name, count in sizes.by_listener.items()}
        pids["the control process"] = relay.pid
        memory: dict[str, list[int]] = {name: [] for name in pids}

        def look() -> None:
            for name, pid in pids.items():
                memory[name].append(memory_kib([pid]))

        time.sleep(SETTLE_S)
        look()
        held, lost, late_s, registered = [], 0, 0.0, 0
        for seconds in (sizes.hold_s, sizes.again_s):
            with Clients(_schedule(sizes), [relay.address(name) for name in sizes.by_listener]) as clients:
                clients.sleep_until(sizes.opening_s + SETTLE_S)
                look()
                registered = registered or len(relay.connections())
                clients.sleep_until(sizes.opening_s + SETTLE_S + seconds)
                held.append(len(clients.open()))
                clients.leave()
                time.sleep(SETTLE_S)
                lost += clients.count(*set(End) - {End.LEFT})
                late_s = max(late_s, clients.late_s)
            _await_empty(relay)
            time.sleep(SETTLE_S)
            look()
        return Result(wanted, (held[0], held[1]), lost, registered, memory, late_s)


def _schedule(sizes: Sizes) -> list[Arrival]:
    schedule = []
    for target, count in enumerate(sizes.by_listener.values()):
        schedule += crowd(count, sizes.opening_s, sizes.message_every_s, target=target)
    return schedule


def _await_empty(relay: Forestay) -> None:
    until(lambda: not relay.connections(), "empty registry after everybody left")
