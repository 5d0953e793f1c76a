"""Prequal: probes of connections in flight and latency, hot and cold, lexicographic.

Source: Wydrowski et al., "Load is not what you should balance: introducing Prequal", NSDI 2024. A pool of at most 16
probes not older than 1 s; 3 probes a placement; a probe is hot where its requests in flight (RIF) are over the .84
quantile of those seen lately; the cold one of the lowest latency wins, else the hot one of the lowest RIF; the winner's
RIF counts the newcomer; with each placement one probe leaves, in turn the oldest and the worst; a probe is used
max(1, 2 / ((1 - pool / endpoints) probes - 1)) times, rounded at random; under two probes the pick is random; when
nothing is placed, probes are sent all the same.

Ours differs in favour of the peer: answers come at once and are exact, RIF counts per capacity, the pool holds the
newest probe of each endpoint only, so that it sees more of them.
"""

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence

from forestay.simulation.peers.blind import Random
from forestay.simulation.peers.probe import Probe
from forestay.simulation.servers import Servers
from forestay.simulation.world import World

POOL = 16
AGE_MAX_S = 1.0
PROBES = 3
HOT_QUANTILE = 0.84
"""2 ** -.25, of the paper. 0: by RIF alone; 1: by latency alone, but for the probes of the greatest RIF."""
RECENT = 128
"""Probes whose RIF makes the distribution of which the quantile is taken."""
IDLE_S = 0.2
"""Without placements, probes go out this often; a pool of 16 is renewed within its age."""


class Prequal(Random):
    """See the module.

    Args:
        seed: of the probes' targets.
        hot_quantile: in [0, 1]; above 1: latency alone decides.
    """

    def __init__(self, seed: int = 0, hot_quantile: float = HOT_QUANTILE) -> None:
        super().__init__(seed)
        self._hot_quantile = hot_quantile
        self._pool: dict[int, list[float]] = {}  # by slot, oldest first: when, RIF, latency, uses left
        self._uses = math.inf  # of one probe, mean
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []
        self._worst_next = False
        self._probed_s = -math.inf
        self._asks: Probe | None = None

    def attach(self, world: World, servers: Servers) -> None:
        """Probes ask these servers."""
        super().attach(world, servers)
        self._asks = Probe(world, servers)

    def began(self, slot: int, now_s: float) -> None:
        """A probe from before means nothing now."""
        self._pool.pop(slot, None)

    def changed(self, now_s: float) -> None:
        """Whoever takes no newcomers is out of the pool."""
        renewed = (1 - POOL / max(len(self.up), 1)) * PROBES - 1  # by each placement, net of the one that leaves
        # Where the pool holds nearly everybody, probes are renewed faster than they are used up.
        self._uses = max(1.0, 2.0 / renewed) if renewed > 0 else math.inf
        self._pool = {slot: probe for slot, probe in self._pool.items() if slot in self.up}

    def step(self, now_s: float) -> None:
        """Keep the pool fresh where little is placed."""
        if self.up and now_s - self._probed_s >= IDLE_S:
            self._probe(self.up, now_s)

    def pick(self, candidates: Sequence[int], now_s: float) -> int:
        """By the pool, which is then replenished."""
        self._expire(now_s)
        hot = self.hot_above()
        probed = list(self._pool) if candidates is self.up else [slot for slot in self._pool if slot in candidates]
        slot = self.choose(probed, hot)
        if slot < 0:
            slot = super().pick(candidates, now_s)
        else:
            self._use(slot)
        self._remove_one(hot)
        self._probe(candidates, now_s)
        return slot

    def note(self, slot: int, rif: float, latency: float, now_s: float) -> None:
        """A probe's answer."""
        pool = self._pool
        if slot in pool:
            del pool[slot]
        elif len(pool) >= POOL:
            del pool[next(iter(pool))]
        pool[slot] = [now_s, rif, latency, self._uses + self.random()]
        self._recent.append(rif)
        insort(self._sorted, rif)
        if len(self._recent) > RECENT:
            del self._sorted[bisect_left(self._sorted, self._recent.popleft())]

    def hot_above(self) -> float:
        """RIF over which a probe is hot."""
        if self._hot_quantile > 1 or not self._sorted:
            return math.inf
        return self._sorted[int(self._hot_quantile * (len(self._sorted) - 1))]

    def choose(self, probed: Sequence[int], hot: float) -> int:
        """The best of the pool's slots; -1 where it has less than two."""
        if len(probed) < 2:
            return -1
        pool = self._pool
        cold = [slot for slot in probed if pool[slot][1] <= hot]
        if cold:
            return min(cold, key=lambda slot: pool[slot][2])
        return min(probed, key=lambda slot: pool[slot][1])

    def _probe(self, candidates: Sequence[int], now_s: float) -> None:
        """Ask some endpoints, no one twice."""
        self._probed_s = now_s
        if self._asks is None:
            return
        asked: list[int] = []
        count, random = len(candidates), self.random
        while len(asked) < PROBES and len(asked) < count:
            slot = candidates[int(random() * count)]
            if slot not in asked:
                asked.append(slot)
                endpoint_id = self.ids[slot]
                rif = self._asks.in_flight(endpoint_id) / self.capacity[slot]
                self.note(slot, rif, self._asks.slowdown(endpoint_id, now_s), now_s)

    def _use(self, slot: int) -> None:
        """The probe knows of the newcomer."""
        probe = self._pool[slot]
        probe[1] += 1.0 / self.capacity[slot]
        probe[3] -= 1.0
        if probe[3] < 1.0:
            del self._pool[slot]

    def _expire(self, now_s: float) -> None:
        while self._pool:
            oldest = next(iter(self._pool))
            if now_s - self._pool[oldest][0] <= AGE_MAX_S:
                return
            del self._pool[oldest]

    def _remove_one(self, hot: float) -> None:
        """The oldest and the worst in turn, lest the pool fill up with what nobody picks."""
        pool = self._pool
        if not pool:
            return
        if self._worst_next:
            hottest = max(pool, key=lambda slot: pool[slot][1])
            worst = hottest if pool[hottest][1] > hot else max(pool, key=lambda slot: pool[slot][2])
            del pool[worst]
        else:
            del pool[next(iter(pool))]
        self._worst_next = not self._worst_next
