"""How far a shadow's estimate is from what would really have happened.

A shadow watches a peer place the connections of a simulated world, and estimates what forestay would have made of it.
Then forestay itself places the connections of the same world: the truth, which nobody in production ever sees.

    python -m benchmarks.shadow [--peer least_connections] [--seed 1] [SCENARIO ...]
"""

import argparse
import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from forestay import Balancer, BalancerSettings, Endpoint, LoadReport
from forestay.control.clock import Clock
from forestay.control.loop import ClusterLoop
from forestay.control.shadow.measures import Measures
from forestay.control.shadow.shadow import Shadow, ShadowRule
from forestay.control.shadow.sightings import Sighting
from forestay.model.connection import Connection
from forestay.simulation.engine import run
from forestay.simulation.outcome import Outcome
from forestay.simulation.peers import PEERS
from forestay.simulation.policy import Policy
from forestay.simulation.scenario import PACKAGED, Scenario
from forestay.simulation.steps import COLD_S
from forestay.simulation.world import World

SCENARIOS = ("ramp10", "four", "periodic15", "hidden_classes", "heavy_tail")
SETTINGS = BalancerSettings(overload="place")


class Watched:
    """A peer that does what it always does while a shadow looks on. A `Policy`.

    Attributes:
        shadow: what it has found out.
    """

    def __init__(self, peer: Policy) -> None:
        self.shadow = Shadow("simulated", ShadowRule(warm_up_s=COLD_S))
        self._peer = peer
        self._now_s = 0.0
        clock = Clock(lambda: self._now_s, lambda: self._now_s)
        self._loop = ClusterLoop("simulated", Balancer(SETTINGS), Remembered(), shadow=self.shadow, clock=clock)
        asyncio.run(self._loop.start())

    def __getattr__(self, name: str) -> Any:
        """Whatever the shadow need not know of: the peer's own."""
        return getattr(self._peer, name)

    def add_endpoint(
        self,
        endpoint_id: str,
        now_s: float,
        capacity: float | None = None,
        zone: str = "",
        connections_max: int | None = None,
    ) -> None:
        """See `Balancer`."""
        self._peer.add_endpoint(endpoint_id, now_s, capacity, zone, connections_max)
        self._loop.endpoints.add(Endpoint(endpoint_id, capacity, zone, connections_max), now_s)

    def set_health(self, endpoint_id: str, healthy: bool, now_s: float) -> None:
        """See `Balancer`."""
        self._peer.set_health(endpoint_id, healthy, now_s)
        self._loop.endpoints.set_health(endpoint_id, healthy, now_s)

    def drain_endpoint(self, endpoint_id: str, now_s: float) -> None:
        """See `Balancer`."""
        self._peer.drain_endpoint(endpoint_id, now_s)
        self._loop.endpoints.drain(endpoint_id, now_s)

    def remove_endpoint(self, endpoint_id: str, now_s: float) -> None:
        """See `Balancer`."""
        self._peer.remove_endpoint(endpoint_id, now_s)
        self._loop.endpoints.remove(endpoint_id, now_s)

    def report(self, report: LoadReport, now_s: float) -> bool:
        """See `Balancer`."""
        self._now_s = now_s
        self._loop.report(report)
        return self._peer.report(report, now_s)

    def opened(self, connection_id: str, endpoint_id: str, now_s: float, hint: str = "") -> None:
        """See `Balancer`."""
        self._now_s = now_s
        self._peer.opened(connection_id, endpoint_id, now_s, hint)
        self.shadow.intake.observe(Sighting("opened", connection_id, endpoint_id, now_s, hint=hint))

    def closed(self, connection_id: str, now_s: float) -> None:
        """See `Balancer`."""
        self._now_s = now_s
        self._peer.closed(connection_id, now_s)
        self.shadow.intake.observe(Sighting("closed", connection_id, at=now_s))

    def tick(self, now_s: float, wall_s: float | None = None) -> object:
        """See `Balancer`."""
        self._now_s = now_s
        self.shadow.step(now_s)
        self._loop.tick(now_s)
        assert not self._loop.counts.errors, self._loop.counts.errors
        return self._peer.tick(now_s, wall_s)


class Remembered:
    """A `ConnectionStore` that is one dictionary."""

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}

    def register(self, connection: Connection) -> None:
        """See `ConnectionStore`."""
        self._connections[connection.id] = connection

    def unregister(self, connection_id: str) -> None:
        """See `ConnectionStore`."""
        self._connections.pop(connection_id, None)

    def get(self, connection_id: str) -> Connection | None:
        """See `ConnectionStore`."""
        return self._connections.get(connection_id)

    def on_endpoint(self, endpoint_id: str) -> Iterable[Connection]:
        """See `ConnectionStore`."""
        return [each for each in self._connections.values() if each.endpoint_id == endpoint_id]

    def settle(self, owner: str, live: Iterable[Connection]) -> Iterable[Connection]:
        """See `ConnectionStore`; nobody owns anything here."""
        return ()

    def settle_rest(self) -> Iterable[Connection]:
        """See `ConnectionStore`."""
        return ()


@dataclass(frozen=True, slots=True)
class Compared:
    """One world.

    Attributes:
        peer: what the peer came to.
        forestay: what forestay came to in its place: the truth.
        as_is: what the shadow made of the peer, from load reports.
        would_be: its estimate of the truth.
    """

    peer: Outcome
    forestay: Outcome
    as_is: Measures
    would_be: Measures


def compare(scenario: Scenario, seed: int, peer: str) -> Compared:
    """Watch the peer ("forestay": itself), then let forestay do it."""
    world = World.build(scenario, seed)
    watched = Watched(Balancer(SETTINGS) if peer == "forestay" else PEERS[peer](seed))
    outcome = run(world, watched, peer)
    truth = run(world, Balancer(SETTINGS), "forestay")
    return Compared(outcome, truth, watched.shadow.as_is, watched.shadow.would_be)


def _scenario(name: str) -> Scenario:
    """One that comes with the package."""
    return Scenario.parse((PACKAGED / f"{name}.toml").read_text(encoding="utf-8"), name)


def main() -> None:
    """Print one line a scenario: the peer, and the change that forestay makes to it, true and estimated."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scenarios", nargs="*", default=SCENARIOS)
    parser.add_argument("--peer", default="least_connections", choices=["forestay", *sorted(PEERS)])
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(f"{'change by forestay, true / estimated':38} {'delay':>17} {'max/mean':>17} {'seconds over 100 %':>24}")
    for name in asked.scenarios:
        found = compare(_scenario(name), asked.seed, asked.peer)
        peer, forestay, as_is, would_be = found.peer, found.forestay, found.as_is, found.would_be
        print(
            f"{name + ' after ' + asked.peer:38} "
            f"{_change(peer.delay, forestay.delay)}/{_change(as_is.delay, would_be.delay)} "
            f"{_change(peer.max_over_mean, forestay.max_over_mean)}"
            f"/{_change(as_is.max_over_mean, would_be.max_over_mean)} "
            f"{forestay.over_100_s - peer.over_100_s:+12.0f}/{would_be.over_full_s - as_is.over_full_s:+11.0f}",
            flush=True,
        )


def _change(before: float | None, after: float | None) -> str:
    """In per cent; the shadow always has something to say after minutes of load."""
    assert before is not None
    assert after is not None
    return f"{after / before - 1:+8.1%}"


if __name__ == "__main__":
    main()
