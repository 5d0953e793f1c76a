"""The power of two choices: of two endpoints drawn at random, the better.

Source: Mitzenmacher 1996; nginx `random two least_conn` draws by weight and compares connections over weight, as here;
with load, Netflix's Zuul and Uber. With old information two choices herd less than a full scan (Mitzenmacher, "How
useful is old information?", 2000).
"""

from collections.abc import Sequence

from forestay.simulation.peers.blind import Random


class TwoChoices(Random):
    """Base: the lower of two scores."""

    def score(self, slot: int, now_s: float) -> float:
        """Lower is better."""
        raise NotImplementedError

    def pick(self, candidates: Sequence[int], now_s: float) -> int:
        """Two different ones where there are two."""
        first = super().pick(candidates, now_s)
        if len(candidates) == 1:
            return first
        second = super().pick(candidates, now_s)
        while second == first:
            second = super().pick(candidates, now_s)
        return first if self.score(first, now_s) <= self.score(second, now_s) else second


class TwoChoicesByConnections(TwoChoices):
    """By connections over capacity."""

    def score(self, slot: int, now_s: float) -> float:
        """With the newcomer."""
        return (self.counts[slot] + 1) / self.capacity[slot]


class TwoChoicesByLoad(TwoChoices):
    """By the last reported load."""

    def score(self, slot: int, now_s: float) -> float:
        """As reported."""
        return self.load[slot]
