"""kill -9 of a server: its clients come back at once, and must neither wait long nor all go to one place.

The same schedule runs against placement by forecast and by least connections. Servers report a load made of the
connections that they really hold and accept (see `backend.py`).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from benchmarks.clients import Clients, End, Visit, arrivals, crowd
from benchmarks.fleet import Server, peak_per_s, servers
from benchmarks.processes import free_port
from benchmarks.serving import CLUSTER, forestay
from benchmarks.verdicts import Verdict

POLICIES = ("forecast", "least_connections")
STORM_S = 4.0
"""After the kill, or the return, in which peaks are looked for."""
PROMPT_S = 0.25
"""A newcomer answered within that went straight to a living server."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What to put on it.

    Attributes:
        base: connections that stay, and come back at once when they are cut.
        rate_per_s: further ones, that stay for `stay_s` on average.
        killed_at_s, back_at_s, end_at_s: of the first server, and of it all.
        holding, accepting: load of one connection held, and of one accepted in a second.
    """

    servers: int = 4
    base: int = 1200
    rate_per_s: float = 100.0
    stay_s: float = 5.0
    killed_at_s: float = 12.0
    back_at_s: float = 20.0
    end_at_s: float = 30.0
    holding: float = 0.001
    accepting: float = 0.001


QUICK = Sizes(base=600, rate_per_s=60.0, killed_at_s=8.0, back_at_s=14.0, end_at_s=20.0, holding=0.002, accepting=0.002)


@dataclass(frozen=True, slots=True)
class Storm:
    """One policy.

    Attributes:
        cut: connections that the dead server had.
        cut_within_s: until the last of them saw its end.
        others_dropped: connections of living servers that were cut.
        elsewhere_s: after the kill, until no newcomer needed more than `PROMPT_S` for its first answer.
        refused: refused, reset or never answered.
        even: what `peak` would be if survivors shared evenly.
        peak, peak_100ms: most accepts on one survivor in any second, and in any tenth of one, per second.
        reconnect_p50_s, reconnect_p99_s: from reconnect to first answer.
        return_peak: most accepts per second on the server that came back.
    """

    policy: str
    cut: int
    cut_within_s: float
    others_dropped: int
    elsewhere_s: float
    refused: int
    even: float
    peak: float
    peak_100ms: float
    reconnect_p50_s: float
    reconnect_p99_s: float
    return_peak: float


@dataclass(frozen=True, slots=True)
class Result:
    """By policy."""

    storms: dict[str, Storm]

    def verdicts(self) -> list[Verdict]:
        """Asked / measured."""
        ours, reactive = self.storms["forecast"], self.storms["least_connections"]

        def both(say: Callable[[Storm], str]) -> str:
            return f"{say(ours)}; least connections {say(reactive)}"

        return [
            Verdict(
                "connections of the dead server",
                "all cut, no others",
                both(lambda s: f"{s.cut} cut in {s.cut_within_s:.2f} s, {s.others_dropped} others"),
                ours.cut > 0 and not ours.others_dropped,
            ),
            Verdict(
                "newcomers go elsewhere",
                "<= 2 s, none refused",
                both(lambda s: f"{s.elsewhere_s:.2f} s, {s.refused} refused"),
                ours.elsewhere_s <= 2.0 and not ours.refused,
            ),
            Verdict(
                "peak accepts in 1 s on a survivor",
                "<= least connections + 10 %",
                both(lambda s: f"{s.peak:.0f} (even: {s.even:.0f})"),
                ours.peak <= 1.1 * reactive.peak,
            ),
            Verdict("the same in 0.1 s, per s", "(to be told)", both(lambda s: f"{s.peak_100ms:.0f}"), None),
            Verdict(
                "reconnect to first answer, p50 / p99",
                "(to be told)",
                both(lambda s: f"{s.reconnect_p50_s * 1000:.0f} / {s.reconnect_p99_s * 1000:.0f} ms"),
                None,
            ),
            Verdict(
                "peak accepts in 1 s where it came back", "(to be told)", both(lambda s: f"{s.return_peak:.0f}"), None
            ),
        ]


def run(directory: Path, sizes: Sizes) -> Result:
    """Both policies, one after the other."""
    return Result({policy: storm(directory / policy, sizes, policy) for policy in POLICIES})


def storm(directory: Path, sizes: Sizes, policy: str) -> Storm:
    """Kill a server, bring it back."""
    schedule = [
        *crowd(sizes.base, over_s=3.0, message_every_s=2.0, reconnects=True),
        *arrivals(sizes.rate_per_s, 0.0, sizes.end_at_s, sizes.stay_s, seed=2, message_every_s=2.0),
    ]
    api_port = free_port()
    reports = ("--api", f"127.0.0.1:{api_port}", "--cluster", CLUSTER)
    weights = ("--holding", sizes.holding, "--accepting", sizes.accepting)
    # As elsewhere: those who count connections place at once, threshold and queue are forestay's own.
    overload = "queue" if policy == "forecast" else "place"
    settings = f'policy = "{policy}"\nbalancer = {{ overload = "{overload}" }}'
    with (
        servers(directory / "servers", sizes.servers, *reports, *weights) as fleet,
        forestay(
            directory / "forestay", [server.address for server in fleet], cluster=settings, api_port=api_port
        ) as relay,
        Clients(schedule, [relay.address()]) as clients,
    ):
        clients.sleep_until(sizes.killed_at_s)
        victim, survivors = fleet[0], fleet[1:]
        killed_s = time.monotonic()
        victim.kill()
        clients.sleep_until(sizes.back_at_s)
        back_s = time.monotonic()
        victim.start()
        clients.sleep_until(sizes.end_at_s)
        return _seen(policy, clients, victim, survivors, killed_s, back_s)


def _seen(
    policy: str, clients: Clients, victim: Server, survivors: Sequence[Server], killed_s: float, back_s: float
) -> Storm:
    visits = list(clients.visits)
    dropped = [visit for visit in visits if visit.end in {End.DROPPED, End.STALLED}]
    cut = [visit for visit in dropped if visit.server == victim.port]
    away = [visit for visit in visits if killed_s <= visit.started_s < back_s]
    slow = [visit for visit in away if answer_s(visit) > PROMPT_S]
    waits = sorted(answer_s(visit) for visit in away if visit.again)
    accepts = [server.accept_times() for server in survivors]

    def peak(window_s: float) -> float:
        return max(peak_per_s(times, killed_s, killed_s + STORM_S, window_s) for times in accepts)

    return Storm(
        policy=policy,
        cut=len(cut),
        cut_within_s=max((visit.ended_s or 0.0) - killed_s for visit in cut),
        others_dropped=len(dropped) - len(cut),
        elsewhere_s=max((visit.started_s - killed_s + answer_s(visit) for visit in slow), default=0.0),
        refused=sum(visit.end in {End.REFUSED, End.LATE} for visit in visits),
        even=peak_per_s(list(chain(*accepts)), killed_s, killed_s + STORM_S) / len(survivors),
        peak=peak(1.0),
        peak_100ms=peak(0.1),
        reconnect_p50_s=waits[len(waits) // 2],
        reconnect_p99_s=waits[int(0.99 * (len(waits) - 1))],
        return_peak=peak_per_s(victim.accept_times(), back_s, back_s + 2 * STORM_S),
    )


def answer_s(visit: Visit) -> float:
    """From connect to first answer; to its end where there was none."""
    until_s = visit.answered_s or visit.ended_s or time.monotonic()
    return until_s - visit.started_s
