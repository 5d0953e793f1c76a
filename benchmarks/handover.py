"""Restart of the relay under load, three ways; nobody may be refused and nobody cut.

Twice SIGUSR2 (the control process replaces its workers), then a full upgrade: SIGQUIT ends the control process, which
leaves its workers; the next `forestay serve`, with another setting, takes the sockets over from them and replaces them.
"""

import signal
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clients import Clients, End, arrivals, crowd
from benchmarks.fleet import servers
from benchmarks.serving import Forestay, forestay
from benchmarks.verdicts import Verdict

SERVERS = 4
ROLLS = 2
SLOW_S = 120.0
"""Clients come for so much longer than the restarts should need; what is left of the schedule is dropped."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What to put on it.

    Attributes:
        rate_per_s: connections of one request each.
        held: connections that stay all the time.
        between_s: before, between and after the restarts.
    """

    rate_per_s: float = 1000.0
    held: int = 200
    between_s: float = 4.0


QUICK = Sizes(rate_per_s=300.0, held=50, between_s=2.0)


@dataclass(frozen=True, slots=True)
class Result:
    """What was seen.

    Attributes:
        requests: answered connections of one request.
        refused: refused, reset or never answered.
        dropped: connections that stayed and were cut.
        held: still connected at the end, of `held_wanted`.
        generations: sets of workers that served: one more than restarts if all of them took place.
        slowest_s: longest time to the first answer.
        roll_s, upgrade_s: how long the restarts took; the latter from SIGQUIT to "serving".
        clients_late_s: by how much the clients themselves lagged at worst.
    """

    requests: int
    refused: int
    dropped: int
    held: int
    held_wanted: int
    generations: int
    slowest_s: float
    roll_s: tuple[float, ...]
    upgrade_s: float
    clients_late_s: float

    def verdicts(self) -> list[Verdict]:
        """Asked / measured."""
        took = ", ".join(f"{seconds:.2f}" for seconds in self.roll_s)
        return [
            Verdict(
                "refused over two rolls and an upgrade",
                "0",
                f"{self.refused} of {self.requests + self.refused}, slowest answer {self.slowest_s * 1000:.0f} ms",
                not self.refused,
            ),
            Verdict(
                "connections that stay, cut",
                "0",
                f"{self.dropped}; {self.held} of {self.held_wanted} at the end",
                not self.dropped and self.held == self.held_wanted,
            ),
            Verdict(
                "workers really replaced",
                f"{ROLLS + 1} times",
                f"{self.generations - 1} times",
                self.generations == ROLLS + 2,
            ),
            Verdict(
                "time of a roll, of an upgrade",
                "(to be told)",
                f"{took} s, {self.upgrade_s:.2f} s (clients late by {self.clients_late_s * 1000:.0f} ms)",
                None,
            ),
        ]


def run(directory: Path, sizes: Sizes) -> Result:
    """Roll, roll, upgrade."""
    pauses = ROLLS + 2
    schedule = [
        *crowd(sizes.held, over_s=1.0, message_every_s=1.0),
        *arrivals(sizes.rate_per_s, 0.0, pauses * sizes.between_s + SLOW_S, 0.0, seed=3),
    ]
    with (
        servers(directory / "servers", SERVERS) as fleet,
        forestay(directory / "forestay", [server.address for server in fleet]) as relay,
        Clients(schedule, [relay.address()]) as clients,
    ):
        seen = {_pids(relay)}
        roll_s = []
        for _ in range(ROLLS):
            time.sleep(sizes.between_s)
            relay.mark_log()
            started_s = time.monotonic()
            relay.signal(signal.SIGUSR2)
            relay.await_log("workers_upgraded")
            roll_s.append(time.monotonic() - started_s)
            seen.add(_pids(relay))
        time.sleep(sizes.between_s)
        started_s = time.monotonic()
        relay.signal(signal.SIGQUIT)
        relay.wait()
        relay.start(listeners={"public": "connect_timeout_s = 0.9"})
        upgrade_s = time.monotonic() - started_s
        seen.add(_pids(relay))
        time.sleep(sizes.between_s)
        clients.freeze()
        time.sleep(1.0)  # the last answers
        visits = [visit for visit in clients.visits if visit.answered_s is not None]
        return Result(
            requests=sum(visit.arrival.stay_s == 0.0 for visit in visits),
            refused=clients.count(End.REFUSED, End.LATE),
            dropped=clients.count(End.DROPPED, End.STALLED),
            held=len(clients.open()),
            held_wanted=sizes.held,
            generations=len({max(pids) for pids in seen}),
            slowest_s=max((visit.answered_s or 0.0) - visit.started_s for visit in visits),
            roll_s=tuple(roll_s),
            upgrade_s=upgrade_s,
            clients_late_s=clients.late_s,
        )


def _pids(relay: Forestay) -> frozenset[int]:
    return frozenset(worker.pid for worker in relay.workers())
