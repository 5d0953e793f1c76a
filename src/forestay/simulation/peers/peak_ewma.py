"""Peak EWMA: two choices by latency times outstanding work, where latency rises at once and is forgiven slowly.

Source: Finagle `PeakEwma` (decay 10 s; a peak replaces the mean; looking decays it, as if a latency of 0 had been
seen; an endpoint never heard of ranks by a penalty once something is outstanding there). Ours differs in favour of the
peer: outstanding work counts per capacity, and endpoints with connections are observed ten times a second, as if
requests on all of them came back all the time.
"""

import math

from forestay.simulation.peers.probe import Probe
from forestay.simulation.peers.two_choices import TwoChoices
from forestay.simulation.servers import Servers
from forestay.simulation.world import World

DECAY_S = 10.0
PENALTY = 1e9
"""Cost of an endpoint of which no latency is known, but that something is outstanding there."""


class PeakEwma(TwoChoices):
    """Cost = peak-sensitive mean latency x (connections + 1) / capacity."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self._latency: list[float] = []
        self._stamp_s: list[float] = []
        self._probe: Probe | None = None

    def attach(self, world: World, servers: Servers) -> None:
        """Observe the world's servers."""
        super().attach(world, servers)
        self._probe = Probe(world, servers)

    def began(self, slot: int, now_s: float) -> None:
        """Nothing is known."""
        if slot == len(self._latency):
            self._latency.append(0.0)
            self._stamp_s.append(now_s)
        self._latency[slot], self._stamp_s[slot] = 0.0, now_s

    def step(self, now_s: float) -> None:
        """Requests come back."""
        if self._probe is None:
            return
        for slot in self.up:
            if self.counts[slot]:
                self._observe(slot, self._probe.slowdown(self.ids[slot], now_s), now_s)

    def observe(self, endpoint_id: str, latency_s: float, now_s: float) -> None:
        """A request took this long."""
        self._observe(self._find(endpoint_id), latency_s, now_s)

    def score(self, slot: int, now_s: float) -> float:
        """The cost; looking at it decays it."""
        self._observe(slot, 0.0, now_s)
        outstanding, latency = self.counts[slot], self._latency[slot]
        if latency == 0.0 and outstanding:
            return PENALTY + outstanding
        return latency * (outstanding + 1) / self.capacity[slot]

    def _observe(self, slot: int, latency: float, now_s: float) -> None:
        mean = self._latency[slot]
        if latency > mean:
            self._latency[slot] = latency
        else:
            keep = math.exp((self._stamp_s[slot] - now_s) / DECAY_S)
            self._latency[slot] = mean * keep + latency * (1.0 - keep)
        self._stamp_s[slot] = now_s
