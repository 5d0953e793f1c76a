"""Random and round robin: they know capacities and nothing else.

Source: HAProxy `random` and `roundrobin`, nginx and Envoy likewise; both by weight, and the weights are the true
capacities. Round robin by earliest deadline first, as Envoy's `EdfScheduler`.
"""

from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate

from forestay.simulation.peers.deadlines import Deadlines
from forestay.simulation.peers.peer import Peer


class Random(Peer):
    """Any endpoint, the probability its share of the capacity."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self._cumulative: list[float] = []
        self._drawn_from: Sequence[int] = ()

    def pick(self, candidates: Sequence[int], now_s: float) -> int:
        """Draw one."""
        if candidates is not self._drawn_from:
            self._drawn_from = candidates
            self._cumulative = list(accumulate(self.capacity[slot] for slot in candidates))
        sums = self._cumulative
        return candidates[bisect(sums, self.random() * sums[-1], 0, len(sums) - 1)]


class RoundRobin(Peer):
    """Everybody in turn, those with more capacity more often."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self._turns = Deadlines(self.random)

    def changed(self, now_s: float) -> None:
        """Begin a new schedule."""
        self._turns.schedule({slot: self.capacity[slot] for slot in self.up})

    def pick(self, candidates: Sequence[int], now_s: float) -> int:
        """Whose turn it is."""
        return self._turns.next(candidates if candidates is not self.up else ())
