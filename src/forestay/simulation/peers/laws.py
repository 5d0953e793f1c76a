"""What can be known of a connection before it is seen: how long its like stay and what they cost at each age."""

import numpy as np

from forestay.model.plan import BoolArray, FloatArray
from forestay.simulation.world import World

OPEN_MIN = 1e-7
"""P(open) at least, where the sample has nobody left: a connection that old goes on as it is."""


class Law:
    """The law of some of a world's connections, from its large sample.

    Args:
        world: that they come in.
        which: of the sample, shape (sample,).

    Attributes:
        cost: mean load at full cost, at capacity 1.
    """

    def __init__(self, world: World, which: BoolArray) -> None:
        traffic, hot, law = world.scenario.traffic, world.scenario.hot, world.law
        self._ramp_s, self._ramp_start = traffic.ramp_s, traffic.ramp_start
        duration_s, cost, hot_s = law.duration_s[which], law.cost[which], law.hot_s[which]
        self.cost = float(cost.mean())
        self._size = len(duration_s)
        order = np.argsort(duration_s)
        self._duration_s = duration_s[order]
        self._outlasting = np.append(np.cumsum(cost[order][::-1])[::-1], 0.0) / self._size
        gets_hot = np.isfinite(hot_s)
        begins_s = hot_s[gets_hot]
        extra = cost[gets_hot] * (hot.factor - 1) / self._size
        self._begins = _running(begins_s, extra)
        self._ends = _running(np.minimum(begins_s + hot.length_s, duration_s[gets_hot]), extra)

    def is_open(self, age_s: FloatArray) -> FloatArray:
        """P(open at that age), at least OPEN_MIN."""
        left = 1.0 - np.searchsorted(self._duration_s, age_s, side="right") / self._size
        return np.asarray(np.maximum(left, OPEN_MIN))

    def load(self, age_s: FloatArray) -> FloatArray:
        """Expected load at that age, those included that have gone by then, at capacity 1; accepts left out."""
        cost = self._outlasting[np.searchsorted(self._duration_s, age_s, side="right")]
        if self._ramp_s:
            cost = cost * np.minimum(self._ramp_start + (1 - self._ramp_start) * age_s / self._ramp_s, 1.0)
        return np.asarray(cost + _at(self._begins, age_s) - _at(self._ends, age_s))


def _running(at_s: FloatArray, amount: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Times in order, and what has come together by each; one more sum than times."""
    order = np.argsort(at_s)
    return at_s[order], np.append(0.0, np.cumsum(amount[order]))


def _at(running: tuple[FloatArray, FloatArray], at_s: FloatArray) -> FloatArray:
    times_s, sums = running
    return np.asarray(sums[np.searchsorted(times_s, at_s, side="right")])
