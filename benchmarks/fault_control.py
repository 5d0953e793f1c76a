"""kill -9 of the control process under load: who notices, and what the next one finds."""

import asyncio
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clients import Clients, End, arrivals, crowd
from benchmarks.fleet import servers
from benchmarks.serving import CLUSTER, Forestay, forestay
from benchmarks.verdicts import Verdict
from forestay.registries.registry import Registry
from forestay.registries.sqlite import SqliteStore

SERVERS = 4
STALE_S = 5.0
"""So long after the last table workers place by it, then by least connections."""
ADOPT_S_MAX = 30.0
SETTLE_S_MAX = 10.0

Name = tuple[str, str]
"""Connection id, and address of the client."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What to put on it. The defaults are what is asked for.

    Attributes:
        rate_per_s: connections that come, and stay for `stay_s` on average.
        base: connections that stay to the end.
        before_s, away_s, after_s: of the control process's death.
    """

    rate_per_s: float = 500.0
    stay_s: float = 4.0
    base: int = 500
    before_s: float = 8.0
    away_s: float = 9.0
    after_s: float = 5.0


QUICK = Sizes(rate_per_s=150.0, base=150, before_s=5.0, away_s=7.0, after_s=3.0)


@dataclass(frozen=True, slots=True)
class Result:
    """What was seen from the outside.

    Attributes:
        established: open when it was killed.
        dropped: cut from then on, whenever they had come.
        placed_away, placed_stale: answered connections that came while it was dead; of these, by least connections.
        refused: refused, reset or never answered from then on.
        slowest_answer_s: of those that came while it was dead.
        durable: registrations in the file when it died; what has been acknowledged.
        durable_open, durable_found: of these, still open after the restart; of those, in the API with the same id.
        serving_s: from the start of the next process until it serves.
        adopted_s: until the API knew all of `durable_open`.
        open_at_end, missing, strangers: connections that are open in the end; of these, unknown to the API; known to it
            but not open.
        clients_late_s: by how much the clients themselves lagged at worst.
    """

    established: int
    dropped: int
    placed_away: int
    placed_stale: int
    refused: int
    slowest_answer_s: float
    durable: int
    durable_open: int
    durable_found: int
    serving_s: float
    adopted_s: float
    open_at_end: int
    missing: int
    strangers: int
    clients_late_s: float

    def verdicts(self) -> list[Verdict]:
        """Asked / measured."""
        lost = self.durable_open - self.durable_found
        return [
            Verdict("established connections dropped", "0", f"{self.dropped} of {self.established}", not self.dropped),
            Verdict(
                "refused while it was dead, and after",
                "0",
                f"{self.refused}; {self.placed_away} placed while dead, {self.placed_stale} of them by "
                f"least connections, slowest answer {self.slowest_answer_s * 1000:.0f} ms",
                not self.refused and self.placed_stale > 0,
            ),
            Verdict(
                "acknowledged registrations lost",
                "0",
                f"{lost} of {self.durable_open} still open ({self.durable} acknowledged at the kill)",
                not lost and self.durable_open > 0,
            ),
            Verdict(
                "registry against clients at the end",
                "the same set",
                f"{self.open_at_end} open, {self.missing} missing, {self.strangers} that are gone",
                not self.missing and not self.strangers,
            ),
            Verdict(
                "time to serve, to know all connections",
                "(to be told)",
                f"{self.serving_s:.2f} s, {self.adopted_s:.2f} s (clients late by {self.clients_late_s * 1000:.0f} ms)",
                None,
            ),
        ]


def run(directory: Path, sizes: Sizes) -> Result:
    """Kill the control process, start it again, compare."""
    killed_at_s = sizes.before_s
    end_at_s = killed_at_s + sizes.away_s + ADOPT_S_MAX + sizes.after_s
    schedule = [
        *crowd(sizes.base, over_s=2.0, message_every_s=2.0),
        *arrivals(sizes.rate_per_s, 0.0, end_at_s, sizes.stay_s, seed=1, message_every_s=2.0),
    ]
    with (
        servers(directory / "servers", SERVERS) as fleet,
        forestay(directory / "forestay", [server.address for server in fleet]) as relay,
        Clients(schedule, [relay.address()]) as clients,
    ):
        clients.sleep_until(killed_at_s)
        relay.kill()
        killed_s = time.monotonic()
        established = len(clients.open())
        durable = durable_connections(relay)
        clients.sleep_until(killed_at_s + sizes.away_s)
        back_s = time.monotonic()
        serving_s = relay.start()
        found = _await_adoption(relay, clients, durable, killed_s)
        adopted_s = time.monotonic() - back_s
        durable_open = _open_of(durable, clients, killed_s)
        time.sleep(sizes.after_s)
        clients.freeze()
        missing, strangers = _differences(relay, clients)
        away = [visit for visit in clients.visits if killed_s <= visit.started_s < back_s]
        answered = [visit for visit in away if visit.answered_s is not None]
        return Result(
            established=established,
            dropped=clients.count(End.DROPPED, End.STALLED),
            placed_away=len(answered),
            placed_stale=sum(visit.started_s > killed_s + STALE_S + 1.0 for visit in answered),
            refused=clients.count(End.REFUSED, End.LATE),
            slowest_answer_s=max((visit.answered_s or 0.0) - visit.started_s for visit in answered),
            durable=len(durable),
            durable_open=len(durable_open),
            durable_found=len(durable_open & found),
            serving_s=serving_s,
            adopted_s=adopted_s,
            open_at_end=len(clients.open()),
            missing=missing,
            strangers=strangers,
            clients_late_s=clients.late_s,
        )


def durable_connections(relay: Forestay) -> set[Name]:
    """Connections that are in the registry's file right now; its owner must be dead."""

    async def read(copy: Path) -> set[Name]:
        store = await SqliteStore.open(copy)
        registry = Registry(store, CLUSTER)
        await registry.start()
        found = {(connection.id, connection.client) for connection in registry.recovered()}
        await registry.close()
        await store.close()
        return found

    with tempfile.TemporaryDirectory(dir=relay.directory) as name:
        for suffix in ("", "-wal"):
            source = relay.registry_path.with_name(relay.registry_path.name + suffix)
            if source.exists():
                shutil.copy(source, Path(name) / f"copy{suffix}")
        return asyncio.run(read(Path(name) / "copy"))


def _await_adoption(relay: Forestay, clients: Clients, durable: set[Name], killed_s: float) -> set[Name]:
    """What the API names, once it knows all durable connections that are still open, or did not in time."""
    deadline_s = time.monotonic() + ADOPT_S_MAX
    found: set[Name] = set()
    while not _open_of(durable, clients, killed_s) <= found and time.monotonic() < deadline_s:
        # Pages shift under traffic: what one look misses, the next one has.
        found |= {(connection.id, connection.client) for connection in relay.connections()}
    return found


def _open_of(durable: set[Name], clients: Clients, killed_s: float) -> set[Name]:
    """Those whose client is still connected, and not one that came later and was given the same port."""
    live = {visit.address for visit in clients.open() if visit.started_s < killed_s}
    return {name for name in durable if name[1] in live}


def _differences(relay: Forestay, clients: Clients) -> tuple[int, int]:
    """Open connections that the registry lacks, and its connections that are gone; nobody comes or leaves now."""
    deadline_s = time.monotonic() + SETTLE_S_MAX
    while True:
        registered = {connection.client for connection in relay.connections()}
        really = {visit.address for visit in clients.open()}
        missing, strangers = len(really - registered), len(registered - really)
        if not (missing or strangers) or time.monotonic() > deadline_s:
            return missing, strangers
        time.sleep(0.2)
